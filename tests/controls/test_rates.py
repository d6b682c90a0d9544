"""Rates: held as providers hold them, settled as providers settle them, and shared so that nobody starves."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef, RunRef, StepRef
from governor.controls.budget import BudgetControl
from governor.decisions import ALLOWED, Decision, Verdict
from governor.errors import PolicyError
from governor.ledger import Charge, Hold, Lease, ReserveRequest, Shortfall, Unit
from governor.pacing import Lineup
from governor.plans import Quote, Routed
from governor.policy.load import load
from governor.prices import PriceBook
from governor.stores.memory import MemoryStore
from governor.testing import START_MS
from governor.usage import Usage
from tests.controls.test_budget import request

BEDROCK = "bedrock_converse:anthropic.claude-sonnet-4-5-20250929-v1:0"
MINUTE_MS = 60_000
USED = Usage(input=100, cache_read=600, cache_write_5m=200, output=30)


def control(*rates: dict[str, Any], model: str = BEDROCK, **more: Any) -> BudgetControl:
    tiers = {
        "frontier": {"model": model, "max_output_tokens": 500},
        "small": {"model": "bedrock:amazon.nova-micro-v1:0"},
    }
    policy = load({"governor": 1, "name": "p", "tiers": tiers, "rates": rates, **more}).policy
    return BudgetControl(policy, PriceBook(policy))


def quoted(budget: BudgetControl, *, model: str = BEDROCK, tenant: str = "t", tokens: int = 984) -> Quote | Decision:
    provider, _, name = model.partition(":")
    ref = ModelRef(provider=provider, model=name)
    step = StepRef(run=RunRef(id="r1", scopes={"tenant": tenant} if tenant else {}), node="n", path="n", ns="n:1")
    routed = Routed(tier="frontier", model=ref, rates=None, max_output_tokens=500, decision=ALLOWED)
    return budget.quote(request(tokens=tokens, model=ref, step=step), routed, 1_000, START_MS)


def quote(budget: BudgetControl, **asked: Any) -> Quote:
    answer = quoted(budget, **asked)
    assert isinstance(answer, Quote)
    return answer


TPM = {"tier": "frontier", "tokens_per_minute": "400k", "requests_per_minute": 100}


def test_admission_holds_the_prompt_and_the_longest_answer_and_the_end_burns_down_five_times_without_cache_reads() -> (
    None
):
    budget = control(TPM)
    held = quote(budget)

    assert [1_500, 1] == [hold.amount for hold in held.holds]
    assert [(400_000, MINUTE_MS), (100, MINUTE_MS)] == [(hold.limit, hold.per_ms) for hold in held.holds]
    assert (100 + 200 + 5 * 30, 1) == budget.amounts(held, USED)


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        (BEDROCK, 100 + 200 + 150),
        ("bedrock_converse:anthropic.claude-3-5-sonnet-20241022-v2:0", 100 + 200 + 30),
        ("bedrock_converse:amazon.nova-pro-v1:0", 100 + 200 + 30),
        ("anthropic:claude-sonnet-4-6", 100 + 200 + 30),
        ("openai:gpt-4o", 930),
    ],
)
def test_a_provider_takes_of_a_rate_what_it_is_known_to_take(model: str, taken: int) -> None:
    budget = control({"tier": "frontier", "tokens_per_minute": "400k"}, model=model)

    assert (taken,) == budget.amounts(quote(budget, model=model), USED)


def test_an_author_may_say_what_a_token_takes() -> None:
    budget = control({"tier": "frontier", "tokens_per_minute": "400k", "burndown": {"output": 2, "cached": "0.5"}})

    assert (100 + 300 + 200 + 60,) == budget.amounts(quote(budget), USED)


def test_input_and_output_may_have_rates_of_their_own() -> None:
    rate = {"tier": "frontier", "input_tokens_per_minute": "50k", "output_tokens_per_minute": "8k"}
    budget = control(rate, model="anthropic:claude-sonnet-4-6")
    held = quote(budget, model="anthropic:claude-sonnet-4-6")

    assert [1_000, 500] == [hold.amount for hold in held.holds]
    assert (300, 30) == budget.amounts(held, USED)


def test_tiers_named_together_share_one_bucket_and_others_have_none() -> None:
    budget = control(
        {"tier": ["frontier", "small"], "requests_per_minute": 5},
        {"id": "s", "tier": "small", "requests_per_minute": 9},
    )

    assert ["rates.frontier+small/tier=frontier+small/rate/requests_per_minute"] == [
        hold.ledger for hold in quote(budget).holds
    ]


def test_a_rate_with_a_scope_is_one_rate_for_each() -> None:
    budget = control({"tier": "frontier", "requests_per_minute": 5, "scope": "tenant"})

    assert 2 == len({quote(budget, tenant=tenant).holds[0].ledger for tenant in ("a", "b")})


def test_a_run_without_the_name_that_a_rate_is_shared_by_is_refused() -> None:
    answer = quoted(control({"tier": "frontier", "requests_per_minute": 5, "fair": "tenant 40%"}), tenant="")

    assert isinstance(answer, Decision)
    assert answer.reason is not None
    assert (Verdict.STOP, "rate.missing_scope") == (answer.verdict, answer.reason.code)


def test_a_call_larger_than_the_bucket_is_told_that_waiting_does_not_help() -> None:
    budget = control({"tier": "frontier", "tokens_per_minute": "1k"})
    (hold,) = quote(budget).holds
    short = MemoryStore().reserve(ReserveRequest(id="a", holds=(hold,), ttl_ms=1, now_ms=START_MS))
    assert isinstance(short, Shortfall)

    decision = budget.refusal(short)

    assert decision.reason is not None
    assert (Verdict.DENY, "rate.too_large", "1500 tokens") == (
        decision.verdict,
        decision.reason.code,
        decision.reason.seen,
    )


@pytest.mark.parametrize(
    ("rate", "problem"),
    [
        ({"tokens_per_minute": 499}, "an answer of tier `frontier` holds up to 500 tokens"),
        ({"output_tokens_per_minute": "1k", "fair": "tenant 20%"}, "there are 20% of 1k a minute"),
        ({"requests_per_minute": 5, "fair": "tenant 10%"}, "a share of 10% of `requests_per_minute` is nothing"),
        ({"requests_per_minute": 5, "fair": "tenant"}, "a fair rate needs a share"),
        ({"requests_per_minute": 5, "fair": "tenant 50%", "scope": "org"}, "each has its own rate"),
        ({}, "this rate limits nothing"),
    ],
)
def test_a_rate_that_could_never_be_kept_is_an_error_of_the_policy(rate: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        control({"tier": "frontier", **rate})

    assert problem in str(caught.value)


wishes = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 2_000), st.integers(0, 1_500)), min_size=40, max_size=200
)


@given(wishes)
def test_a_tenant_that_asks_within_its_share_is_never_refused_whatever_the_others_ask(
    wishes: list[tuple[str, int, int]],
) -> None:
    """Tenants b, c and d ask at random; a asks only while its own bucket of a quarter has room, and is then let in every time."""
    budget = control({"tier": "frontier", "tokens_per_minute": "8k", "fair": "tenant 25%"})
    store, now = MemoryStore(), START_MS
    alone = MemoryStore()

    for number, (tenant, tokens, pause) in enumerate(wishes):
        now += pause
        holds = quote(budget, tenant=tenant, tokens=tokens).holds
        share = ReserveRequest(id=f"{number}", holds=holds[1:], ttl_ms=MINUTE_MS, now_ms=now)
        within = isinstance(alone.reserve(share), Lease)
        answer = store.reserve(ReserveRequest(id=f"{number}", holds=holds, ttl_ms=MINUTE_MS, now_ms=now))

        assert within == isinstance(answer, Lease)


@given(st.integers(1, 4), st.integers(100, 1_900), st.integers(3, 12))
def test_of_tenants_that_always_want_each_gets_its_share(tenants: int, tokens: int, minutes: int) -> None:
    """The first always asks first and asks most: the others still get a quarter each, less one call and less what is left at the end."""
    budget = control({"tier": "frontier", "tokens_per_minute": "10k", "fair": "tenant 25%"})
    store, names = MemoryStore(), [f"t{number}" for number in range(tenants)]
    holds = {name: quote(budget, tenant=name, tokens=tokens).holds for name in names}
    got = dict.fromkeys(names, 0)
    for now in range(START_MS, START_MS + minutes * MINUTE_MS, 2_000):
        for turn, name in enumerate([names[0]] * 20 + names):
            wanted = ReserveRequest(id=f"{now}.{turn}", holds=holds[name], ttl_ms=MINUTE_MS, now_ms=now)
            if isinstance(store.reserve(wanted), Lease):
                store.settle(Charge(lease=wanted.id, amounts=tuple(hold.amount for hold in wanted.holds), now_ms=now))
                got[name] += holds[name][0].amount

    largest = holds[names[0]][0].amount
    assert all(2_500 * minutes - 2 * largest <= units <= 2_500 * (minutes + 1) for units in got.values())


amounts = st.lists(st.integers(1, 900), min_size=1, max_size=20)


@given(amounts, st.integers(0, 59))
def test_those_who_wait_have_turns_in_order_and_at_each_turn_there_is_room(amounts: list[int], gone: int) -> None:
    lineup, store = Lineup(), MemoryStore()

    def request_of(name: str, amount: int, now: int) -> ReserveRequest:
        hold = Hold(
            ledger="r", per_ms=MINUTE_MS, unit=Unit.TOKENS, amount=amount, limit=1_000, budget="r", scope="", written=""
        )
        return ReserveRequest(id=name, holds=(hold,), ttl_ms=10 * MINUTE_MS, now_ms=now)

    assert isinstance(store.reserve(request_of("full", 1_000, START_MS)), Lease)
    now, turns = START_MS + gone, list[int]()
    for number, amount in enumerate(amounts):
        wanted = request_of(f"{number}", amount, now)
        short = store.reserve(wanted)
        assert isinstance(short, Shortfall)
        turns.append(lineup.turn(wanted.holds[0], now, short.retry_ms or 0, now + 10**9))

    assert sorted(turns) == turns
    for number, (amount, turn) in enumerate(zip(amounts, turns, strict=True)):
        assert isinstance(store.reserve(request_of(f"later {number}", amount, turn)), Lease)
