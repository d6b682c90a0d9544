"""Fruitless repetition is named, then refused, then ended; what learns something new is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from governor.calls import ToolCall, ToolUse
from governor.decisions import Verdict
from governor.runs import RunState
from tests.controls.strategies_loop import LONG, Run, loop, message

ALLOW, NUDGE, DENY, STOP = "allow", "nudge", "deny", "stop"
ARGS: dict[str, object] = {"path": "a.py"}


def said(run: Run, turns: int, name: str = "read", args: dict[str, object] = ARGS, result: str = LONG) -> list[str]:
    """What the control says in each of so many identical turns."""
    return [run.turn(name, args, result) for _ in range(turns)]


# --- the ladder


def test_an_identical_call_is_nudged_after_three_refused_the_fourth_time_and_ended_after_seven() -> None:
    run = Run(loop())

    assert [ALLOW, ALLOW, ALLOW, DENY, DENY, DENY, DENY, STOP] == said(run, 8)


def test_the_nudge_names_the_cycle_and_shows_what_is_held() -> None:
    run = Run(loop())
    for _ in range(3):
        run.turn("create", {"n": 1}, "file exists already", failed=True)
        run.turn("remove", {"n": 1}, "removed")

    admission = run.model()

    assert admission.decision.reason is not None
    assert Verdict.NUDGE is admission.decision.verdict
    assert "loop.nudge" == admission.decision.reason.code
    assert "loops.nudge_at" == admission.decision.reason.rule
    assert ("3", "3") == (admission.decision.reason.limit, admission.decision.reason.seen)
    assert "create (error) -> remove, period 2, x3" == admission.decision.reason.evidence["cycle"]
    assert (2, 3) == (admission.decision.reason.evidence["period"], admission.decision.reason.evidence["reps"])
    assert admission.note is not None
    assert "create (error) -> remove, period 2, x3" in admission.note
    assert "removed" in admission.note


def test_a_nudge_is_given_once_and_not_again_for_five_calls() -> None:
    run = Run(loop(respond="nudge"))

    assert [ALLOW] * 3 + [NUDGE] + [ALLOW] * 4 + [NUDGE] + [ALLOW] * 4 + [NUDGE] == said(run, 14)


def test_a_blocked_call_is_answered_with_the_result_already_held() -> None:
    run = Run(loop())
    said(run, 3, result=LONG + "the last line")
    call = ToolCall(step=run.step(), name="read", args=ARGS, id="x")
    admission = run.control.admit_tool(run.state, call, 0)

    answer = run.control.answer(call, admission)

    assert admission.decision.reason is not None
    assert ("loop.block", "4", "4") == (
        admission.decision.reason.code,
        admission.decision.reason.limit,
        admission.decision.reason.seen,
    )
    assert (True, True) == (answer.synthetic, answer.failed)
    assert answer.text.startswith("read was not run.")
    assert LONG + "the last line" in answer.text


def test_blocks_that_are_ignored_lead_to_the_stop_also_in_a_long_cycle() -> None:
    run = Run(loop())
    verdicts = [run.turn(f"tool{n % 6}", ARGS, LONG + str(n % 6)) for n in range(14)]

    assert {ALLOW, NUDGE} == set(verdicts[:10])
    assert [DENY, DENY, DENY, STOP] == verdicts[10:]


def test_a_stop_says_how_many_blocks_were_ignored() -> None:
    run = Run(loop())
    said(run, 7)

    reason = run.model().decision.reason

    assert reason is not None
    assert ("loop.stop", "loops.stop_at", 4) == (reason.code, reason.rule, reason.evidence["blocked"])


def test_a_graph_without_model_calls_is_stopped_at_the_tool() -> None:
    run = Run(loop())

    assert [DENY] * 4 + [STOP] == [str(run.tool("read", ARGS, LONG).decision.verdict) for _ in range(8)][3:]


def test_something_new_takes_suspicion_back_and_what_blocks_had_added_with_it() -> None:
    run = Run(loop())
    said(run, 5)
    assert 400 == run.state.loop.suspicion.level

    run.turn("read", {"path": "b.py"}, "Not said before. Nor was this. " * 9)

    assert 50 == run.state.loop.suspicion.level
    assert [ALLOW, ALLOW] == said(run, 2)


def test_what_the_policy_writes_moves_the_thresholds_and_is_quoted() -> None:
    run = Run(loop(nudge_at="4", block_at="6", stop_at="8"))

    assert [ALLOW] * 4 + [NUDGE] + [DENY] * 3 + [STOP] == said(run, 9)
    reason = run.model().decision.reason
    assert reason is not None
    assert "8" == reason.limit


@pytest.mark.parametrize(
    ("respond", "expected"),
    [
        (["nudge"], [ALLOW, ALLOW, ALLOW, NUDGE, ALLOW, ALLOW, ALLOW, ALLOW, NUDGE]),
        (["block"], [ALLOW, ALLOW, ALLOW, DENY, DENY, DENY, DENY, DENY, DENY]),
        (["stop"], [ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, STOP, STOP]),
        (["nudge", "stop"], [ALLOW, ALLOW, ALLOW, NUDGE, ALLOW, ALLOW, ALLOW, STOP, STOP]),
        (["block", "stop"], [ALLOW, ALLOW, ALLOW, DENY, DENY, DENY, DENY, STOP, STOP]),
    ],
)
def test_only_the_listed_responses_are_used_each_at_its_own_threshold(respond: list[str], expected: list[str]) -> None:
    assert expected == said(Run(loop(respond=respond)), 9)


def test_escalation_is_a_routing_signal_given_once() -> None:
    run = Run(loop(respond=["nudge", "escalate"]))
    said(run, 3)
    assert () == run.state.route.signals

    said(run, 4)

    assert ("loop",) == run.state.route.signals


def test_routing_that_escalates_after_a_loop_gets_the_signal_too() -> None:
    from governor.controls.loop import Loop
    from tests.controls.strategies_loop import policy

    run = Run(Loop(policy(routing={"escalate": {"after": ["loop"]}})))
    said(run, 6)

    assert ("loop",) == run.state.route.signals


def test_observe_mode_says_what_it_would_have_done_and_changes_nothing() -> None:
    run = Run(loop(mode="observe", respond=["nudge", "block", "escalate", "stop"]))
    run.turn("read", ARGS, LONG)
    run.turn("read", ARGS, LONG)
    run.turn("read", ARGS, LONG)
    nudged = run.model("", ToolUse(id="u", name="read", args=ARGS))
    blocked = run.tool("read", ARGS, LONG, id="u")
    for _ in range(4):
        run.turn("read", ARGS, LONG)
    stopped = run.model()

    assert (Verdict.NUDGE, True, None) == (nudged.decision.verdict, nudged.decision.observed, nudged.note)
    assert (Verdict.DENY, True) == (blocked.decision.verdict, blocked.decision.observed)
    assert (Verdict.STOP, True) == (stopped.decision.verdict, stopped.decision.observed)
    assert 8 == run.state.loop.finished
    assert () == run.state.route.signals


# --- what counts as a repetition


def test_results_that_differ_are_not_a_loop_though_the_arguments_are_the_same() -> None:
    run = Run(loop())

    assert {ALLOW} == {run.turn("page_down", {}, f"{LONG} page {n} of 40") for n in range(40)}


def test_forty_acknowledged_calls_with_different_arguments_are_forty_pieces_of_work() -> None:
    run = Run(loop())

    assert {ALLOW} == {run.turn("send", {"to": f"p{n}@x.com"}, '{"status":"sent"}') for n in range(40)}


def test_one_long_result_for_ever_new_arguments_is_fruitless() -> None:
    run = Run(loop())
    verdicts = [run.turn("search", {"q": f"in other words {n}"}, LONG) for n in range(8)]

    assert [ALLOW] * 4 + [NUDGE, ALLOW, DENY] == verdicts[:7]


def test_after_such_a_block_other_words_get_their_chance() -> None:
    run = Run(loop())
    verdicts = [run.turn("search", {"q": f"words {n}"}, "No results found.") for n in range(7)]
    assert [*[ALLOW] * 4, NUDGE, ALLOW, DENY] == verdicts

    assert ALLOW == run.turn("search", {"q": "the right words"}, LONG)
    assert 0 == run.state.loop.blocked


def test_a_chance_that_finds_nothing_either_is_the_last_for_the_moment() -> None:
    run = Run(loop())
    verdicts = [run.turn("search", {"q": f"words {n}"}, "No results found.") for n in range(10)]

    assert [DENY, ALLOW, DENY, STOP] == verdicts[6:]


def test_errors_that_differ_only_by_what_they_quote_are_one_failure() -> None:
    run = Run(loop())
    verdicts = [run.turn("open", {"file": f"f{n}.py"}, f"no such file: f{n}.py", failed=True) for n in range(7)]

    assert DENY in verdicts


def test_a_transient_failure_has_one_try_more() -> None:
    run = Run(loop())

    assert [ALLOW, ALLOW, ALLOW, ALLOW, DENY] == said(run, 5, result="Error: 503 Service Unavailable")


def test_a_pending_status_may_be_asked_for_long_before_a_word_is_said() -> None:
    run = Run(loop())
    verdicts = said(run, 31, "status", {"id": 7}, '{"status": "running"}')

    assert {ALLOW} == set(verdicts[:26])
    assert NUDGE == verdicts[26]
    assert DENY == run.turn("status", {"id": 7}, '{"status": "running"}')


def test_identical_calls_of_one_turn_are_one_step() -> None:
    run = Run(loop())
    ids = [f"p{n}" for n in range(6)]
    run.model("", *(ToolUse(id=id_, name="read", args=ARGS) for id_ in ids))

    assert {"allow"} == {str(run.tool("read", ARGS, LONG, id=id_).decision.verdict) for id_ in ids}
    assert 1 == len(run.state.loop.calls)


def test_branches_side_by_side_may_do_the_same() -> None:
    run = Run(loop(), state=RunState(open_steps=tuple(f"worker:{n}" for n in range(6))))
    verdicts = {str(run.tool("list_files", {}, LONG, ns=f"worker:{n}|tools:{n}").decision.verdict) for n in range(6)}

    assert {"allow"} == verdicts


def test_a_worker_started_again_and_again_is_not_side_by_side_with_itself() -> None:
    run = Run(loop())
    verdicts = [str(run.tool("list_files", {}, LONG, ns=f"worker:{n}|tools:{n}").decision.verdict) for n in range(4)]

    assert ["allow", "allow", "allow", "deny"] == verdicts


def test_handing_a_task_back_and_forth_is_a_cycle_whatever_its_words() -> None:
    run = Run(loop())
    verdicts: list[str] = []
    for n in range(6):
        verdicts.append(run.turn("transfer_to_researcher", {"task": f"find it, take {n}"}, "Transferred."))
        verdicts.append(run.turn("transfer_back_to_planner", {"task": f"could not, {n}"}, "Transferred back."))

    assert DENY in verdicts


def test_handing_on_after_new_answers_is_work() -> None:
    run = Run(loop())
    verdicts: set[str] = set()
    for chapter in range(12):
        verdicts.add(run.turn("transfer_to_writer", {}, "Transferred."))
        run.model(f"Chapter {chapter}: something that has not been said before.")

    assert {ALLOW} == verdicts


# --- answers in words


def test_the_same_answer_again_and_again_is_nudged_and_then_ended_never_blocked() -> None:
    run = Run(loop())
    verdicts = [str(run.model("I will now analyse the data.").decision.verdict) for _ in range(8)]

    assert [ALLOW] * 3 + [NUDGE] + [ALLOW] * 3 + [STOP] == verdicts


def test_the_same_answer_to_another_question_is_another_answer() -> None:
    run = Run(loop())
    verdicts: set[str] = set()
    for n in range(12):
        run.history = [message("user", f"Is review {n} positive?")]
        verdicts.add(str(run.model("positive").decision.verdict))

    assert {ALLOW} == verdicts


def test_samples_of_one_prompt_in_one_step_are_one_answer() -> None:
    run = Run(loop())
    prompt = list(run.history)
    verdicts: set[str] = set()
    for _ in range(12):
        run.history = list(prompt)
        verdicts.add(str(run.model("42", ns="sample:1").decision.verdict))

    assert {ALLOW} == verdicts


def test_a_new_word_from_the_person_gives_the_same_call_another_chance() -> None:
    run = Run(loop())
    said(run, 7)
    run.history.append(message("user", "Look again please, I have changed the file."))

    assert [ALLOW, DENY] == said(run, 2)


def test_a_supervisors_new_words_to_a_subagent_do_not() -> None:
    run = Run(loop())
    said(run, 7)
    run.history.append(message("user", "Find it, in other words."))

    assert Verdict.STOP is run.model(depth=1).decision.verdict


# --- exempt tools


def test_recall_is_never_judged() -> None:
    assert {ALLOW} == set(said(Run(loop()), 20, "recall"))


@pytest.mark.parametrize(
    ("as_", "first_denied"),
    [("strict", 3), ("batch", 8), ("paging", 4), ("off", None), ("poll", None)],
)
def test_a_tools_exemption_moves_its_thresholds(as_: str, first_denied: int | None) -> None:
    verdicts = said(Run(loop(tools=[{"tool": "read*", "as": as_}])), 12, "read_page")

    assert first_denied == next((turn for turn, verdict in enumerate(verdicts, 1) if verdict == DENY), None)


def test_an_exemption_is_for_the_whole_name() -> None:
    assert DENY in said(Run(loop(tools=[{"tool": "read", "as": "off"}])), 4, "read_page")


def test_pages_that_differ_in_ids_alone_are_pages() -> None:
    def pages(**loops: Any) -> set[str]:
        run = Run(loop(**loops))
        return {run.turn("next", {}, f"{LONG} {n:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa") for n in range(10)}

    assert DENY in pages()
    assert {ALLOW} == pages(tools=[{"tool": "next", "as": "paging"}])


def test_a_poll_is_fine_for_as_long_as_the_policy_says() -> None:
    run = Run(loop(tools=[{"tool": "status", "as": "poll", "every": "5s", "for_at_most": "1m"}]))
    verdicts: list[str] = []
    for _ in range(20):
        verdicts.append(run.turn("status", {"id": 1}, LONG))
        run.now += 5_000

    assert [ALLOW] * 16 + [DENY] * 4 == verdicts


def test_a_poll_that_is_too_fast_is_told_the_interval() -> None:
    run = Run(loop(tools=[{"tool": "status", "as": "poll", "every": "5s"}]))
    run.turn("status", {"id": 1}, "running")
    run.now += 1_000
    run.turn("status", {"id": 1}, "running")

    note = run.model().note

    assert note is not None
    assert "wait 5s between two calls of status" in note


def test_the_policys_key_says_which_arguments_identify_a_call() -> None:
    run = Run(loop(tools=[{"tool": "read", "as": "strict", "key": "path"}]))
    verdicts = [run.turn("read", {"path": "a", "view": n}, "ok") for n in range(3)]

    assert DENY == verdicts[-1]
