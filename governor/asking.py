"""Sub-flows of the path that decide whether a tool call may be made, and ask a person where the rules say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import ALLOWED, Verdict
from governor.effects import NOW, Approve, Change, Decided, Flow, ask

if TYPE_CHECKING:
    from governor.calls import ToolCall
    from governor.controls import Controls
    from governor.decisions import Decision
    from governor.runs import RunState

__all__ = ["access", "approve", "judge_tool"]


def judge_tool(call: ToolCall, controls: Controls) -> Flow[Decision]:
    """Access alone: for calls made side by side, which are judged, and asked about, before any of them runs."""
    now = yield from ask(NOW)
    state = yield from ask(Change(call.step.run, lambda before: (before, before)))
    if state.stopped is not None:
        return ALLOWED  # nobody is asked about a call that `tool_call` refuses in any case
    return (yield from access(state, call, controls, now))


def access(state: RunState, call: ToolCall, controls: Controls, now: int) -> Flow[Decision]:
    """Whether the call may be made, by the rules or by the person whom they ask."""
    decision = controls.access.decide(state, call, now)
    if decision.verdict is not Verdict.ASK or decision.observed:
        return decision
    return (yield from approve(call, decision, controls, now))


def approve(call: ToolCall, decision: Decision, controls: Controls, now: int) -> Flow[Decision]:
    """Ask a person about exactly these arguments; the answer becomes allow or deny, and is used up by this call."""
    digest = controls.access.digest(call)
    asked = yield from ask(Change(call.step.run, lambda before: controls.access.remember(before, digest, now)))
    if asked == now:  # once a question, not once for every resume that comes by
        yield from ask(Decided(call.step, decision))
    approved = yield from ask(Approve(call, decision, digest))
    answered = yield from ask(NOW)
    yield from ask(Change(call.step.run, lambda before: (controls.access.forget(before, digest, answered), None)))
    return controls.access.approved(decision, approved=approved, waited_ms=answered - asked)
