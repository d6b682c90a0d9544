"""APGR, CPT and cost at a quality: against small cases by hand and what must hold of all."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.routing.metrics import Graded, curve, quality_of

STEPS = [
    Graded(id="a", strong=1, weak=0, strong_cost=10, weak_cost=1),
    Graded(id="b", strong=1, weak=1, strong_cost=10, weak_cost=1),
    Graded(id="c", strong=1, weak=0, strong_cost=20, weak_cost=2),
    Graded(id="d", strong=0, weak=1, strong_cost=10, weak_cost=1),
]
graded = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0]), st.floats(-1, 1)), min_size=1, max_size=30
)


def test_figures_of_four_steps_are_those_by_hand() -> None:
    made = curve(STEPS, [4, 2, 3, 1])

    assert (0.5, 0.75, 1.0, 1.0, 0.75) == made.quality
    assert [0, 1, 2, 2, 1] == [round(made.recovered(k), 9) for k in range(5)]
    assert (0.5 + 1.5 + 2 + 1.5) / 4 == made.apgr
    assert 0.25 == made.cpt(0.5) == made.cpt(1.0)
    assert (5 / 50, 14 / 50, 32 / 50, 41 / 50, 1.0) == made.cost
    assert (5 / 50, 15 / 50, 35 / 50, 45 / 50, 55 / 50) == made.cascade
    assert 14 / 50 == made.cost_at(1.0)
    assert 15 / 50 == made.cost_at(1.0, cascade=True)
    assert 0.75 / 0.75 == made.quality_at(0.25)


@given(graded)
def test_the_oracle_is_never_worse_than_another_order(rows: list[tuple[float, float, float]]) -> None:
    steps = [Graded(id=str(at), strong=strong, weak=weak) for at, (strong, weak, _) in enumerate(rows)]
    other = curve(steps, [score for _, _, score in rows])
    best = curve(steps, [step.strong - step.weak for step in steps])

    assert all(high >= low - 1e-9 for high, low in zip(best.quality, other.quality, strict=True))
    assert other.quality[-1] == pytest.approx(other.strong)
    assert other.quality[0] == pytest.approx(other.weak)


def test_chance_recovers_half_of_the_gap() -> None:
    draw = random.Random(5)
    steps = [Graded(id=str(at), strong=1, weak=float(draw.random() < 0.7)) for at in range(4_000)]

    assert 0.48 < curve(steps, [0.0] * len(steps)).apgr < 0.52


@given(graded)
def test_a_choice_costs_and_gives_what_its_place_on_the_curve_says(rows: list[tuple[float, float, float]]) -> None:
    steps = [
        Graded(id=str(at), strong=strong, weak=weak, strong_cost=5, weak_cost=1)
        for at, (strong, weak, _) in enumerate(rows)
    ]
    scores = [score for _, _, score in rows]
    up = [score > 0 for score in scores]
    made = curve(steps, scores)

    for cascade in (False, True):
        quality, cost = quality_of(steps, up, cascade=cascade)
        assert cost == pytest.approx((made.cascade if cascade else made.cost)[sum(up)])
        assert math.isnan(quality) or quality * made.strong == pytest.approx(made.quality[sum(up)])


def test_without_steps_a_gap_or_costs_there_are_no_figures() -> None:
    equal = [Graded(id="a", strong=1, weak=1)]

    assert all(math.isnan(curve(steps, [0.0] * len(steps)).apgr) for steps in ([], equal))
    assert math.isnan(curve(equal, [0.0]).cpt(0.5))
    assert math.isnan(curve(equal, [0.0]).cost_at(0.98))
    assert math.isnan(quality_of([], [])[0])
