"""What is done about a loop, and what takes suspicion back: compaction, kill, progress, a tool's own hints, compactions, branches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ToolCall, ToolResult, ToolUse
from governor.decisions import Verdict
from governor.plans import Admission
from governor.runs import Cut, Lane, RunState
from tests.controls.strategies_loop import LONG, Run, loop

ALLOW, NUDGE, DENY, STOP = "allow", "nudge", "deny", "stop"
ARGS: dict[str, object] = {"path": "a.py"}


def said(run: Run, turns: int, result: str = LONG) -> list[str]:
    return [run.turn("read", ARGS, result) for _ in range(turns)]


# --- responses


def test_observe_alone_tells_of_everything_and_does_nothing() -> None:
    run = Run(loop(respond="observe"))
    said(run, 3)

    nudged = run.model("", ToolUse(id="u", name="read", args=ARGS))
    blocked = run.tool("read", ARGS, LONG, id="u")

    assert (Verdict.NUDGE, True, None) == (nudged.decision.verdict, nudged.decision.observed, nudged.note)
    assert (Verdict.DENY, True, False) == (
        blocked.decision.verdict,
        blocked.decision.observed,
        blocked.decision.refuses,
    )


def test_what_was_repeated_is_cut_out_of_the_prompt_twice_at_most() -> None:
    run = Run(loop(respond=["compact", "stop"]))
    cuts = 0
    verdicts: list[str] = []
    for n in range(40):
        admission = run.model("", ToolUse(id=f"u{n}", name="read", args=ARGS))
        cuts += admission.cut
        verdicts.append(str(admission.decision.verdict))
        if admission.decision.refuses:
            break
        run.state = replace(run.state, loop=replace(run.state.loop, cut=False))
        run.tool("read", ARGS, LONG, id=f"u{n}")

    assert 2 == cuts
    assert STOP == verdicts[-1]


def test_a_cut_gives_the_run_another_chance() -> None:
    run = Run(loop(respond=["compact", "stop"]))
    said(run, 4)

    assert run.state.loop.cut
    assert 0 < run.state.loop.suspicion.level <= 150
    assert () == run.state.loop.runs


def test_kill_ends_the_run_for_every_process() -> None:
    run = Run(loop(respond=["nudge", "block", "kill"]))
    verdicts = said(run, 8)
    reason = run.model().decision

    assert STOP == verdicts[-1]
    assert reason.kills
    assert reason.reason is not None
    assert ("loop.kill", "loops.stop_at") == (reason.reason.code, reason.reason.rule)


def test_stop_kills_nobody() -> None:
    run = Run(loop())
    said(run, 7)

    assert not run.model().decision.kills


def test_the_reason_says_what_the_repetition_has_cost() -> None:
    run = Run(loop())
    for n in range(3):
        run.model("", ToolUse(id=f"u{n}", name="read", args=ARGS), tokens=1_000)
        run.tool("read", ARGS, LONG, id=f"u{n}")

    reason = run.model("", ToolUse(id="u9", name="read", args=ARGS)).decision.reason

    assert reason is not None
    assert 2_000 == reason.evidence["tokens"]  # of three calls: the first was no repetition
    assert "2,000 tokens since it began" in reason.text


def test_agents_that_hand_a_task_around_are_named_in_order() -> None:
    run = Run(loop())
    agents, admission = ("writer", "reviewer", "planner"), Admission()
    for n in range(12):
        source, target = agents[n % 3], agents[(n + 1) % 3]
        call = ToolCall(
            step=run.step(node=source),
            name=f"transfer_to_{target}",
            args={"task": "See to the quarterly report"},
            id=f"h{n}",
        )
        admission = run.control.admit_tool(run.state, call, 0)
        if admission.decision.refuses:
            break
        run.state = run.control.observe_tool(run.state, call, ToolResult(text="Transferred."), 0)

    assert Verdict.DENY is admission.decision.verdict
    assert admission.decision.reason is not None
    assert "writer -> reviewer -> planner -> writer" in str(admission.decision.reason.evidence["cycle"])
    assert 3 == admission.decision.reason.evidence["period"]


# --- progress


def test_a_value_that_rises_ends_suspicion() -> None:
    run = Run(loop(progress="state.done"))
    for done in range(20):
        run.state = run.control.progressed(run.state, done)
        assert ALLOW == run.turn("read", ARGS, LONG)


def test_what_is_no_number_stands_in_no_ones_way() -> None:
    run = Run(loop(progress="state.share"))
    run.state = run.control.progressed(run.state, float("nan"))
    for done in range(20):
        run.state = run.control.progressed(run.state, done / 20)
        assert ALLOW == run.turn("read", ARGS, LONG)


def test_a_value_that_stays_says_nothing() -> None:
    run = Run(loop(progress="state.done"))
    verdicts: list[str] = []
    for _ in range(5):
        run.state = run.control.progressed(run.state, 3)
        verdicts.append(run.turn("read", ARGS, LONG))

    assert DENY in verdicts


@pytest.mark.parametrize("values", [(3, 2), ("draft", "review")])
def test_a_value_that_comes_back_while_nothing_is_learned_is_a_repetition(values: tuple[int | str, int | str]) -> None:
    run = Run(loop(progress="state.stage"))
    levels: list[int] = []
    for n in range(6):
        run.state = run.control.progressed(run.state, values[n % 2])
        levels.append(run.state.loop.suspicion.level)

    assert [0, 0, 100, 200, 300, 400] == levels


@given(values=st.lists(st.integers(0, 5) | st.sampled_from(["a", "b"]) | st.floats(allow_nan=False), max_size=30))
def test_no_value_makes_the_state_large_or_suspicion_negative(values: list[int | str | float]) -> None:
    run = Run(loop(progress="state.x"))
    for value in values:
        run.state = run.control.progressed(run.state, value)

    assert 0 <= run.state.loop.suspicion.level <= 800
    assert len(run.state.loop.suspicion.values) <= 16


# --- what is no repetition


def read(run: Run, path: str) -> None:
    run.turn("read_file", {"path": path}, f"{path}: {LONG} and what {path} says of it")


def test_after_a_compaction_everything_may_be_read_once_more() -> None:
    run = Run(loop())
    paths = [f"f{n}.py" for n in range(8)]
    for path in paths:
        read(run, path)
    run.state = replace(run.state, lanes={"lane": Lane(cuts=(Cut(first="m", text="", tokens=1, at_call=8),))})

    for path in paths:
        read(run, path)
    assert 0 == run.state.loop.suspicion.level

    for path in paths[:3]:
        read(run, path)
    assert 300 == run.state.loop.suspicion.level


def test_a_tool_that_changes_nothing_makes_looking_again_no_verification() -> None:
    levels: list[int] = []
    for read_only in (True, False):
        run = Run(loop())
        for n in range(3):
            run.turn("read_file", ARGS, LONG)
            args: dict[str, object] = {"n": n}
            call = ToolCall(step=run.step(), name="touch", args=args, id=f"t{n}", read_only=read_only)
            run.state = run.control.observe_tool(run.state, call, ToolResult(text="ok"), 0)
        levels.append(run.state.loop.suspicion.level)

    assert levels[0] > levels[1]


def test_calls_of_one_turn_count_once() -> None:
    run = Run(loop())
    for turn in range(3):
        uses = [ToolUse(id=f"u{turn}{n}", name="search", args={"q": f"q{turn} {n}"}) for n in range(10)]
        run.model("", *uses)
        for use in uses:
            run.tool("search", dict(use.args or {}), "No results found.", id=use.id)

    assert run.state.loop.suspicion.level <= 300


def test_branches_side_by_side_count_once() -> None:
    run = Run(loop(), state=RunState(open_steps=tuple(f"worker:{n}" for n in range(12))))
    verdicts = {
        str(run.tool("search", {"q": f"words {n}"}, "No results found.", ns=f"worker:{n}|tools:{n}").decision.verdict)
        for n in range(12)
    }

    assert {ALLOW} == verdicts
    assert run.state.loop.note is None


def test_three_reviewers_side_by_side_may_say_the_same() -> None:
    run = Run(loop(), state=RunState(open_steps=tuple(f"reviewer:{n}" for n in range(5))))
    prompt = list(run.history)
    for n in range(5):
        run.history = list(prompt)
        assert ALLOW == str(
            run.model("The change is fine as it stands, approved.", ns=f"reviewer:{n}").decision.verdict
        )


# --- proof


class Unspeakable:
    """An argument that cannot be shown."""

    def __repr__(self) -> str:
        raise LookupError


def odd(digits: int) -> object:
    """A number that Python does not write, or something that cannot be shown: made as they are needed, since Hypothesis shows others."""
    return 10**digits if digits else Unspeakable()


@given(
    values=st.lists(
        st.integers() | st.floats() | st.sampled_from([400, 5_000]).map(lambda digits: -(10**digits)), max_size=8
    )
)
def test_no_number_that_is_called_progress_raises(values: list[int | float]) -> None:
    run = Run(loop(progress="state.done"), stored=True)
    for value in values:
        run.keep(run.control.progressed(run.state, value))


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["bash", "read", "transfer_to_b", "task", "think", ""]),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.text(max_size=40)
                | st.binary(max_size=20)
                | st.sampled_from([5_000, 0]).map(odd),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
                max_leaves=6,
            ),
            st.text(max_size=200)
            | st.sampled_from(["x" * 200_000, "\ud800\udfff bad", "\0" * 50, "[" * 5_000, "Error: no"]),
        ),
        max_size=14,
    )
)
def test_nothing_that_a_step_may_hold_raises(steps: list[tuple[str, object, str]]) -> None:
    run = Run(loop(respond="nudge"), stored=True)
    for name, value, text in steps:
        if name:
            run.turn(name, {"x": value, "subagent_type": "b"}, text)
        else:
            run.model(text)


@given(split=st.lists(st.booleans(), min_size=20, max_size=20), period=st.integers(1, 5))
def test_verdicts_do_not_depend_on_how_a_run_is_split_across_processes(split: list[bool], period: int) -> None:
    """Each step may be taken by another process: one that has nothing but the stored state."""
    whole, parts = Run(loop()), Run(loop(), stored=True)
    for n, moved in enumerate(split):
        if moved:
            parts.control = loop()
        args: dict[str, object] = {"n": n % period}
        step = (f"tool{n % period}", args, f"{LONG} {n % period} of it")
        assert whole.turn(*step) == parts.turn(*step)
