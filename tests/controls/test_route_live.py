"""What estimators are told of a live call, what a lane remembers of models, and how a share is steered."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ToolUse
from governor.routing.estimate import DELTA_CHARS, StepFeatures
from governor.routing.live import live_step, pending_results
from governor.routing.share import next_share
from governor.runs import WARM_MODELS, Lane, RouteState, RunState, Warm, dump_state, parse_state
from tests.controls.histories import answer, asks, model_call, runs, system, tool, turns, use, user


def test_a_step_is_told_by_its_newest_message_and_what_went_before() -> None:
    failed = replace(answer("t9", "c9", "no such file", "read"), failed=True)
    again = ToolUse(id="c9", name="search", args={"query": "query 1"})
    call = model_call([*turns(2, 50), asks("a9", again), failed], tools=(tool("read", 100),), structured=True)

    step = live_step(RunState(model_calls=4), call)

    assert (
        StepFeatures(
            node="agent",
            path="agent",
            delta="no such file",
            outcome="tool_error",
            errors=1,
            repeats=1,
            step=3,
            pending_tool="read",
            structured=True,
            prefix_tokens=call.history.tokens - failed.tokens + 100,
            delta_tokens=failed.tokens,
        )
        == step
    )


def test_a_signal_comes_before_what_is_read_off_the_messages() -> None:
    assert "loop" == live_step(RunState(route=RouteState(signals=("loop",))), model_call(turns(1, 9))).outcome


def test_a_first_call_has_no_past() -> None:
    step = live_step(RunState(model_calls=1), model_call([system(), user("x" * 9_000)]))

    assert (0, 0, 0, "", "") == (step.step, step.errors, step.repeats, step.outcome, step.pending_tool)
    assert DELTA_CHARS == len(step.delta)


@pytest.mark.parametrize(
    ("messages", "pending"),
    [
        (turns(2, 9), True),
        ([*turns(2, 9), user("And?", "u2")], False),
        ([*turns(1, 9), asks("a7", text="Done.")], False),
        ([user("Look."), answer("t1", "c1", "result")], False),
        ([user("Look."), asks("a1", use("c1"), use("c2")), answer("t1", "c1", "one"), answer("t2", "c2", "two")], True),
        ([user("Look."), asks("a1", use("c1")), answer("t1", "other", "result")], False),
        ([], False),
    ],
)
def test_results_are_pending_when_the_last_answer_asked_for_them(messages: list[object], pending: bool) -> None:
    assert pending == pending_results(model_call(messages))  # pyright: ignore[reportArgumentType] - messages all


@given(runs(), st.integers(0, 50))
def test_features_are_whole_and_never_negative(messages: list[object], calls: int) -> None:
    call = model_call(messages)  # pyright: ignore[reportArgumentType] - messages all
    step = live_step(RunState(model_calls=calls), call)

    assert min(step.errors, step.repeats, step.step, step.prefix_tokens, step.delta_tokens) >= 0
    assert step.prefix_tokens + step.delta_tokens == call.history.tokens


_MODELS = st.sampled_from(["a:1", "b:2", "c:3", "d:4", "e:5"])


@given(st.lists(st.tuples(_MODELS, st.booleans()), max_size=20))
def test_a_lane_remembers_a_few_models_the_latest_first_and_none_after_a_cut(calls: list[tuple[str, bool]]) -> None:
    lane, seen = Lane(), list[str]()
    for at, (model, cut) in enumerate(calls, 1):
        others = lane.beside(model, cut=cut)
        seen = [model] if cut else [model, *(each for each in seen if each != model)][: WARM_MODELS + 1]
        lane = replace(lane, model=model, prefix_tokens=at, last_at_ms=at, others=others)

        assert seen == [each for each in (lane.model, *(other.model for other in others)) if each]
        assert lane == parse_state(dump_state(RunState(lanes={"x": lane}))).lanes["x"]
        for name in seen:
            known = lane.warm(name)
            assert known is not None
            assert known.last_at_ms == max(when for when, call in enumerate(calls[:at], 1) if call[0] == name)


def test_states_of_an_older_version_are_read() -> None:
    old = '{"lanes": {"x": {"model": "a:1", "prefix_tokens": 7, "last_at_ms": 9, "calls": 2}}}'

    lane = parse_state(old).lanes["x"]

    assert Warm(model="a:1", prefix_tokens=7, last_at_ms=9) == lane.warm("a:1")
    assert ((), 0, False, None) == (lane.others, lane.since, lane.escalated, lane.warm("b:2"))


_SHARES = st.floats(0, 1)


@given(_SHARES, _SHARES, _SHARES)
def test_a_share_is_steered_towards_its_target(target: float, asked: float, reached: float) -> None:
    found = next_share(target, asked, reached)

    assert 0 <= found <= 1
    if 0 < target < 1 and asked > 0.001:
        assert (found >= asked) if reached < target else (found <= asked)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        next_share(0.2, 0.2, 1.2)
