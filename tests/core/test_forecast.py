"""A forecast is a straight line from a ledger's opening, and says nothing before there is a line."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from governor.forecast import ENOUGH_MS, forecast
from governor.ledger import Balance, Unit

BALANCE = Balance(
    ledger="b/run=a/life/usd",
    unit=Unit.NANO_USD,
    spent=0,
    reserved=0,
    limit=1_000,
    budget="b",
    scope="run=a",
    opened_ms=1,
    touched_ms=1,
)
amounts = st.integers(0, 2_000)


@given(spent=amounts, reserved=amounts, granted=amounts, elapsed=st.integers(ENOUGH_MS, 10**9))
def test_what_is_spent_until_then_at_this_rate_is_what_is_left(
    spent: int, reserved: int, granted: int, elapsed: int
) -> None:
    balance = replace(BALANCE, spent=spent, reserved=reserved, granted=granted)
    coming = forecast(balance, 1 + elapsed)
    left = 1_000 + granted - spent - reserved

    assert coming is not None
    assert 0 <= coming.per_hour * elapsed - spent * 3_600_000 < elapsed
    if left <= 0:
        assert 0 == coming.exhausted_in_ms
    elif spent == 0:
        assert None is coming.exhausted_in_ms
    else:
        assert coming.exhausted_in_ms is not None
        assert 0 <= left * elapsed - coming.exhausted_in_ms * spent < spent


def test_it_says_nothing_of_a_young_ledger_a_rate_or_one_that_nobody_dated() -> None:
    later = 1 + ENOUGH_MS
    assert [None] * 3 == [
        forecast(BALANCE, later - 1),
        forecast(replace(BALANCE, per_ms=60_000), later),
        forecast(replace(BALANCE, opened_ms=0), later),
    ]


def test_a_ledger_without_a_limit_has_a_rate_and_no_end() -> None:
    coming = forecast(replace(BALANCE, limit=None, spent=60), 1 + ENOUGH_MS)
    assert coming is not None
    assert (3_600, None) == (coming.per_hour, coming.exhausted_in_ms)
