"""Features of a step: the same everywhere, bounded, and as long as they say."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.routing.estimate import DELTA_CHARS, StepFeatures
from governor.routing.features import DIMENSIONS, NAMES, NUMBERS, WORDS, hashed_text, split, vector

STEP = StepFeatures(node="planner", path="graph/planner", delta="How many sprints?")
texts = st.text(max_size=300)


@given(texts)
def test_every_position_comes_once_and_within_the_dimensions(delta: str) -> None:
    seen = vector(dataclasses.replace(STEP, delta=delta))

    assert len(set(seen.positions)) == len(seen.positions) == len(seen.values)
    assert all(0 <= place < DIMENSIONS for place in seen.positions)


@given(texts)
def test_both_kinds_of_n_grams_have_length_1_or_are_absent(delta: str) -> None:
    seen = vector(dataclasses.replace(STEP, delta=delta))
    for low, high in ((0, WORDS), (WORDS, 2 * WORDS)):
        squares = [v * v for p, v in zip(seen.positions, seen.values, strict=True) if low <= p < high]

        assert not squares or abs(sum(squares) - 1) < 1e-9


def test_n_grams_are_the_crc_of_bytes_within_words() -> None:
    seen = hashed_text(split("Sprint, sprint!"))
    grams = {zlib.crc32(gram) % WORDS for gram in (b" spr", b"spri", b"prin", b"rint", b"int ")}
    terms = {WORDS + zlib.crc32(term) % WORDS for term in (b"sprint", b"sprint sprint")}

    assert grams | terms == set(seen.positions)


def test_a_longer_delta_than_is_read_makes_no_difference() -> None:
    long = "word " * DELTA_CHARS
    seen = vector(dataclasses.replace(STEP, delta=long))

    assert seen == vector(dataclasses.replace(STEP, delta=long[:DELTA_CHARS]))
    assert DELTA_CHARS >= len(b" ".join(split("é" * 3 * DELTA_CHARS)))


def test_features_are_the_same_in_another_process() -> None:
    code = (
        "from governor.routing.features import vector; from governor.routing.estimate import StepFeatures;"
        "print(vector(StepFeatures(node='n', path='n', delta='Straße 12, naïve?', outcome='tool_error')).positions)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert runs[0] == runs[1]
    assert runs[0].startswith(b"[")


@pytest.mark.parametrize(
    "change",
    [
        {"path": "graph/writer"},
        {"outcome": "tool_error"},
        {"pending_tool": "search"},
        {"errors": 2},
        {"repeats": 1},
        {"step": 9},
        {"structured": True},
        {"prefix_tokens": 14_000},
        {"delta_tokens": 400},
        {"delta": "Prove it."},
    ],
)
def test_whatever_is_known_of_a_step_is_seen(change: dict[str, Any]) -> None:
    assert vector(STEP) != vector(dataclasses.replace(STEP, **change))


def test_numbers_come_last() -> None:
    seen = vector(STEP)

    assert list(range(2 * WORDS + NAMES, DIMENSIONS)) == seen.positions[-len(NUMBERS) :]


def test_text_that_is_no_utf_8_is_read() -> None:
    assert vector(dataclasses.replace(STEP, delta="\ud800", path="\ud800")).positions
