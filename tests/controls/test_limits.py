"""A run is held against its limits before each step, and a step is counted once however often it is tried."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from governor.calls import RunRef, StepRef
from governor.controls.limits import Limits
from governor.decisions import ALLOWED, Decision, Verdict
from governor.policy.schema import Policy
from governor.runs import RunState, dump_state, parse_state

NOON = 1_700_000_000_000


def limits(*, mode: str = "enforce", **bounds: Any) -> Limits:
    return Limits(Policy.model_validate({"governor": 1, "name": "t", "mode": mode, "limits": bounds}))


def step(ns: str, *, depth: int = 0) -> StepRef:
    return StepRef(run=RunRef(id="r"), node="n", path="n", ns=ns, depth=depth)


def entered(control: Limits, *namespaces: str, state: RunState | None = None, leave: bool = True) -> list[Decision]:
    """The decisions on these steps, one after the other."""
    state, decisions = state or RunState(), list[Decision]()
    for ns in namespaces:
        state, decision = control.enter(state, step(ns), NOON)
        decisions.append(decision)
        state = control.leave(state, step(ns)) if leave else state
    return decisions


def test_without_limits_steps_are_counted_and_allowed() -> None:
    control = limits()
    state, decision = control.enter(RunState(), step("a:1"), NOON)

    assert ALLOWED == decision
    assert (1, ("a:1",), NOON) == (state.steps, state.open_steps, state.started_ms)


def test_the_step_beyond_the_limit_stops_the_run_and_says_why() -> None:
    decisions = entered(limits(steps="2"), "a:1", "a:2", "a:3")

    assert [ALLOWED, ALLOWED] == decisions[:2]
    assert Verdict.STOP is decisions[2].verdict
    assert decisions[2].refuses
    reason = decisions[2].reason
    assert reason is not None
    assert ("limits.steps", "limits.steps", "2", "3") == (reason.code, reason.rule, reason.limit, reason.seen)
    assert "The run was stopped: 3 node executions, and limits.steps is 2." == reason.text
    assert reason.remedy is not None
    assert "raise limits.steps" in reason.remedy


def test_a_limit_is_quoted_as_its_author_wrote_it() -> None:
    state = RunState(steps=1_000)
    _, decision = limits(steps="1k").enter(state, step("a:1"), NOON)

    assert decision.reason is not None
    assert ("1k", "1001") == (decision.reason.limit, decision.reason.seen)


def test_a_retried_or_resumed_step_is_counted_once() -> None:
    control = limits(steps="1")
    first, _ = control.enter(RunState(), step("a:1"), NOON)
    again, decision = control.enter(first, step("a:1"), NOON)

    assert ALLOWED == decision
    assert first == again


def test_a_refused_step_is_not_counted() -> None:
    control = limits(steps="1")
    state, _ = control.enter(RunState(), step("a:1"), NOON)
    after, decision = control.enter(state, step("a:2"), NOON)

    assert decision.refuses
    assert state == after


def test_depth_is_how_many_graphs_a_step_is_inside() -> None:
    control = limits(depth=2)

    assert ALLOWED == control.enter(RunState(), step("a|b|c", depth=2), NOON)[1]
    reason = control.enter(RunState(), step("a|b|c|d", depth=3), NOON)[1].reason
    assert reason is not None
    assert ("limits.depth", "2", "3") == (reason.code, reason.limit, reason.seen)


def test_branches_at_once_are_the_open_steps_of_one_graph() -> None:
    control = limits(fan_out=2)

    assert [ALLOWED, ALLOWED] == entered(control, "worker:1", "worker:2", leave=False)
    assert [ALLOWED] * 5 == entered(control, *(f"worker:{n}" for n in range(5)))
    assert [ALLOWED] * 4 == entered(control, "a:1", "a:1|x:1", "a:1|x:2", "b:1", leave=False)
    reason = entered(control, "worker:1", "worker:2", "worker:3", leave=False)[2].reason
    assert reason is not None
    assert ("limits.fan_out", "2", "3") == (reason.code, reason.limit, reason.seen)


def test_time_runs_from_the_first_step() -> None:
    control = limits(time="15m")
    state, _ = control.enter(RunState(), step("a:1"), NOON)

    assert ALLOWED == control.enter(state, step("a:2"), NOON + 900_000)[1]
    late, decision = control.enter(state, step("a:3"), NOON + 900_700)
    assert decision.reason is not None
    assert ("limits.time", "15m", "900.7s") == (decision.reason.code, decision.reason.limit, decision.reason.seen)
    assert NOON == late.started_ms


def test_time_also_stops_a_step_that_is_resumed_too_late() -> None:
    control = limits(time="1m")
    state, _ = control.enter(RunState(), step("a:1"), NOON)

    assert control.enter(state, step("a:1"), NOON + 60_001)[1].refuses


def test_observe_mode_counts_on_and_stops_nothing() -> None:
    control = limits(mode="observe", steps="1")
    decisions = entered(control, "a:1", "a:2", "a:3")

    assert [False, True, True] == [decision.observed for decision in decisions]
    assert [False, False, False] == [decision.refuses for decision in decisions]
    assert decisions[2].reason is not None
    assert "3" == decisions[2].reason.seen


def test_a_step_that_has_ended_is_forgotten() -> None:
    control = limits()
    state, _ = control.enter(RunState(), step("a:1"), NOON)

    assert () == control.leave(state, step("a:1")).open_steps
    assert state == control.leave(state, step("never:1"))


@given(steps=st.lists(st.integers(0, 5), max_size=60), bound=st.integers(1, 8))
def test_a_limit_of_steps_is_never_passed_and_never_refuses_below(steps: list[int], bound: int) -> None:
    control, state, distinct = limits(steps=bound), RunState(), set[int]()
    for value in steps:
        state, decision = control.enter(state, step(f"n:{value}"), NOON)
        expected = value in distinct or len(distinct) < bound
        assert expected is not decision.refuses
        distinct |= {value} if expected else set()
        state = parse_state(dump_state(state))

    assert len(distinct) == state.steps <= bound


def test_open_steps_are_bounded() -> None:
    control, state = limits(), RunState()
    for value in range(2_000):
        state, _ = control.enter(state, step(f"n:{value}"), NOON)

    assert 2_000 == state.steps
    assert 256 == len(state.open_steps)
    assert "n:1999" == state.open_steps[-1]
