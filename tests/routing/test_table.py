"""The gain table: shrunk means, parents of unknown keys, and nothing at all of unknown nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.routing.estimate import StepFeatures
from governor.routing.records import PairedOutcome
from governor.routing.table import Cell, TableEstimator, tabled
from tests.routing.pairs import outcome

records = st.lists(
    st.builds(
        outcome,
        st.text(max_size=3),
        node=st.sampled_from(["planner", "writer"]),
        after=st.sampled_from(["", "tool_error"]),
        strong=st.floats(0, 1),
        weak=st.floats(0, 1),
    ),
    min_size=1,
    max_size=30,
)


def step(node: str = "planner", after: str = "") -> StepFeatures:
    return StepFeatures(node=node, path=node, outcome=after)


def test_a_gain_is_its_own_mean_and_ten_records_of_its_parent() -> None:
    known = [outcome(str(n), weak=0.0) for n in range(10)] + [outcome(str(n), node="writer") for n in range(30)]
    estimator = TableEstimator(tabled(known))
    found = estimator.estimate(step())
    assert found

    node = (10 + 10 * 0.25) / 20
    assert (10 + 10 * node) / 20 == pytest.approx(found.gain)
    assert 10 == found.records
    assert "table planner/ok" == found.layer


def test_a_state_that_was_never_seen_is_its_nodes_and_a_node_that_never_was_is_nothing() -> None:
    estimator = TableEstimator(tabled([outcome("1", weak=0.0)]))
    found = estimator.estimate(step(after="tool_error"))
    assert found

    assert "table planner" == found.layer
    assert estimator.estimate(step("judge")) is None
    assert estimator.rank(step("judge")) is None


def test_an_empty_table_knows_nothing() -> None:
    assert TableEstimator(()).estimate(step()) is None


def test_cells_count_what_became_of_both_tiers() -> None:
    scores = [(1.0, 1.0), (1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.75, 0.25)]
    cells = tabled([outcome(str(at), strong=strong, weak=weak) for at, (strong, weak) in enumerate(scores)])

    assert 3 == len(cells)
    assert Cell(key=(), n=6, both=1, gain=3, weak_only=1, neither=1, graded=1_500_000) == cells[0]


@given(records)
def test_intervals_hold_the_gain_and_every_record_is_counted_once(known: list[PairedOutcome]) -> None:
    cells = tabled(known)
    estimator = TableEstimator(cells)

    assert len(known) == cells[0].n
    for key_length in (1, 2):
        assert len(known) == sum(cell.n for cell in cells if len(cell.key) == key_length)
    for record in known:
        found = estimator.estimate(record.step)
        assert found
        assert -1 <= found.low <= found.gain <= found.high <= 1
        assert found.low < found.high


@given(records)
def test_a_table_is_the_same_in_any_order_of_the_records(known: list[PairedOutcome]) -> None:
    assert tabled(known) == tabled(known[::-1])
