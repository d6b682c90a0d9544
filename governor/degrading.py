"""Sub-flows of the path: a model call on the degrade ladder, until it has a reservation or is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.effects import Change, Decided, Flow, Release, ask
from governor.ledger import Lease, Shortfall
from governor.plans import Rung

if TYPE_CHECKING:
    from governor.calls import StepRef, ToolCall, ToolResult
    from governor.controls import Controls
    from governor.ledger import Refusal
    from governor.plans import Quote
    from governor.runs import RunState

__all__ = ["refuse_tool", "rung_after"]


def rung_after(
    step: StepRef, state: RunState, rung: Rung, answer: Lease | Refusal, quote: Quote, controls: Controls, now: int
) -> Flow[Rung | None]:
    """The rung at which a call has to be prepared anew, or None when it may go on with the answer it got.

    Only further down the ladder, never back, so that a call is prepared at most once for each rung. A rate that is full is no budget
    that is used up, nor is the share of one branch.
    """
    ladder = controls.ladder
    if ladder.empty:
        return None
    if isinstance(answer, Lease):
        further = ladder.moved(state, rung, answer, quote)
        if further is not None:
            yield from ask(Release(answer.id, now))
            yield from ask(Decided(step, ladder.entered(further, rung, answer)))
        return further
    if not isinstance(answer, Shortfall) or answer.hold.per_ms is not None or answer.hold.share:
        return None
    further = ladder.further(rung, answer)
    if further is not None:
        yield from ask(Decided(step, ladder.entered(further, rung, answer)))
    return further


def refuse_tool(call: ToolCall, state: RunState, controls: Controls, short: Shortfall | None) -> Flow[ToolResult]:
    """Answer a tool call that is not made any more, because the run is to end with an answer."""
    ladder = controls.ladder
    if short is not None:
        yield from ask(Change(call.step.run, lambda before: (ladder.end_soon(before, short), None)))
        state = ladder.end_soon(state, short)
    decision = ladder.denial(call, state)
    yield from ask(Decided(call.step, decision))
    return ladder.answer(decision)
