"""The score of an answer: it reads the answer, and is kept in a snapshot."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import RoutingError
from governor.routing.estimate import StepFeatures
from governor.routing.features import NUMBERS
from governor.routing.posthoc import ANSWER_NUMBERS, Posthoc, answered_vector, train_posthoc
from tests.routing.pairs import outcomes

STEP = StepFeatures(node="planner", path="planner", delta="How many are 12 and 30?")
RIGHT, WRONG = "12 + 30 = 42. The answer is 42.", "I am not sure, maybe it cannot be said?"


def learned() -> Posthoc:
    known = [
        dataclasses.replace(each, weak=dataclasses.replace(each.weak, answer=RIGHT if each.weak.score else WRONG))
        for each in outcomes(200)
    ]
    made = train_posthoc(known)
    assert made
    return made


def test_the_answer_is_read() -> None:
    model = learned()

    assert model.gain(STEP, WRONG) > 0.5 > model.gain(STEP, RIGHT)
    assert 200 == model.records


@given(st.text(max_size=200), st.text(max_size=200))
def test_every_answer_has_a_score(prompt: str, answer: str) -> None:
    step = dataclasses.replace(STEP, delta=prompt)
    seen = answered_vector(step, answer)

    assert len(set(seen.positions)) == len(seen.positions) == len(seen.values)
    assert len(NUMBERS) + len(ANSWER_NUMBERS) < len(seen.positions)


def test_records_without_answers_teach_nothing() -> None:
    assert train_posthoc(outcomes(20)) is None


def test_it_is_kept_in_a_snapshot() -> None:
    model = learned()
    back = Posthoc.parse(json.loads(json.dumps(model.dump())))

    assert model.gain(STEP, WRONG) == pytest.approx(back.gain(STEP, WRONG), abs=1e-3)
    assert model.records == back.records


@pytest.mark.parametrize("change", [{"version": 2}, {"weights": "AAAA"}, {"bias": None}, {"unit": "many"}])
def test_what_cannot_be_read_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(RoutingError) as caught:
        Posthoc.parse({**learned().dump(), **change})

    assert caught.value.remedy
