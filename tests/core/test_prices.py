"""Prices agree with genai-prices to the nano-dollar, worst cases are upper bounds, and nobody's unknown price is 0."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TimeOfDateConstraint
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef
from governor.policy.schema import Policy
from governor.prices import PriceBook, Rates
from governor.usage import Usage

ON = datetime(2026, 7, 31, 12, tzinfo=UTC)
NANO = 1_000_000_000

CHAT = {
    "anthropic": ("anthropic", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-6", "claude-haiku-5-5"),
    "openai": ("openai", "gpt-4o-mini", "gpt-4.1", "gpt-5.2", "gpt-5.4", "o3"),
    "azure_openai": ("azure", "gpt-4o", "gpt-4.1-mini"),
    "google_genai": ("google", "gemini-2.5-pro", "gemini-2.5-flash"),
    "google_vertexai": ("google", "gemini-2.5-flash"),
    "bedrock_converse": (
        "aws",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "us.amazon.nova-pro-v1:0",
        "amazon.nova-micro-v1:0",
        "us.amazon.nova-2-lite-v1:0",
    ),
    "bedrock": ("aws", "amazon.nova-lite-v1:0"),
    "groq": ("groq", "llama-3.3-70b-versatile"),
    "mistralai": ("mistral", "mistral-large-latest"),
    "xai": ("x-ai", "grok-4"),
}
"""Our provider: theirs, and some of its models."""

MODELS = [
    (ModelRef(provider=provider, model=model), theirs)
    for provider, (theirs, *models) in CHAT.items()
    for model in models
]

counts = st.integers(0, 400_000)
usages = st.builds(
    Usage, input=counts, cache_read=counts, cache_write_5m=counts, cache_write_1h=counts, output=st.integers(0, 64_000)
)
amounts = st.integers(0, 10_000_000_000_000)


@st.composite
def rates(draw: st.DrawFn, tiers: int = 2) -> Rates:
    starts = sorted(draw(st.sets(st.integers(1, 300_000), max_size=tiers)))
    flat = st.builds(
        Rates,
        input=amounts,
        output=amounts,
        cache_read=amounts,
        cache_write_5m=amounts,
        cache_write_1h=amounts,
        request=amounts,
        above=st.just(()),
    )
    return replace(draw(flat), above=tuple((start, draw(flat)) for start in starts))


HEARD = [ModelRef(provider="openai", model="gpt-audio"), ModelRef(provider="google_genai", model="gemini-2.5-flash")]


@pytest.mark.parametrize("model", HEARD, ids=str)
@given(usage=usages, audio=st.integers(1, 10**6), more=st.integers(0, 10**5))
def test_recordings_cost_their_own_price_and_are_held_at_it(
    model: ModelRef, usage: Usage, audio: int, more: int
) -> None:
    plain = book().rates(model)
    assert plain is not None
    spoken = Usage(input=usage.input + audio, output=usage.output, audio=audio)
    listed = genai_prices.Usage(
        input_tokens=spoken.prompt, output_tokens=spoken.output, input_audio_tokens=spoken.audio
    )
    exact = genai_prices.calc_price(
        listed, model.model, provider_id=model.provider.partition("_")[0], genai_request_timestamp=ON
    )

    held = plain.hearing(audio + more)

    assert 0 <= held.cost(spoken) - exact.total_price * NANO < 1
    assert held.cost(spoken) <= held.worst(spoken.prompt, spoken.output)
    assert held.cost(spoken) <= held.cost(replace(spoken, audio=0)), (
        "a client that does not say it: as many as were held"
    )


@given(rates=rates(), usage=usages, money=st.integers(0, 10**16), heard=st.integers(1, 10**6))
def test_what_recordings_cost_more_is_not_left_for_the_answer(
    rates: Rates, usage: Usage, money: int, heard: int
) -> None:
    held = replace(rates, audio=rates.input + 10**9).hearing(heard)

    fits = held.affordable_output(money, usage.prompt)

    if fits is not None and fits >= 0:
        assert held.worst(usage.prompt, fits) <= money


def book(**tiers: Mapping[str, object]) -> PriceBook:
    return PriceBook(Policy.model_validate({"governor": 1, "name": "p", "tiers": tiers}), on=ON)


def theirs(provider: str, model: str, usage: Usage) -> Decimal:
    reported = genai_prices.Usage(
        input_tokens=usage.prompt,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write_5m + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
    )
    priced = genai_prices.calc_price(reported, model, provider_id=provider, genai_request_timestamp=ON)
    return priced.total_price * NANO


@pytest.mark.parametrize(("model", "provider"), MODELS, ids=str)
@given(usage=usages)
def test_a_call_costs_what_genai_prices_says_rounded_up(model: ModelRef, provider: str, usage: Usage) -> None:
    found = book().rates(model)

    assert found is not None
    assert 0 <= found.cost(usage) - theirs(provider, model.model, usage) < 1


def test_every_priced_text_model_of_the_big_providers_agrees_with_genai_prices() -> None:
    usage = Usage(input=1_003, cache_read=17_001, cache_write_5m=801, cache_write_1h=77, output=299)
    names = {"anthropic": "anthropic", "aws": "bedrock_converse", "openai": "openai", "google": "google_genai"}
    compared = 0
    for provider in get_snapshot().providers:
        for info in provider.models if provider.id in names else ():
            found = book().rates(ModelRef(provider=names[provider.id], model=info.id))
            listed = info.get_prices(ON)
            hourly = not isinstance(info.prices, ModelPrice)
            if found is None or hourly or {"requests_kcount", "output_reasoning_mtok"} & vars(listed).keys():
                continue
            if get_snapshot().find_provider_model(info.id, None, provider.id, None)[1] is not info:
                continue  # another entry answers to this id
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exact = theirs(provider.id, info.id, usage)
            assert 0 <= found.cost(usage) - exact < 1, info.id
            compared += 1

    assert compared > 200


@given(rates=rates(), usage=usages, more_prompt=counts, more_output=counts)
def test_the_worst_case_is_never_below_the_cost(rates: Rates, usage: Usage, more_prompt: int, more_output: int) -> None:
    bound = rates.worst(usage.prompt + more_prompt, usage.output + more_output)

    assert rates.cost(usage) <= bound


@given(rates=rates(), usage=usages)
def test_without_one_hour_writes_the_worst_case_need_not_price_them(rates: Rates, usage: Usage) -> None:
    short = Usage(
        input=usage.input, cache_read=usage.cache_read, cache_write_5m=usage.cache_write_5m, output=usage.output
    )

    assert (
        rates.cost(short)
        <= rates.worst(short.prompt, short.output, ttl="5m")
        <= rates.worst(short.prompt, short.output)
    )


@given(rates=rates(), prompt=counts, money=st.integers(0, 10**16))
def test_the_affordable_output_is_the_longest_that_fits(rates: Rates, prompt: int, money: int) -> None:
    fits = rates.affordable_output(money, prompt)

    if fits is None:
        assert rates.worst(prompt, 10**9) <= money
    elif fits < 0:
        assert rates.worst(prompt, 0) > money
    else:
        assert rates.worst(prompt, fits) <= money < rates.worst(prompt, fits + 1)


def test_a_prompt_over_the_threshold_pays_the_long_context_price_for_all_its_tokens() -> None:
    found = book().rates(ModelRef(provider="anthropic", model="claude-sonnet-4-5"))

    assert found is not None
    assert [200_000] == [start for start, _ in found.above]
    assert (200_000 * 3_000, 200_001 * 6_000) == (
        found.cost(Usage(input=200_000)),
        found.cost(Usage(input=200_001)),
    )
    assert 1_000 * 22_500 == found.cost(Usage(input=200_001, output=1_000)) - found.cost(Usage(input=200_001))


def test_one_cached_call_is_priced_class_by_class() -> None:
    """200 in, 18k read, 0.8k written, 300 out on a $3/$15 model: the call that peers misprice by up to 4.6 times."""
    usage = Usage(input=200, cache_read=18_000, cache_write_5m=800, output=300)

    found = book().rates(ModelRef(provider="anthropic", model="claude-sonnet-4-6"))

    assert found is not None
    assert 200 * 3_000 + 18_000 * 300 + 800 * 3_750 + 300 * 15_000 == found.cost(usage) == 13_500_000


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("unknown", "gpt-4o"),
        ("ollama", "llama3.3"),
        ("openai", "my-finetune-nobody-knows"),
        ("openai", "text-embedding-3-small"),
        ("bedrock_converse", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"),
        ("bedrock_converse", "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/anthropic.claude:1"),
        ("bedrock_converse", "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123"),
    ],
)
def test_a_price_that_nobody_knows_is_none_and_not_zero(provider: str, model: str) -> None:
    assert None is book().rates(ModelRef(provider=provider, model=model))


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ],
)
def test_an_arn_that_ends_in_a_model_is_priced_as_that_model(arn: str) -> None:
    name = arn.rsplit("/", 1)[1]
    known = book()

    priced = known.rates(ModelRef(provider="bedrock_converse", model=arn))

    assert priced is not None
    assert known.rates(ModelRef(provider="bedrock_converse", model=name)) == priced


def test_a_regional_profile_costs_a_tenth_more_than_a_global_one() -> None:
    inputs = [
        found.input
        for region in ("us.", "eu.", "", "global.")
        if (
            found := book().rates(
                ModelRef(provider="bedrock_converse", model=f"{region}anthropic.claude-opus-4-6-v1:0")
            )
        )
    ]

    assert [5_500_000_000, 5_500_000_000, 5_500_000_000, 5_000_000_000] == inputs


def test_the_policys_price_goes_before_the_book() -> None:
    tier = {
        "model": "openai:gpt-4o-mini",
        "price": {"input": "1.5", "output": 6, "cache_read": "0.1", "cache_write": 2},
    }

    found = book(a=tier).rates(ModelRef(provider="openai", model="gpt-4o-mini"))

    assert (
        Rates(
            input=1_500_000_000,
            output=6_000_000_000,
            cache_read=100_000_000,
            cache_write_5m=2_000_000_000,
            cache_write_1h=2_000_000_000,
        )
        == found
    )


def test_the_policy_prices_what_the_book_does_not_know_and_cached_input_like_fresh() -> None:
    tier = {"model": "ollama:mine", "price": {"input": 2, "output": 0}}

    found = book(a=tier).rates(ModelRef(provider="ollama", model="mine"))

    assert found is not None
    assert {2_000_000_000} == {found.input, found.cache_read, found.cache_write_5m, found.cache_write_1h}
    assert 0 == found.output


def test_cache_prices_that_the_policy_leaves_out_are_the_books() -> None:
    tier = {"model": "anthropic:claude-sonnet-4-6", "price": {"input": 2, "output": 10}}

    found = book(a=tier).rates(ModelRef(provider="anthropic", model="claude-sonnet-4-6"))

    assert found is not None
    assert (300_000_000, 3_750_000_000, 6_000_000_000) == (found.cache_read, found.cache_write_5m, found.cache_write_1h)


def test_two_tiers_that_price_one_model_differently_count_at_the_dearer() -> None:
    tiers = {
        "a": {"model": "ollama:mine", "price": {"input": 2, "output": 5}},
        "b": {"model": "ollama:mine", "price": {"input": 3, "output": 4}},
    }

    found = book(**tiers).rates(ModelRef(provider="ollama", model="mine"))

    assert found is not None
    assert (3_000_000_000, 5_000_000_000) == (found.input, found.output)


def test_a_price_that_changes_with_the_hour_counts_at_its_dearest() -> None:
    hourly = [
        info
        for provider in get_snapshot().providers
        if provider.id == "deepseek"
        for info in provider.models
        if not isinstance(info.prices, ModelPrice)
        and any(isinstance(price.constraint, TimeOfDateConstraint) for price in info.prices)
    ]
    for info in hourly:
        found = book().rates(ModelRef(provider="deepseek", model=info.id))
        for hour in range(24):
            priced = genai_prices.calc_price(
                genai_prices.Usage(input_tokens=1_000, output_tokens=100),
                info.id,
                provider_id="deepseek",
                genai_request_timestamp=ON.replace(hour=hour),
            )
            assert found is not None
            assert priced.total_price * NANO <= found.cost(Usage(input=1_000, output=100))

    assert hourly


def test_rates_rise_over_thresholds_in_order() -> None:
    for model, _ in MODELS:
        found = book().rates(model)
        assert found is not None
        assert all(low < high for (low, _), (high, _) in pairwise(found.above))


@given(percent=st.integers(1, 1_000), prompt=st.integers(0, 2_000_000), output=st.integers(0, 200_000))
def test_rates_at_a_percentage_are_never_below_it_and_at_most_a_nano_dollar_a_million_tokens_above(
    percent: int, prompt: int, output: int
) -> None:
    found = book().rates(ModelRef(provider="anthropic", model="claude-sonnet-4-5"))
    assert found is not None
    usage = Usage(input=prompt, output=output)

    exact, scaled = found.cost(usage) * percent, found.scaled(percent).cost(usage) * 100

    assert -100 - percent <= scaled - exact <= 100 * (2 + (prompt + output) // 1_000_000)
    assert found is found.scaled(100)


def test_what_is_held_for_a_class_of_service_covers_what_the_price_list_says_that_it_costs() -> None:
    usage = Usage(input=1_003, cache_read=17_001, cache_write_5m=801, output=299)
    held = {"flex": 100, "priority": 250, "fast": 250}  # governor_openai.models.TIER_PERCENT; flex is held in full
    compared, since = (
        0,
        PriceBook(Policy.model_validate({"governor": 1, "name": "p"}), on=datetime(2026, 11, 1, tzinfo=UTC)),
    )
    for info in next(each for each in get_snapshot().providers if each.id == "openai").models:
        found = since.rates(ModelRef(provider="openai", model=info.id))
        for tier, _ in found.served if found else ():
            assert found is not None
            assert found.cost(replace(usage, tier=tier)) <= found.scaled(held[tier]).cost(usage), (info.id, tier)
            compared += 1

    assert compared > 20


def test_a_call_asked_for_as_a_dearer_class_and_served_as_an_ordinary_one_has_the_listed_price() -> None:
    listed = Rates(input=1_000_000, output=2_000_000, cache_read=1_000_000, cache_write_5m=0, cache_write_1h=0)

    assert 250 * 3 == listed.scaled(250).cost(Usage(input=100, output=100))
    assert 100 * 3 == listed.scaled(250).cost(Usage(input=100, output=100, tier="default"))
    assert 100 * 3 == listed.cost(Usage(input=100, output=100, tier="default"))
