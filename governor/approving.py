"""Sub-flows of the path that decide about a tool call: by the rules, or by the person whom they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import ALLOWED, Verdict
from governor.effects import NOW, Approve, Change, Decided, Flow, ask
from governor.reserving import admit

if TYPE_CHECKING:
    from governor.calls import ToolCall, ToolResult
    from governor.controls import Controls
    from governor.decisions import Decision
    from governor.runs import RunState

__all__ = ["access", "approve", "by_a_person", "changed_tool", "judge_tool", "use_approval"]


def judge_tool(call: ToolCall, controls: Controls) -> Flow[Decision]:
    """Access alone: for calls made side by side, which are judged, and asked about, before any of them runs."""
    now = yield from ask(NOW)
    state = yield from ask(Change(call.step.run, lambda before: (before, before)))
    if state.stopped is not None:
        return ALLOWED  # nobody is asked about a call that `tool_call` refuses in any case
    return (yield from access(state, call, controls, now))


def changed_tool(call: ToolCall, controls: Controls) -> Flow[ToolResult | None]:
    """A call whose arguments the user's own hooks changed after it was judged: it is judged again. None when it may be made."""
    now = yield from ask(NOW)
    state = yield from ask(Change(call.step.run, lambda before: (before, before)))
    decision = yield from access(state, call, controls, now)
    if (yield from admit(call.step, decision, deny=False)):
        return controls.access.answer(call, decision)
    return (yield from use_approval(call, controls)) if by_a_person(decision) else None


def access(state: RunState, call: ToolCall, controls: Controls, now: int) -> Flow[Decision]:
    """Whether the call may be made, by the rules or by the person whom they ask."""
    rejected = controls.access.rejected_before(state, call)
    if rejected is not None:
        return rejected
    decision = controls.access.decide(state, call, now)
    if decision.verdict is not Verdict.ASK or decision.observed:
        return decision
    return (yield from approve(call, decision, controls, now))


def approve(call: ToolCall, decision: Decision, controls: Controls, now: int) -> Flow[Decision]:
    """Ask a person about exactly these arguments; the answer becomes allow or deny. A rejection holds for the rest of the run."""
    digest, rule = controls.access.digest(call), decision.reason.rule if decision.reason else "tools"
    asked = yield from ask(Change(call.step.run, lambda before: controls.access.remember(before, digest, now)))
    if asked == now:  # once a question, not once for every resume that comes by
        yield from ask(Decided(call.step, decision))
    said = yield from ask(Approve(call, decision, digest))
    answered = yield from ask(NOW)

    def take(before: RunState) -> tuple[RunState, bool]:
        return controls.access.answered(before, call, digest, answered, rule=rule, approved=said)

    approved = yield from ask(Change(call.step.run, take))
    return controls.access.approved(decision, approved=approved, waited_ms=answered - asked)


def by_a_person(decision: Decision) -> bool:
    """Whether a call may be made because a person approved it."""
    return decision.reason is not None and decision.reason.code == "access.approved"


def use_approval(call: ToolCall, controls: Controls) -> Flow[ToolResult | None]:
    """Use the approval up. Not None, but what the model is told, when it was used up before, in whatever process, or rejected meanwhile."""
    refused = yield from ask(Change(call.step.run, lambda before: controls.access.use(before, call)))
    if refused is None:
        return None
    yield from admit(call.step, refused, deny=False)
    return controls.access.answer(call, refused)
