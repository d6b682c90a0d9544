"""Each control acts in a recorded run where it would have acted live; what the record does not tell is said, not guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import messages_to_dict

from governor.errors import PolicyError
from governor.policy.load import load
from governor.replay import Replay, read, summary
from tests.replay.traces import LOOP_BEGINS, acts, judged, langchain, openai, policy, written


@pytest.fixture
def looped(tmp_path: Path) -> Path:
    """A run whose usage is recorded: 12 model calls of 1,020 tokens, the last eight tool calls alike."""
    return written(tmp_path, [{"id": "r", "messages": messages_to_dict(langchain())}])


# --- loops


def test_a_looped_run_is_found_at_the_steps_where_it_would_have_been_answered(looped: Path) -> None:
    found = judged(looped, loops={"nudge_at": 3, "block_at": 4, "stop_at": 7})

    assert [
        ("loop.nudge", "nudge", LOOP_BEGINS + 2 * 3),  # three alike are told of in the next request,
        ("loop.block", "deny", LOOP_BEGINS + 2 * 3),  # whose call is the fourth
        ("loop.stop", "stop", LOOP_BEGINS + 2 * 7),
    ] == acts(found)
    assert "status, period 1, x3" == found.acts[0].evidence["cycle"]
    assert "status" == found.acts[1].tool
    assert found.first_hard == found.acts[1]


def test_one_line_of_policy_exempts_a_tool_and_the_finding_is_gone(looped: Path) -> None:
    assert [] == acts(judged(looped, loops={"tools": [{"tool": "status", "as": "off"}]}))
    assert [] == acts(judged(looped, loops={"tools": [{"tool": "status", "as": "poll"}]}))
    assert [] != acts(judged(looped, loops={"tools": [{"tool": "search", "as": "off"}]}))


def test_what_came_after_the_first_hard_act_is_added_up(looped: Path) -> None:
    found = judged(looped)

    # 12 model calls in all; the act is on the tool call of the seventh, whose own tokens were spent by then
    assert (12 * 1_020, 5 * 1_020) == (found.tokens, found.after_tokens)
    assert (0, 12, 11) == (found.estimated, found.model_calls, found.tool_calls)
    assert found.nano_usd == 12 * (1_000 * 2_500 + 20 * 10_000)
    assert found.after_nano_usd == 5 * (1_000 * 2_500 + 20 * 10_000)


def test_a_rule_that_only_observes_is_marked_and_is_no_hard_act(looped: Path) -> None:
    found = judged(looped, loops={"mode": "observe"})

    assert [False] * 3 == [act.enforced for act in found.acts]
    assert found.first_hard is None
    assert (0, [], 3) == (found.after_tokens, summary([found])["acts"], summary([found])["only_recorded"])


def test_a_chant_is_found_in_a_recorded_answer(tmp_path: Path) -> None:
    rows = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "I will now look at it. " * 400}]

    assert [("loop.chant", "modify", 2)] == acts(judged(written(tmp_path, rows)))


# --- the other controls


def test_access_denies_and_asks_per_tool_call_by_the_policy_as_it_is_written(looped: Path) -> None:
    rules = [
        {"id": "ask-status", "tool": "status", "decide": "ask"},
        {"id": "no-two", "tool": "search", "when": {"args.q": {"equals": "order 2"}}, "decide": "deny"},
        {"id": "later", "tool": "search", "decide": "deny", "mode": "observe"},
    ]
    found = judged(looped, tools={"default": "allow", "rules": rules}, loops={"tools": [{"tool": "*", "as": "off"}]})

    assert [
        ("deny", "later", False, 3, 2),
        ("deny", "no-two", True, 5, 1),
        ("ask", "ask-status", True, LOOP_BEGINS, 8),
    ] == [(act.verdict, act.rule, act.enforced, act.step, act.times) for act in found.acts]


def test_each_budget_is_exhausted_at_the_step_whose_call_no_longer_fits(looped: Path) -> None:
    budgets: list[dict[str, Any]] = [
        {"id": "calls", "scope": "run", "limit": {"model_calls": 5}},
        {"id": "tools", "scope": "run", "limit": {"tool_calls": 6}},
        {"id": "soft", "scope": "run", "limit": {"model_calls": 3}, "hard": False},
        {"id": "money", "scope": "run", "limit": {"usd": 0.0271}},
        {"id": "wide", "scope": "run", "limit": {"tokens": "100k"}},
    ]
    found = judged(looped, budgets=budgets, loops={"tools": [{"tool": "*", "as": "off"}]})

    assert {"calls": (13, True), "tools": (15, True), "soft": (9, False), "money": (23, True)} == {
        act.rule: (act.step, act.enforced) for act in found.acts
    }
    assert {"budget.exhausted"} == {act.code for act in found.acts}


def test_steps_and_time_are_limits_where_time_is_recorded(tmp_path: Path) -> None:
    rows = [{**row, "timestamp": 1_767_225_600 + 10 * number} for number, row in enumerate(openai())]
    limits = {"steps": 10, "time": "1m", "fan_out": 2}
    exempt = {"tools": [{"tool": "*", "as": "off"}]}

    timed = judged(written(tmp_path, rows), limits=limits, loops=exempt)
    untimed = judged(written(tmp_path, openai(), "untimed.jsonl"), limits=limits, loops=exempt)

    assert [("limits.time", "stop", 9), ("limits.steps", "stop", 13)] == acts(timed)
    assert [("limits.steps", "stop", 13)] == acts(untimed)
    assert any("limits.time" in sentence for sentence in untimed.unjudged)
    assert not any("time" in sentence and "limits.time" in sentence for sentence in timed.unjudged)


def test_a_cut_is_told_with_what_it_would_have_left_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"role": "user", "content": "Read it all."}]
    for number in range(40):
        text = " ".join(f"fact {number}-{each} is told here" for each in range(120))
        call = {"id": f"c{number}", "function": {"name": "read", "arguments": json.dumps({"page": number})}}
        rows += [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": text},
        ]
    found = judged(written(tmp_path, rows), context={"compact": {"keep_tail": "2k"}, "max_input_tokens": "20k"})

    cuts = [act for act in found.acts if act.code == "context.cut"]
    assert cuts
    assert {"modify"} == {act.verdict for act in cuts}
    left_out = sum(int(a.evidence["tokens_before"]) - int(a.evidence["tokens_after"]) for a in cuts)  # type: ignore[arg-type]
    assert left_out == summary([found])["tokens_left_out_by_cuts"] > 5_000


def test_the_tier_that_would_have_answered_is_told(looped: Path) -> None:
    tiers = {"big": {"model": "openai:gpt-4o"}, "small": {"model": "openai:gpt-4o-mini"}}
    found = judged(looped, tiers=tiers, routing={"default": "small"}, loops={"tools": [{"tool": "*", "as": "off"}]})

    assert [("route", "modify", 12)] == [(act.control, act.verdict, act.times) for act in found.acts]


# --- what cannot be told


def test_without_usage_tokens_are_estimated_and_without_a_price_money_is_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, openai())
    (run,) = read(path).runs
    found = Replay(policy(budgets=[{"id": "t", "scope": "tenant", "limit": {"usd": 1}}])).judge(run)

    assert (12, None) == (found.estimated, found.nano_usd)
    assert found.tokens > 12 * 30
    said = " ".join(found.unjudged)
    assert "12 of 12 model calls record no usage" in said
    assert "no price is known for unknown:unknown" in said
    assert "budgets per tenant: not judged" in said
    assert "time: not recorded" in said


def test_a_named_scope_lets_its_budgets_be_judged(looped: Path) -> None:
    budget = {"id": "t", "scope": "tenant", "limit": {"model_calls": 4}}

    assert [] == [act for act in judged(looped, budgets=[budget]).acts if act.control == "budget"]
    found = judged(looped, {"tenant": "acme"}, budgets=[budget])
    assert [("t", 11)] == [(act.rule, act.step) for act in found.acts if act.control == "budget"]


def test_a_call_without_a_result_is_judged_by_access_alone(tmp_path: Path) -> None:
    call = {"id": "c", "function": {"name": "wipe", "arguments": "{}"}}
    found = judged(written(tmp_path, [{"role": "assistant", "tool_calls": [call]}]), tools={"default": "deny"})

    assert [("access", "deny", "wipe")] == [(act.control, act.verdict, act.tool) for act in found.acts]
    assert any("1 tool call" in sentence for sentence in found.unjudged)


def test_a_policy_that_no_graph_could_be_governed_by_is_refused_before_any_run() -> None:
    tiers = {"a": {"model": "nobody:knows"}}
    budgets = [{"id": "b", "scope": "run", "limit": {"usd": 1}}]

    with pytest.raises(PolicyError) as caught:
        Replay(load({"governor": 1, "name": "t", "tiers": tiers, "routing": {"default": "a"}, "budgets": budgets}))

    assert "b" == caught.value.rule


# --- rules


def test_runs_do_not_touch_each_other(looped: Path) -> None:
    (run,) = read(looped).runs
    replay = Replay(policy(budgets=[{"id": "calls", "scope": "thread", "limit": {"model_calls": 11}}]))

    assert replay.judge(run) == replay.judge(run)


def test_work_grows_with_the_length_of_a_run_and_not_with_its_square(tmp_path: Path) -> None:
    def looked_at(messages: int) -> int:
        """How many messages of the history the controls read, counted by the history itself."""
        import governor.replay.judging as judging

        class Counting(list[Any]):
            reads = 0

            def __getitem__(self, at: Any) -> Any:
                found = super().__getitem__(at)
                Counting.reads += len(found) if isinstance(at, slice) else 1
                return found

            def __iter__(self) -> Any:
                Counting.reads += len(self)
                return super().__iter__()

        rows: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
        for number in range(messages // 2):
            call = {"id": f"c{number}", "function": {"name": "read", "arguments": json.dumps({"page": number})}}
            rows += [{"role": "assistant", "tool_calls": [call]}]
            rows += [
                {
                    "role": "tool",
                    "tool_call_id": f"c{number}",
                    "content": f"page {number} has alpha{number} and beta{number}",
                }
            ]
        (run,) = read(written(tmp_path, rows)).runs
        replay = Replay(policy())
        one = judging._Run(run, replay._made(), replay._policy, None, {})
        one._messages = Counting()
        one.judged()
        return Counting.reads

    short, long = looked_at(500), looked_at(2_000)

    assert long <= 5 * short


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loops=st.integers(0, 12), limit=st.integers(1, 20))
def test_a_budget_of_calls_is_exhausted_exactly_when_a_run_makes_more(loops: int, limit: int, tmp_path: Path) -> None:
    found = judged(
        written(tmp_path, openai(loops)),
        budgets=[{"id": "b", "scope": "run", "limit": {"model_calls": limit}}],
        loops={"tools": [{"tool": "*", "as": "off"}]},
    )

    made = loops + 4
    expected = [("budget.exhausted", "stop", 3 + 2 * limit)] if made > limit else []
    assert expected == acts(found)
