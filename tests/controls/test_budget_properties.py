"""Whatever is asked, used and broken off: the true cost of a call stays within what was held for it, and a limit within itself."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef
from governor.ledger import Charge, Lease, ReserveRequest, Shortfall, Unit
from governor.meter import Meter
from governor.plans import Quote
from governor.stores.memory import MemoryStore
from governor.testing import START_MS
from governor.usage import Usage
from tests.controls.test_budget import EVERYTHING, amounts, control, quote, request

MODELS = [
    ModelRef(provider="anthropic", model="claude-sonnet-4-5"),
    ModelRef(provider="bedrock_converse", model="us.amazon.nova-pro-v1:0"),
    ModelRef(provider="openai", model="gpt-5.4"),
]
SURE = (1_000, 1_000)
"""An estimator that counts exactly."""
prompts = st.integers(1, 400_000)
answers = st.one_of(st.none(), st.integers(1, 128_000))


@st.composite
def usages(draw: st.DrawFn, held: Quote) -> Usage:
    """Any usage that a provider may report for the request: no more prompt than the bound, no more answer than the clamp."""
    assert held.request.max_output_tokens is not None
    left = held.request.input_tokens
    classes: list[int] = []
    for _ in range(4):
        classes.append(draw(st.integers(0, left)))
        left -= classes[-1]
    fresh, read, short, long = classes
    output = draw(st.integers(0, held.request.max_output_tokens))
    return Usage(input=fresh, cache_read=read, cache_write_5m=short, cache_write_1h=long, output=output)


@given(st.data(), st.sampled_from(MODELS), prompts, answers, st.integers(500, 4_000))
def test_no_report_within_bound_and_clamp_costs_more_than_was_held(
    data: st.DataObject, model: ModelRef, prompt: int, asked: int | None, ratio: int
) -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(tokens=prompt, model=model, asked=asked), ratio=ratio)
    used = data.draw(usages(held))

    settled = budget.amounts(held, used)

    assert all(amount <= hold.amount for amount, hold in zip(settled, held.holds, strict=True))


@given(st.sampled_from(MODELS), prompts, answers, st.integers(0, 200_000), st.booleans())
def test_no_broken_call_is_settled_above_what_was_held_or_at_nothing(
    model: ModelRef, prompt: int, asked: int | None, seen: int, reported: bool
) -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(tokens=prompt, model=model, asked=asked))
    clamp = held.request.max_output_tokens
    assert clamp is not None
    meter = Meter(dispatched=True, output_tokens=min(seen, clamp), usage=Usage(input=1) if reported else None)

    settled = budget.broken(held, meter, SURE)

    assert settled is not None
    assert all(
        0 < amount <= hold.amount
        for amount, hold in zip(settled, held.holds, strict=True)
        if hold.unit != "output_tokens"
    )


@given(
    st.sampled_from(MODELS),
    prompts,
    answers,
    st.integers(0, 200_000),
    st.sampled_from(["none", "5m", "1h"]),
    st.tuples(st.integers(500, 4_000), st.integers(500, 4_000)),
)
def test_what_arrived_of_a_stream_is_never_charged_at_less_nor_beyond_what_was_held(
    model: ModelRef, prompt: int, asked: int | None, seen: int, ttl: Any, ratios: tuple[int, int]
) -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(tokens=prompt, model=model, asked=asked))
    clamp = held.request.max_output_tokens
    assert clamp is not None
    meter = Meter(dispatched=True, observed=True, output_tokens=min(seen, clamp), cache_ttl=ttl)

    settled = budget.broken(held, meter, ratios)
    usage = budget.broken_usage(held, meter, ratios)

    assert settled is not None
    assert usage is not None
    assert all(
        amount <= hold.amount for amount, hold in zip(settled, held.holds, strict=True) if hold.unit != "output_tokens"
    )
    assert min(clamp, meter.output_tokens * ratios[1] // 1_000) <= usage.output <= clamp


@given(
    st.sampled_from(MODELS),
    prompts,
    answers,
    st.sampled_from(list(Unit)),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)
def test_a_shortened_call_fits_what_is_left(
    model: ModelRef, prompt: int, asked: int | None, unit: Unit, spent: int, reserved: int
) -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(tokens=prompt, model=model, asked=asked))
    for hold in held.holds:
        if hold.unit is not unit or hold.limit is None:
            continue
        short = Shortfall(hold=hold, spent=spent % hold.limit, reserved=reserved % hold.limit)
        smaller = budget.shrink(held, short)
        if smaller is not None:
            (fitted,) = (each for each in smaller.holds if each.ledger == hold.ledger)
            assert fitted.amount <= short.remaining
            assert 0 < (smaller.request.max_output_tokens or 0) < (held.request.max_output_tokens or 0)
            assert held.request.input_tokens == smaller.request.input_tokens


@given(st.data(), st.lists(st.tuples(st.sampled_from(MODELS), st.integers(1, 60_000), answers), max_size=25))
def test_any_run_of_calls_stays_within_its_limits_and_stops_only_when_they_are_short(
    data: st.DataObject, calls: list[tuple[ModelRef, int, int | None]]
) -> None:
    budget, store = control(EVERYTHING), MemoryStore()
    limits = {hold.ledger: hold.limit for hold in quote(budget).holds}
    for number, (model, prompt, asked) in enumerate(calls):
        held = quote(budget, request(tokens=prompt, model=model, asked=asked))
        reserve = ReserveRequest(id=f"l{number}", holds=held.holds, ttl_ms=budget.lease_ttl_ms, now_ms=START_MS)
        lease = store.reserve(reserve)
        if isinstance(lease, Shortfall):
            smaller = budget.shrink(held, lease)
            if smaller is not None:
                held = smaller
                lease = store.reserve(replace(reserve, holds=held.holds))
        if isinstance(lease, Lease):
            used = data.draw(usages(held))
            store.settle(Charge(lease=lease.id, amounts=budget.amounts(held, used), now_ms=START_MS))
        else:
            assert isinstance(lease, Shortfall)
            assert lease.remaining < lease.hold.amount
        for balance in store.balances():
            limit = limits[balance.ledger]
            assert limit is not None
            assert balance.spent <= limit
            assert 0 == balance.reserved


def test_parallel_calls_that_nobody_limited_leave_each_other_room() -> None:
    """One branch must not park all of a budget on an answer of 128,000 tokens that it will never write."""
    budget, store = control(EVERYTHING), MemoryStore()
    admitted: list[int] = []
    for number in range(8):
        held = quote(budget, request())
        reserve = ReserveRequest(id=f"l{number}", holds=held.holds, ttl_ms=budget.lease_ttl_ms, now_ms=START_MS)
        short = store.reserve(reserve)
        assert isinstance(short, Shortfall)
        smaller = budget.shrink(held, short)
        assert smaller is not None
        assert isinstance(store.reserve(replace(reserve, holds=smaller.holds)), Lease)
        admitted.append(amounts(smaller.holds)["output_tokens"])

    assert sorted(admitted, reverse=True) == admitted
    assert admitted[-1] >= 1_000
