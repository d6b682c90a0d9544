"""Loops and legitimate repetition of kinds that no threshold was set on: the first are refused early, the second never, nor nudged."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from tests.controls.loop_kinds import LEGITIMATE, LOOPS, Step, lead
from tests.controls.strategies_loop import Run, loop

HARD = ("deny", "stop")


def verdict(run: Run, step: Step) -> str:
    """What the control says of one step: of a tool call with the model call that asks for it, or of an answer."""
    name, args, text = step
    return run.turn(name, args, text) if name else str(run.model(text).decision.verdict)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_is_refused_within_ten_fruitless_steps(kind: str, seed: int) -> None:
    random, run = Random(seed), Run(loop())
    before = {verdict(run, step) for step in lead(random)}
    cycle = {"wrapped_pages": 5, "long_cycle": 12, "search_open_back": 3}.get(
        kind, 1
    )  # the first time round is not a repetition

    verdicts = [verdict(run, step) for step in itertools.islice(LOOPS[kind](random), cycle + 10)]

    assert {"allow"} == before
    assert any(said in HARD for said in verdicts), verdicts


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", LEGITIMATE)
def test_legitimate_repetition_is_left_alone(kind: str, seed: int) -> None:
    random, run = Random(seed), Run(loop())

    verdicts = [verdict(run, step) for step in itertools.chain(lead(random), LEGITIMATE[kind](random), lead(random))]

    assert {"allow"} == set(verdicts)
    assert run.state.loop.note is None
