"""The linear model: it finds what fits best, the same every time, and is kept in 16 bits a weight."""

from __future__ import annotations

import base64
import random
import zlib
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.routing.features import DIMENSIONS, NUMBERS, Vector, vector
from governor.routing.hashed import Hashed, pack, train_hashed, unpack
from governor.routing.training import target_of
from tests.routing.pairs import outcomes


def dense(*values: float) -> Vector:
    """A vector of two features and one number."""
    return Vector(list(range(len(values))), list(values))


def test_the_weights_are_those_at_which_no_weight_could_be_better() -> None:
    draw = random.Random(3)
    seen = [dense(draw.random(), draw.random(), 5.0) for _ in range(40)]
    targets = [each.values[0] - 0.5 * each.values[1] + 0.1 * draw.random() for each in seen]
    model = train_hashed(seen, targets, penalty=0.5, rounds=2_000, tolerance=1e-9, dimensions=3, numbers=1)
    errors = [target - model.score(each) for each, target in zip(seen, targets, strict=True)]

    for place in (0, 1):
        slope = sum(error * each.values[place] for error, each in zip(errors, seen, strict=True))
        assert slope == pytest.approx(0.5 * model.weights[place], abs=5e-3)
    assert 0.0 == model.weights[2]  # a number that is always the same says nothing


def test_numbers_are_learned_whatever_their_size() -> None:
    seen = [Vector([0, 1], [1.0, 1e6 + 1e3 * at]) for at in range(50)]
    model = train_hashed(
        seen, [float(at) for at in range(50)], penalty=1e-2, rounds=2_000, tolerance=1e-6, dimensions=2, numbers=1
    )

    assert model.score(seen[40]) - model.score(seen[10]) == pytest.approx(30, abs=1)


def test_equal_records_give_equal_weights_and_hard_words_a_higher_score() -> None:
    known = outcomes(300)
    seen, targets = [vector(each.step) for each in known], [target_of(each) for each in known]
    model = train_hashed(seen, targets)
    hard, easy = (
        vector(each.step)
        for each in (
            known[next(at for at, each in enumerate(known) if word in each.step.delta)]
            for word in ("theorem", "weather")
        )
    )

    assert model.weights == train_hashed(seen, targets).weights
    assert model.score(hard) > model.score(easy)


def test_without_records_there_is_nothing_to_say() -> None:
    assert 0.0 == train_hashed([], []).score(Vector([], []))


@given(st.dictionaries(st.integers(0, 999), st.floats(-3, 3, width=32), max_size=50))
def test_packed_weights_come_back_within_half_a_step(known: dict[int, float]) -> None:
    weights = array("f", bytes(4_000))
    for place, value in known.items():
        weights[place] = value
    text, unit = pack(weights)
    back = unpack(text, unit, dimensions=1_000)

    assert 1_000 == len(back)
    assert all(abs(back[place] - weights[place]) <= unit / 2**40 for place in known)
    assert sum(map(bool, back)) <= len(known)
    assert (text, unit) == pack(back)


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "no base64!",
        base64.b64encode(b"no zlib").decode(),
        packed(b"\x01\x00\x00\x00"),
        packed(b"\x01\x00\x00\x00" + b"\xff\xff\xff\x00" + b"\x01\x00"),
        packed(bytes(4 + 6 * DIMENSIONS + 1)),
    ],
    ids=["base64", "zlib", "short", "out of range", "bomb"],
)
def test_what_holds_no_weights_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|weight"):
        unpack(text, 1)


def test_a_score_is_the_bias_and_the_weights_of_what_is_there() -> None:
    weights = array("f", bytes(4 * DIMENSIONS))
    weights[7], weights[9] = 2.0, -1.0

    assert 0.5 + 3.0 - 0.25 == Hashed(0.5, weights).score(Vector([7, 9, 11], [1.5, 0.25, 8.0]))
    assert len(NUMBERS) < DIMENSIONS
