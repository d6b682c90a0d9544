"""An approval is for exactly one call with exactly these arguments, given in time by a person."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.asking import approve
from governor.controls import Controls
from governor.controls.access import Access
from governor.decisions import Decision, Verdict
from governor.effects import Approve, Change, Decided, Now
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor.runs import RunState, dump_state, parse_state
from tests.controls.strategies_access import NOON, STATE, access, call, rule


def asked(expires: str | None = "15m") -> tuple[Access, Decision]:
    more = {"expires": expires} if expires else {}
    control = access(rule("big", "refund", "ask", tell="Refunds need a person.", **more))
    return control, control.decide(STATE, call("refund", usd=500), NOON)


def test_an_approval_allows_and_a_rejection_or_a_late_answer_denies() -> None:
    control, decision = asked()
    on_time = control.approved(decision, approved=True, waited_ms=900_000)
    late = control.approved(decision, approved=True, waited_ms=900_001)
    rejected = control.approved(decision, approved=False, waited_ms=1)

    assert Verdict.ASK is decision.verdict
    assert [
        (Verdict.ALLOW, "access.approved"),
        (Verdict.DENY, "access.approval_expired"),
        (Verdict.DENY, "access.rejected"),
    ] == [(answer.verdict, answer.reason.code if answer.reason else "") for answer in (on_time, late, rejected)]
    assert late.reason is not None
    assert ("15m", "900s") == (late.reason.limit, late.reason.seen)
    assert "a person rejected it (rule big). Refunds need a person." in control.answer(call("refund"), rejected).text


def test_an_approval_without_an_expiry_waits_for_ever() -> None:
    control, decision = asked(expires=None)

    assert Verdict.ALLOW is control.approved(decision, approved=True, waited_ms=10**12).verdict


def test_of_two_rules_that_ask_the_shorter_expiry_holds() -> None:
    control = access(rule("a", "x", "ask", expires="1h"), rule("b", "x", "ask", expires="1m"), rule("c", "x", "ask"))
    decision = control.decide(STATE, call("x"), NOON)

    assert Verdict.DENY is control.approved(decision, approved=True, waited_ms=60_001).verdict


def test_an_approval_is_for_exactly_these_arguments() -> None:
    control, _ = asked()
    made = call("refund", usd=500, to={"iban": "DE1", "name": "A"})
    others = [
        call("refund", usd=500.01, to={"iban": "DE1", "name": "A"}),
        call("refund", usd="500", to={"iban": "DE1", "name": "A"}),
        call("refund", usd=500, to={"iban": "DE1", "name": "a"}),
        call("refund", usd=500, to={"iban": "DE1", "name": "A "}),
        call("refund", usd=500, to={"iban": "DE1", "name": "A"}, nonce=1),
        call("refunds", usd=500, to={"iban": "DE1", "name": "A"}),
    ]

    assert control.digest(made) == control.digest(call("refund", to={"name": "A", "iban": "DE1"}, usd=500))
    assert control.digest(made) not in {control.digest(other) for other in others}


@given(
    first=st.dictionaries(
        st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=3), max_size=3
    ),
    second=st.dictionaries(
        st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=3), max_size=3
    ),
)
def test_equal_digests_mean_equal_arguments(first: dict[str, object], second: dict[str, object]) -> None:
    control = access()
    made, other = replace(call("x"), args=first), replace(call("x"), args=second)
    kinds = [{name: (type(value), value) for name, value in args.items()} for args in (first, second)]

    assert (kinds[0] == kinds[1]) is (control.digest(made) == control.digest(other))


def test_a_resume_does_not_restart_the_clock_of_an_approval() -> None:
    control, _ = asked()
    state, first = control.remember(STATE, "digest", NOON)
    state, again = control.remember(parse_state(dump_state(state)), "digest", NOON + 5_000)

    assert (NOON, NOON) == (first, again)


def test_an_approval_is_used_up_and_the_wait_is_not_the_runs_time() -> None:
    control, _ = asked()
    state, _ = control.remember(RunState(started_ms=NOON - 1_000), "digest", NOON)
    state = control.forget(state, "digest", NOON + 60_000)

    assert {} == state.approvals
    assert NOON + 59_000 == state.started_ms
    assert NOON + 70_000 == control.remember(state, "digest", NOON + 70_000)[1]
    assert state == control.forget(state, "digest", NOON + 99_000)


def test_approvals_that_wait_side_by_side_are_one_wait() -> None:
    control, _ = asked()
    state, _ = control.remember(RunState(started_ms=NOON), "a", NOON)
    state, _ = control.remember(state, "b", NOON)
    state = control.forget(control.forget(state, "a", NOON + 60_000), "b", NOON + 60_000)

    assert NOON + 60_000 == state.started_ms


@pytest.mark.parametrize(("answer", "verdict_"), [(True, Verdict.ALLOW), (False, Verdict.DENY)])
def test_the_path_asks_once_and_uses_the_answer_up(answer: bool, verdict_: Verdict) -> None:
    parts = {"tools": {"rules": [rule("big", "refund", "ask", expires="15m")]}}
    policy = Policy.model_validate({"governor": 1, "name": "t", **parts})
    controls = Controls.of(policy, PriceBook(policy))
    made = call("refund", usd=500)
    state, flow = STATE, approve(made, controls.access.decide(STATE, made, NOON), controls, NOON)

    first = next(flow)
    assert isinstance(first, Change)
    state, asked_at = first.apply(state)
    assert [NOON] == list(state.approvals.values())
    assert isinstance(flow.send(asked_at), Decided)  # the question is in the trace before anybody answers it
    second = flow.send(None)
    assert isinstance(second, Approve)
    assert controls.access.digest(made) == second.digest
    assert isinstance(flow.send(answer), Now)
    third = flow.send(NOON + 1_000)
    assert isinstance(third, Change)
    state, _ = third.apply(state)
    with pytest.raises(StopIteration) as end:
        flow.send(None)

    assert {} == state.approvals
    assert verdict_ is end.value.value.verdict


def test_pending_approvals_are_bounded() -> None:
    control, state = access(), STATE
    for n in range(300):
        state, _ = control.remember(state, f"digest-{n}", NOON + n)

    assert 256 == len(state.approvals)
    assert "digest-299" in state.approvals
