"""From records to a snapshot: what was calibrated on was not learned from, and promises hold on records that nobody has seen."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.errors import RoutingError
from governor.routing.estimate import StepFeatures
from governor.routing.guard import Promise, exact_gate, is_regret
from governor.routing.learned import SnapshotEstimator
from governor.routing.snapshot import ANY_NODE, Snapshot, dump_snapshot
from governor.routing.training import parted, scored, train
from tests.routing.pairs import outcome, outcomes

PROMISE = Promise(max_loss=0.05, confidence=0.9)


def trained(count: int = 900, seed: int = 0, promise: Promise | None = PROMISE) -> Snapshot:
    return train(outcomes(count, seed), weak="student", strong="frontier", created_ms=0, promise=promise)


def test_equal_records_in_any_order_give_the_same_snapshot() -> None:
    known = outcomes(300)
    one, other = (
        train(each, weak="student", strong="frontier", created_ms=5, promise=PROMISE) for each in (known, known[::-1])
    )

    assert dump_snapshot(one) == dump_snapshot(other)


@given(st.lists(st.tuples(st.text(max_size=2), st.text(max_size=1)), max_size=40), st.floats(0.1, 0.9))
def test_the_steps_of_a_run_are_never_parted(names: list[tuple[str, str]], share: float) -> None:
    known = [outcome(f"{at}/{name}", run=run) for at, (name, run) in enumerate(names)]
    learning, kept = parted(known, share)

    assert sorted(each.id for each in known) == sorted(each.id for each in [*learning, *kept])
    assert not {each.run for each in learning if each.run} & {each.run for each in kept}
    assert (learning, kept) == parted(known, share)


def test_hard_steps_are_estimated_above_easy_ones_and_figures_are_of_records_kept_apart() -> None:
    snapshot = trained()
    estimator = SnapshotEstimator(snapshot)
    found = [
        estimator.estimate(StepFeatures(node="planner", path="planner", delta=text))
        for text in ("prove the theorem", "hello weather")
    ]
    hard, easy = found
    assert hard
    assert easy

    assert hard.gain > 0.3 > 0.1 > easy.gain
    assert hard.low < hard.gain < hard.high
    assert "hashed" == hard.layer
    assert snapshot.id.startswith(hard.facts["snapshot"])
    assert snapshot.evaluation["apgr"] > 0.65
    assert 900 == snapshot.trained.records
    assert 200 < snapshot.trained.calibration < 340


def test_a_calibrated_gain_is_what_is_gained() -> None:
    others = scored(trained(), outcomes(2_000, seed=9))
    up = [each for each in others if each.gain is not None and each.gain > 0.2]
    down = [each for each in others if each.gain is not None and each.gain <= 0.2]

    for part in (up, down):
        assert sum(each.gain or 0 for each in part) / len(part) == pytest.approx(
            sum(each.record.gain for each in part) / len(part), abs=0.08
        )


def test_a_node_that_was_never_recorded_is_left_to_the_better_tier() -> None:
    step = StepFeatures(node="judge", path="judge", delta="hello weather")

    assert SnapshotEstimator(trained()).estimate(step) is None


def test_where_the_table_is_sure_no_text_is_read() -> None:
    step = StepFeatures(node="planner", path="planner", delta="prove the theorem")
    snapshot = trained()
    sure = SnapshotEstimator(snapshot, band=(0.9, 0.95)).estimate(step)
    unsure = SnapshotEstimator(snapshot, band=(0.0, 0.5)).estimate(step)
    assert sure
    assert unsure

    assert "table planner/ok" == sure.layer
    assert "hashed" == unsure.layer


@settings(max_examples=4)
@given(st.integers(1, 1_000))
def test_promises_hold_on_records_that_nobody_has_seen(seed: int) -> None:
    """One in ten may fail at 90%; the margin is for that one, and for the noise of a thousand records."""
    snapshot = trained(500, seed)
    others = scored(snapshot, outcomes(1_000, seed=10_000 + seed))
    at = snapshot.promised
    regrets = sum(
        is_regret(each.record) for each in others if at is not None and each.gain is not None and each.gain <= at
    )

    assert regrets / len(others) <= 1.5 * PROMISE.max_loss


def test_the_threshold_is_one_at_which_the_guards_gate_is_open() -> None:
    snapshot = trained()
    whole = snapshot.guarded(ANY_NODE)
    assert whole
    assert whole.sent

    assert exact_gate(whole.counts, dataclasses.replace(PROMISE, accuracy=snapshot.accuracy)).open
    assert (50_000, 900_000) == (snapshot.trained.max_loss, snapshot.trained.confidence)


def test_a_promise_that_cannot_be_kept_lowers_nothing() -> None:
    snapshot = trained(promise=Promise(max_loss=0.001))

    assert snapshot.threshold is None
    assert snapshot.promised is None
    assert {0} == {each.sent for each in snapshot.guard}


def test_without_a_promise_there_is_no_threshold_and_no_guard() -> None:
    snapshot = trained(promise=None)

    assert (None, ()) == (snapshot.threshold, snapshot.guard)
    assert snapshot.cut(0.2) is not None


def test_few_records_make_a_table_alone() -> None:
    snapshot = trained(120)

    assert snapshot.hashed is None
    assert snapshot.table
    assert SnapshotEstimator(snapshot).estimate(StepFeatures(node="planner", path="planner"))


def test_a_model_that_says_nothing_of_new_records_is_left_out() -> None:
    known = [dataclasses.replace(each, weak=each.strong) for each in outcomes(600)]
    same = [dataclasses.replace(each, weak=dataclasses.replace(each.weak, tier="student")) for each in known]

    assert train(same, weak="student", strong="frontier", created_ms=0).hashed is None


def test_records_of_another_pair_are_no_records() -> None:
    with pytest.raises(RoutingError) as caught:
        train(outcomes(5), weak="frontier", strong="student", created_ms=0)

    assert caught.value.remedy


def test_calls_that_are_seldom_paired_count_for_more_in_the_cut() -> None:
    known = outcomes(900)
    rare = [dataclasses.replace(each, propensity=1.0 if "theorem" in each.step.delta else 0.01) for each in known]
    often = train(known, weak="student", strong="frontier", created_ms=0)
    weighed = train(rare, weak="student", strong="frontier", created_ms=0)

    assert (often.cut(0.2) or 0) > (weighed.cut(0.2) or 0)
