"""Each threshold and rule of the detector matters: one that is changed is found out by what the detector is held to."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from hypothesis import is_hypothesis_test

from tests.controls import test_loop, test_loop_cases, test_loop_kinds, test_loop_responses, test_loop_signatures
from tests.controls.loop_kinds import LEGITIMATE, LOOPS
from tests.controls.loop_mutants import MUTANTS, Mutant

SEEDS = (0, 3)


def cases() -> Iterator[Callable[[], None]]:
    """The fixed cases of the unit tests, parametrized ones each on their own."""
    for module in (test_loop_cases, test_loop, test_loop_responses, test_loop_signatures):
        for name, test in vars(module).items():
            if not name.startswith("test_") or is_hypothesis_test(test):
                continue
            marks = getattr(test, "pytestmark", [])
            given = [dict(_named(mark.args[0], values)) for mark in marks for values in mark.args[1]]
            yield from (functools.partial(test, **each) for each in given or [{}])


def _named(names: str | tuple[str, ...], values: object) -> Iterator[tuple[str, object]]:
    if isinstance(names, str):
        yield names, values
    else:
        yield from zip(names, cast("tuple[object, ...]", values), strict=True)


def examine() -> None:
    """What a detector is held to here: the fixed cases, and loops and legitimate repetition of every kind."""
    for case in cases():
        case()
    for kind, seed in itertools.product(LOOPS, SEEDS):
        test_loop_kinds.test_a_loop_is_refused_within_ten_fruitless_steps(kind, seed)
    for kind, seed in itertools.product(LEGITIMATE, SEEDS):
        test_loop_kinds.test_legitimate_repetition_is_left_alone(kind, seed)


def test_a_detector_made_from_unchanged_sources_passes() -> None:
    """Else the mutants below would be found for the way they are made."""
    for module in sorted({mutant.module for mutant in MUTANTS}):
        with Mutant("nothing", module, "", "").at_work():
            examine()


def test_nothing_of_a_mutant_is_left_behind() -> None:
    from governor.controls.loop import suspicion

    before = dict(vars(suspicion))
    with MUTANTS[0].at_work():
        assert 50 == suspicion.REPEATED

    assert before == dict(vars(suspicion))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.wrong)
def test_a_spoilt_detector_is_found_out(mutant: Mutant) -> None:
    mutant.source()  # that its place in the sources is still there is no finding of the examination's
    with mutant.at_work(), pytest.raises((AssertionError, KeyError)):
        examine()
