"""Of all rules that match a call the strongest decides, and what nobody allows is denied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import RunRef, ToolCall
from governor.decisions import ALLOWED, Verdict
from governor.loop_state import LoopState
from governor.runs import RunState
from tests.controls.strategies_access import NOON, STATE, access, call, rule, verdict

# --- which rule decides


def test_what_no_rule_allows_is_denied() -> None:
    decision = access(rule("read", "get_*", "allow")).decide(STATE, call("send"), NOON)

    assert decision.refuses
    assert decision.reason is not None
    assert ("access.default_deny", "tools.default") == (decision.reason.code, decision.reason.rule)
    assert "No rule allows send for node agent." == decision.reason.text


def test_an_empty_policy_denies_and_default_allow_has_to_be_written() -> None:
    assert ("deny", "access.default_deny") == verdict(access(), call("get_x"))
    assert ALLOWED == access(default="allow").decide(STATE, call("get_x"), NOON)


def test_a_rule_that_allows_names_itself() -> None:
    decision = access(rule("read", "get_*", "allow")).decide(STATE, call("get_x"), NOON)

    assert Verdict.ALLOW is decision.verdict
    assert decision.reason is not None
    assert ("access.allow", "read", {"rules": "read"}) == (
        decision.reason.code,
        decision.reason.rule,
        decision.reason.evidence,
    )


def test_deny_is_stronger_than_ask_than_nudge_than_allow_and_all_are_recorded() -> None:
    rules = [
        rule("d", "x", "deny"),
        rule("k", "x", "ask"),
        rule("n", "x*", "nudge", tell="Use y."),
        rule("a", "*", "allow"),
    ]
    found: list[tuple[str, str]] = []
    for left_out in range(4):
        decision = access(*rules[left_out:]).decide(STATE, call("x"), NOON)
        assert decision.reason is not None
        found.append((decision.reason.code, str(decision.reason.evidence["rules"])))

    assert [
        ("access.deny", "a,d,k,n"),
        ("access.ask", "a,k,n"),
        ("access.nudge", "a,n"),
        ("access.allow", "a"),
    ] == found


@given(data=st.data(), size=st.integers(1, 8))
def test_the_order_of_rules_never_matters_and_deny_always_wins(data: st.DataObject, size: int) -> None:
    decides = [data.draw(st.sampled_from(["allow", "nudge", "ask", "deny"])) for _ in range(size)]
    rules = [
        rule(
            f"r{n}",
            data.draw(st.sampled_from(["x", "*", "x*", ["x", "y"]])),
            decide,
            **data.draw(st.sampled_from([{}, {"tell": "Do y."}, {"node": "agent"}, {"mode": "observe"}])),
            **(data.draw(st.sampled_from([{}, {"expires": "5m"}, {"expires": "1m"}])) if decide == "ask" else {}),
        )
        for n, decide in enumerate(decides)
    ]

    first = access(*rules).decide(STATE, call("x"), NOON)
    second = access(*data.draw(st.permutations(rules))).decide(STATE, call("x"), NOON)

    assert first == second
    if any(r["decide"] == "deny" and "mode" not in r for r in rules):
        assert (Verdict.DENY, False) == (first.verdict, first.observed)


def test_a_pattern_matches_whole_names_with_case() -> None:
    control = access(rule("shell", "bash", "allow"), rule("read", "get_*", "allow"))

    assert "deny" == verdict(control, call("bash_admin"))[0]
    assert "deny" == verdict(control, call("Bash"))[0]
    assert "deny" == verdict(control, call("target_get_x"))[0]
    assert "allow" == verdict(control, call("get_"))[0]


def test_a_rule_for_nodes_matches_the_nodes_name_or_its_path() -> None:
    control = access(rule("r", "x", "allow", node=["writer", "orders/*"]))

    assert "allow" == verdict(control, call("x", node="writer", path="deep/writer"))[0]
    assert "allow" == verdict(control, call("x", node="worker", path="orders/worker"))[0]
    assert "deny" == verdict(control, call("x", node="worker", path="refunds/worker"))[0]


# --- conditions


def test_arguments_decide() -> None:
    control = access(
        rule("small", "refund", "allow", when={"args.usd": {"at_most": 100}}),
        rule("big", "refund", "ask", when={"args.usd": {"above": 100}}, expires="15m"),
    )

    assert ("allow", "access.allow") == verdict(control, call("refund", usd=100))
    assert ("ask", "access.ask") == verdict(control, call("refund", usd=100.5))
    assert ("deny", "access.default_deny") == verdict(control, call("refund"))


def test_a_refusal_quotes_the_conditions_as_written() -> None:
    control = access(
        rule("big", "refund", "deny", when={"args.usd": {"above": 100}, "args.to": {"glob": ["*@x", "*@y"]}})
    )
    reason = control.decide(STATE, call("refund", usd=101, to="a@x"), NOON).reason

    assert reason is not None
    assert "args.usd above 100, args.to glob *@x|*@y" == reason.limit


def test_a_condition_that_cannot_be_evaluated_denies_whatever_the_rule_says() -> None:
    control = access(rule("small", "refund", "allow", when={"args.usd": {"at_most": 100}}), rule("all", "*", "allow"))
    decision = control.decide(STATE, call("refund", usd="a lot"), NOON)

    assert decision.refuses
    assert decision.reason is not None
    assert ("access.error", "small") == (decision.reason.code, decision.reason.rule)
    assert "MatchError" == decision.reason.evidence["problem"]


def test_a_surprise_inside_an_argument_denies_too() -> None:
    class Surprise(dict[str, object]):
        def __contains__(self, key: object) -> bool:
            raise RuntimeError("surprise")

    control = access(rule("small", "refund", "allow", when={"args.order.usd": {"at_most": 100}}))

    assert ("deny", "access.error") == verdict(control, call("refund", order=Surprise()))


def test_the_runs_identity_decides_and_a_missing_one_denies() -> None:
    control = access(rule("acme", "x", "allow", when={"tenant": "acme"}), rule("all", "*", "allow"))
    nobody = replace(call("x"), step=replace(call("x").step, run=RunRef(id="r")))

    assert "allow" == verdict(control, call("x"))[0]
    assert ("deny", "access.identity_missing") == verdict(control, nobody)


def test_that_an_identity_is_absent_may_be_asked_for() -> None:
    control = access(rule("anonymous", "x", "allow", when={"org": {"exists": False}}))

    assert "allow" == verdict(control, call("x"))[0]


def test_the_model_cannot_name_the_tenant() -> None:
    control = access(rule("other", "x", "allow", when={"tenant": "other"}))

    assert "deny" == verdict(control, call("x", tenant="other"))[0]


def test_a_scope_cannot_stand_in_for_arguments_or_tool() -> None:
    control = access(rule("r", "*", "deny", when={"tool": "x"}), rule("all", "*", "allow"))
    run = RunRef(id="r", scopes={"tool": "y", "args": "z"})

    assert "deny" == verdict(control, replace(call("x"), step=replace(call("x").step, run=run)))[0]


def test_a_sequence_rule_reads_what_has_run() -> None:
    control = access(
        rule("send", "send", "allow"), rule("seq", "send", "ask", when={"after": {"tool": "read_customer_*"}})
    )

    assert "allow" == verdict(control, call("send"))[0]
    assert "allow" == verdict(control, call("send"), RunState(tools_used=("read_file",)))[0]
    assert "ask" == verdict(control, call("send"), RunState(tools_used=("read_file", "read_customer_email")))[0]


def test_a_sequence_rule_can_forget() -> None:
    control = access(
        rule("send", "send", "allow"), rule("seq", "send", "deny", when={"after": {"tool": "r", "within": "1m"}})
    )

    def used(ago: int) -> RunState:
        return RunState(tools_used=("r",), loop=LoopState(used=(("r", NOON - ago),)))

    assert "deny" == verdict(control, call("send"), used(60_000))[0]
    assert "allow" == verdict(control, call("send"), used(60_001))[0]
    assert "deny" == verdict(control, call("send"), RunState(tools_used=("r",)))[0]


# --- special tools


def test_a_tool_the_model_made_up_is_denied_even_by_an_open_policy() -> None:
    control = access(rule("all", "*", "allow"), default="allow")

    assert ("deny", "access.unknown_tool") == verdict(control, call("delete_everything", known=False))


def test_recall_is_allowed_unless_a_rule_names_it_or_the_policy_switches_it_off() -> None:
    off: dict[str, Any] = {"context": {"tool_results": {"recall": False}}}

    assert ALLOWED == access(rule("no", "*", "deny")).decide(STATE, call("recall"), NOON)
    assert "deny" == verdict(access(rule("no", "recall", "deny")), call("recall"))[0]
    assert "deny" == verdict(access(**off), call("recall"))[0]


# --- modes


def test_a_policy_in_observe_mode_refuses_nothing_and_says_what_it_would() -> None:
    control = access(rule("no", "x", "deny"), rule("yes", "y", "allow"), mode="observe")
    denied, allowed, default, unknown = (
        control.decide(STATE, made, NOON) for made in (call("x"), call("y"), call("z"), call("q", known=False))
    )

    assert [("access.deny", True), ("access.default_deny", True), ("access.unknown_tool", True)] == [
        (decision.reason.code if decision.reason else "", decision.observed) for decision in (denied, default, unknown)
    ]
    assert Verdict.ALLOW is allowed.verdict
    assert not any(decision.refuses for decision in (denied, allowed, default, unknown))


def test_a_rule_on_trial_neither_denies_nor_allows() -> None:
    trial = rule("trial", "x", "deny", mode="observe")
    decision = access(trial, rule("yes", "x", "allow")).decide(STATE, call("x"), NOON)

    assert (Verdict.DENY, True) == (decision.verdict, decision.observed)
    assert decision.reason is not None
    assert {"rules": "trial,yes", "observed": "trial"} == decision.reason.evidence
    assert ("deny", "access.default_deny") == verdict(access(rule("yes", "x", "allow", mode="observe")), call("x"))


def test_an_enforced_rule_is_not_weakened_by_one_on_trial() -> None:
    control = access(rule("trial", "x", "deny", mode="observe"), rule("k", "x", "ask"))
    decision = control.decide(STATE, call("x"), NOON)

    assert (Verdict.ASK, False) == (decision.verdict, decision.observed)


def test_a_rule_can_be_enforced_in_a_policy_that_observes() -> None:
    control = access(rule("no", "x", "deny", mode="enforce"), mode="observe")

    assert control.decide(STATE, call("x"), NOON).refuses
    assert not control.decide(STATE, call("y"), NOON).refuses


# --- what the model is told


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            call("drop"),
            "`drop` was not run: it is not allowed here (rule no-writes). This database is read-only. "
            "Do not call it again like this; do something else, or say that you cannot do it.",
        ),
        (
            call("guess"),
            "`guess` was not run: there is a better way (rule hint). Look it up with search. "
            "Follow this advice instead of repeating the call.",
        ),
        (
            call("other"),
            "`other` was not run: nothing allows it here (tools.default). "
            "Do not call it again like this; do something else, or say that you cannot do it.",
        ),
        (
            call("made_up", known=False),
            "`made_up` was not run: there is no such tool. Use only the tools you were given, by their exact names.",
        ),
    ],
)
def test_the_model_is_told_what_happened_and_what_to_do(made: ToolCall, told: str) -> None:
    control = access(
        rule("no-writes", "drop", "deny", tell="This database is read-only."),
        rule("hint", "guess", "nudge", tell="Look it up with search."),
    )

    answer = control.answer(made, control.decide(STATE, made, NOON))

    assert told == answer.text
    assert (True, True) == (answer.failed, answer.synthetic)


def test_the_model_is_never_told_a_rules_conditions() -> None:
    control = access(rule("big", "refund", "deny", when={"args.usd": {"above": 4711}}))
    made = call("refund", usd=5_000)

    assert "4711" not in control.answer(made, control.decide(STATE, made, NOON)).text
