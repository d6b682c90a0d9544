"""Names of models behind gateways: whose model each is, and when an answer's name is that of a model which serves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef
from governor.gateway_names import RESOLD_BY, behind, same_model
from governor.policy.load import load
from governor.prices import PriceBook


def ref(model: str, provider: str = "openai") -> ModelRef:
    return ModelRef(provider=provider, model=model)


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("anthropic/claude-sonnet-4-6", "anthropic", "claude-sonnet-4-6"),
        ("workers-ai/@cf/meta/llama-3.1-8b-instruct", "workers_ai", "@cf/meta/llama-3.1-8b-instruct"),
        ("google-ai-studio/gemini-2.5-flash", "google_genai", "gemini-2.5-flash"),
        ("google-vertex-ai/google/gemini-2.5-pro", "google_vertexai", "gemini-2.5-pro"),
        ("bedrock/converse/us.amazon.nova-pro-v1:0", "bedrock_converse", "us.amazon.nova-pro-v1:0"),
        ("azure/gpt-4.1", "azure_openai", "gpt-4.1"),
        ("gpt-4o", "openai", "gpt-4o"),
        ("dynamic/support", "openai", "dynamic/support"),
        ("@openai-prod/gpt-4o", "openai", "@openai-prod/gpt-4o"),
    ],
)
def test_a_name_with_a_vendor_in_front_is_that_vendors_model(name: str, provider: str, model: str) -> None:
    assert ref(model, provider) == behind(ref(name))


@pytest.mark.parametrize("provider", ["openrouter", "groq", "together", "anthropic", "bedrock_converse"])
def test_names_of_other_providers_are_their_own(provider: str) -> None:
    assert ref("openai/gpt-4o", provider) == behind(ref("openai/gpt-4o", provider))


@given(st.text(max_size=40), st.sampled_from(sorted(RESOLD_BY)))
def test_any_name_has_a_model_behind_it_and_only_one(name: str, provider: str) -> None:
    found = behind(ref(name, provider))

    assert name.endswith(found.model)
    assert found.provider in RESOLD_BY or found.model != name


@pytest.mark.parametrize(
    ("answered", "served", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o-2024-08-06", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("gpt-4o-mini", "gpt-4o", False),
        ("gpt-4o-mini-2024-07-18", "gpt-4o", False),
        ("gpt-4.1", "gpt-4", False),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", True),
        ("claude-opus-4-6", "claude-sonnet-4-6", False),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            True,
        ),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0", True),
        ("us.amazon.nova-pro-v1:0", "global.amazon.nova-pro-v1:0", False),
        ("", "gpt-4o", False),
    ],
)
def test_an_answers_model_is_recognised_among_those_that_serve(answered: str, served: str, same: bool) -> None:
    assert same is same_model(answered, served)
    assert same is same_model(served, answered)


@given(st.text(max_size=30), st.text(max_size=30))
def test_recognising_is_symmetric_and_never_fails(one: str, other: str) -> None:
    assert same_model(one, other) is same_model(other, one)
    assert same_model(one, one)


def book(**tier: object) -> PriceBook:
    return PriceBook(load({"governor": 1, "name": "p", "tiers": {"t": tier}}).policy)


def test_a_resold_model_costs_what_its_vendor_lists() -> None:
    prices = book(model="openai:x")

    assert prices.rates(ref("claude-sonnet-4-6", "anthropic")) == prices.rates(ref("anthropic/claude-sonnet-4-6"))
    assert prices.rates(ref("workers-ai/@cf/meta/llama-3.1-8b-instruct")) is not None


def test_an_alias_costs_at_most_the_dearest_of_what_serves_and_each_its_own_once_it_is_known() -> None:
    several = ["openai:gpt-4.1", "anthropic:claude-opus-4-6", "openai:gpt-4.1-mini"]
    prices = book(model="openai:best", serves=several)

    rates = prices.rates(ref("best"))

    assert rates is not None
    for name in ("gpt-4.1", "anthropic/claude-opus-4-6", "gpt-4.1-mini"):
        own = prices.rates(ref(name))
        assert own is not None
        assert own == rates.of(name.rpartition("/")[2])
        assert rates.worst(10_000, 1_000) >= own.worst(10_000, 1_000)
        assert rates.scaled(250).of(name) == own.scaled(250)
    assert rates.of("gpt-5") is None


def test_one_unknown_model_among_several_makes_the_price_unknown() -> None:
    assert book(model="openai:best", serves=["openai:gpt-4.1", "openai:nobodys"]).rates(ref("best")) is None


def test_a_price_in_the_policy_holds_whatever_serves() -> None:
    rates = book(model="openai:best", serves=["openai:gpt-4.1", "openai:gpt-4.1-mini"], price={"input": 1, "output": 2})

    found = rates.rates(ref("best"))
    assert found is not None
    assert (1_000_000_000, 2_000_000_000, ()) == (found.input, found.output, found.answering)
