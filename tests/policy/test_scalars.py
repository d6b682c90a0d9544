"""Amounts: exact, remembered as written, and never silently nothing."""

import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from governor.policy.scalars import (
    MAX_AMOUNT,
    Count,
    Milliseconds,
    NanoUsd,
    PerRun,
    Price,
    ScalarError,
    Share,
    Steps,
    Tokens,
)

NO_AMOUNTS: list[Any] = [
    *(True, False, None, -1, "-1", "", " ", "10 apples", [], {}, b"5", "1e3", "٣", "9" * 100, 10**5000, "1,000"),
    *(float("nan"), Decimal("sNaN"), Decimal("NaN"), float("inf"), Decimal("-Infinity")),
    *(Decimal("1e999999"), Decimal("1e-999999")),
]

Amount = type[Tokens] | type[NanoUsd] | type[Milliseconds] | type[Count]


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Tokens, "2k", 2_000),
        (Tokens, "400k", 400_000),
        (Tokens, "1.5M", 1_500_000),
        (Tokens, 150_000, 150_000),
        (Tokens, "150_000", 150_000),
        (NanoUsd, Decimal("0.50"), 500_000_000),
        (NanoUsd, "25", 25_000_000_000),
        (NanoUsd, "$0.035", 35_000_000),
        (NanoUsd, 0.1, 100_000_000),
        (NanoUsd, Decimal("0.000000001"), 1),
        (Milliseconds, "250ms", 250),
        (Milliseconds, "30s", 30_000),
        (Milliseconds, "1.5h", 5_400_000),
        (Milliseconds, "7d", 604_800_000),
        (Count, 20, 20),
        (Count, "20", 20),
        (Steps, "6 steps", 6),
        (Steps, "1 step", 1),
        (PerRun, "2 per run", 2),
        (Price, 0, 0),
    ],
    ids=repr,
)
def test_an_amount_is_the_exact_integer_of_what_was_written(kind: Amount, raw: Any, value: int) -> None:
    amount = kind.parse(raw)

    assert value == amount
    assert str(raw) == amount.written


@pytest.mark.parametrize("kind", [Tokens, NanoUsd, Milliseconds, Count, Steps, PerRun, Price, Share])
@pytest.mark.parametrize("raw", NO_AMOUNTS, ids=[f"raw{index}" for index in range(len(NO_AMOUNTS))])
def test_what_is_no_amount_is_refused_with_an_example(kind: Amount, raw: Any) -> None:
    with pytest.raises(ScalarError) as caught:
        kind.parse(raw)

    assert "expected" in str(caught.value)
    assert caught.value.remedy.startswith("Write it like ")


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Tokens, 0),
        (NanoUsd, 0),
        (NanoUsd, "0.00"),
        (Milliseconds, "0s"),
        (Count, 0),
        (Share, 0),
        (Share, "0%"),
        (Tokens, "5m"),
        (Tokens, "5s"),
        (Milliseconds, 30),
        (Milliseconds, "30"),
        (Milliseconds, "30 minutes"),
        (Milliseconds, "0.5ms"),
        (NanoUsd, "2k"),
        (NanoUsd, Decimal("0.0000000001")),
        (NanoUsd, 9_000_001),
        (Count, 1.5),
        (Count, "6 steps"),
        (Share, 20),
        (Share, "101%"),
        (Share, Decimal("1.01")),
    ],
    ids=repr,
)
def test_zero_a_foreign_unit_and_a_size_out_of_range_are_refused(kind: Amount, raw: Any) -> None:
    with pytest.raises(ScalarError):
        kind.parse(raw)


def test_the_largest_amount_is_exact_in_a_store_that_counts_in_floats() -> None:
    assert float(MAX_AMOUNT) == MAX_AMOUNT < 2**53
    assert NanoUsd(MAX_AMOUNT) == NanoUsd.parse("9000000")


def test_a_share_is_a_fraction() -> None:
    assert Decimal("0.2") == Share.parse("20%") == Share.parse(0.2) == Share.parse(Decimal("0.20"))
    assert Share.parse("100%") == 1
    assert Share.parse("20%").written == "20%"
    assert repr(Share.parse("20%")) == "Share(20%)"


@given(st.integers(1, MAX_AMOUNT))
def test_money_survives_the_way_through_text(nano: int) -> None:
    assert nano == NanoUsd.parse(NanoUsd(nano).written)
    assert nano == NanoUsd.parse(Decimal(nano).scaleb(-9))


@given(st.sampled_from([Tokens, Milliseconds, Count]), st.integers(1, MAX_AMOUNT))
def test_every_amount_survives_the_way_through_its_own_text(kind: Amount, value: int) -> None:
    assert value == kind.parse(kind(value).written)


@given(st.sampled_from([Tokens, NanoUsd, Milliseconds, Count, Share, Price]), st.text(max_size=80))
def test_no_text_makes_reading_an_amount_fail_in_another_way(kind: Amount, text: str) -> None:
    try:
        amount = kind.parse(text)
    except ScalarError:
        return
    assert amount >= kind.minimum if isinstance(amount, int) else 0 < amount <= 1


@given(st.floats(0.000001, 1_000_000, allow_nan=False).map(lambda x: round(x, 6)))
def test_a_float_from_python_means_the_digits_it_shows(dollars: float) -> None:
    assert int(Decimal(repr(dollars)).scaleb(9)) == NanoUsd.parse(dollars)


def test_an_amount_keeps_its_text_when_copied_and_pickled() -> None:
    for amount in (Tokens.parse("2k"), NanoUsd.parse("0.50"), Share.parse("20%")):
        for other in (copy.copy(amount), copy.deepcopy(amount), pickle.loads(pickle.dumps(amount))):
            assert amount == other
            assert amount.written == other.written


def test_json_carries_the_canonical_number() -> None:
    assert b"2000" == TypeAdapter(Tokens).dump_json(Tokens.parse("2k"))
    assert b"500000000" == TypeAdapter(NanoUsd).dump_json(NanoUsd.parse("0.50"))
    assert b'"0.2"' == TypeAdapter(Share).dump_json(Share.parse("20%"))
    assert "2k" == TypeAdapter(Tokens).dump_python(Tokens.parse("2k")).written


def test_an_amount_shows_its_kind_and_text() -> None:
    assert "Tokens(2k)" == repr(Tokens.parse("2k"))
    assert "250ms" == Milliseconds(250).written
    assert "0.5" == NanoUsd(500_000_000).written
