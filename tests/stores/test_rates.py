"""A rate lets no more through than a bucket that had known beforehand what every call would use."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from governor.ledger import Unit
from governor.stores.rates import EMPTY, added, drained, given_back, retry_ms
from governor.testing import hold

LIMIT, PER_MS = 1_000, 1_000
RATE = replace(hold("rate/frontier", limit=LIMIT), unit=Unit.TOKENS, per_ms=PER_MS)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, LIMIT), st.integers(0, LIMIT)),
        st.tuples(st.just("end"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 1_500), st.just(0)),
    ),
    max_size=60,
)


@given(steps)
def test_a_bucket_with_refunds_is_never_below_one_that_knew_the_future(script: list[tuple[str, int, int]]) -> None:
    """The second is filled with what each call will really use, at the moment of its reservation: what it lets through is the rate."""
    now, bucket, clairvoyant = 0, EMPTY, EMPTY
    open_calls: list[tuple[int, int, int]] = []
    for word, amount, needed in script:
        if word == "wait":
            now += amount
        elif word == "take":
            wanted = replace(RATE, amount=amount)
            if retry_ms(bucket, wanted, now) == 0:
                bucket = added(bucket, wanted, now)
                used = min(needed, amount)
                clairvoyant = added(clairvoyant, replace(RATE, amount=used), now)
                open_calls.append((bucket.taken, amount, used))
        elif open_calls:
            number, held, charged = open_calls.pop(amount % len(open_calls))
            bucket = given_back(bucket, replace(RATE, amount=held), number, charged, now)
        assert drained(clairvoyant, LIMIT, now) <= drained(bucket, LIMIT, now) <= LIMIT * PER_MS
        assert list(bucket.lows) == sorted(set(bucket.lows), key=lambda low: low[1])
        assert [taken for taken, _ in bucket.lows] == sorted(taken for taken, _ in bucket.lows)


@given(st.integers(1, LIMIT), st.integers(1, LIMIT), st.integers(0, 2_000))
def test_a_refused_call_fits_after_the_time_it_was_told_and_not_a_millisecond_before(
    first: int, second: int, after: int
) -> None:
    bucket = added(EMPTY, replace(RATE, amount=first), 0)
    wait = retry_ms(bucket, replace(RATE, amount=second), after)
    assert wait is not None
    assert 0 == retry_ms(bucket, replace(RATE, amount=second), after + wait)
    if wait:
        assert 0 != retry_ms(bucket, replace(RATE, amount=second), after + wait - 1)


def test_what_is_larger_than_the_bucket_never_fits() -> None:
    assert None is retry_ms(EMPTY, replace(RATE, amount=LIMIT + 1), 0)


def test_an_early_refund_is_given_back_in_full() -> None:
    full = added(added(EMPTY, replace(RATE, amount=900), 0), replace(RATE, amount=100), 0)
    assert 100 * PER_MS == given_back(full, replace(RATE, amount=900), 1, 0, 0).level


def test_a_refund_of_what_has_drained_gives_nothing() -> None:
    """The plain arrival-time form would let 1,900 units through in a moment here."""
    bucket = added(EMPTY, replace(RATE, amount=900), 0)
    bucket = added(bucket, replace(RATE, amount=1_000), 900)
    assert LIMIT * PER_MS == given_back(bucket, replace(RATE, amount=900), 1, 0, 900).level


def test_more_than_was_held_is_owed() -> None:
    bucket = added(EMPTY, replace(RATE, amount=900), 0)
    assert 1_500 * PER_MS == given_back(bucket, replace(RATE, amount=900), 1, 1_500, 0).level
    assert 600 == retry_ms(given_back(bucket, replace(RATE, amount=900), 1, 1_500, 0), replace(RATE, amount=100), 0)
