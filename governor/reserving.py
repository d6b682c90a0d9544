"""Sub-flows of the path that refuse, reserve and settle."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

from governor.controls.budget.texts import breached
from governor.decisions import Decision, Reason, Verdict
from governor.degrading import rung_after
from governor.effects import NOW, Adjust, Change, Decided, Flow, Release, Reserve, Settle, Turn, ask
from governor.errors import CallDenied, Refused, RunStopped
from governor.ledger import Adjustment, AdjustmentKind, Charge, Halted, Lease, Shortfall, Unit
from governor.pacing import paced
from governor.plans import NO_RUNG
from governor.report import reason_of
from governor.runs import Stopped
from governor.values import maker, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import ModelRequest, ModelResponse, StepRef, ToolCall
    from governor.controls import Controls
    from governor.ledger import Hold, Refusal
    from governor.plans import Quote, Routed, Rung, ToolQuote
    from governor.runs import RunState

__all__ = [
    "admit",
    "behind",
    "lease_key",
    "refuse",
    "refuse_again",
    "release_or_settle",
    "reserve_model",
    "reserve_tool",
    "settle",
    "stopped_by",
    "unless_answered",
]

T = TypeVar("T")

_charge = maker(Charge)


_WHY = 500
"""Characters of a reason that are kept as an operator's why."""


def admit(step: StepRef, decision: Decision, *, deny: bool = True) -> Flow[bool]:
    """Record a decision and, if it refuses, raise. With `deny=False` a deny is only answered (True): the caller substitutes a result."""
    if decision.verdict is Verdict.ALLOW and decision.reason is None:
        return False
    if not decision.refuses:
        yield from ask(Decided(step, decision))
        return False
    if decision.verdict is Verdict.DENY and not deny:
        yield from ask(Decided(step, decision))
        return True
    return (yield from refuse(step, decision))


def refuse(step: StepRef, decision: Decision) -> Flow[NoReturn]:
    """Record the refusal and raise it. A stop is remembered in the run's state, so that swallowing the error gains nothing."""
    yield from ask(Decided(step, decision))
    reason = decision.reason or Reason(
        code="refused", rule=decision.control, text=f"{decision.control} refused this call"
    )
    if decision.verdict is not Verdict.STOP:
        raise CallDenied(reason, policy_hash=step.run.policy_hash)
    stopped = stopped_by(reason, step)
    yield from ask(Change(step.run, lambda state: (replace(state, stopped=state.stopped or stopped), None), past=True))
    if decision.kills:
        yield from ask(Adjust(step.run, killing(step, reason, (yield from ask(NOW)))))
    raise RunStopped(reason, policy_hash=step.run.policy_hash)


def killing(step: StepRef, reason: Reason, now: int) -> Adjustment:
    """The halt of a run that was killed: of its thread where it has one, so that no new run of the conversation goes on with it."""
    run = step.run
    return Adjustment(
        id=f"kill/{run.id}",
        kind=AdjustmentKind.HALT,
        subject=f"thread={run.thread}" if run.thread else f"run={run.id}",
        who="governor",
        why=reason.text[:_WHY],
        at_ms=now,
    )


def stopped_by(reason: Reason, step: StepRef | None = None) -> Stopped:
    """What the run's state keeps of why and where it was stopped."""
    return Stopped(
        code=reason.code,
        rule=reason.rule,
        text=reason.text,
        limit=reason.limit,
        seen=reason.seen,
        remedy=reason.remedy,
        where=step.path if step else "",
        ledger=str(reason.evidence.get("ledger", "")),
    )


def refuse_again(step: StepRef, state: RunState) -> Flow[None]:
    """Refuse every further call of a run that was stopped, with the reason it was stopped for."""
    if state.stopped is None:
        return
    reason = reason_of(state.stopped)
    yield from ask(Decided(step, Decision(control="run", verdict=Verdict.STOP, reason=reason)))
    raise RunStopped(reason, policy_hash=step.run.policy_hash)


def lease_key(step: StepRef, state: RunState, attempt: int | None = None) -> str:
    """What a call's lease is called: run, node, number of the model call (`attempt` is counted from 1) or of the tool call in the run."""
    call = f"t{state.tool_calls}" if attempt is None else f"m{state.model_calls}.{attempt}"
    return f"{step.run.id}/{step.path}/{call}"


def reserve_model(
    request: ModelRequest,
    routed: Routed,
    controls: Controls,
    now: int,
    *,
    ratio: int,
    state: RunState,
    attempt: int,
    rung: Rung = NO_RUNG,
) -> Flow[tuple[Quote, Lease] | Rung | Routed]:
    """Price the final request, put the clamp on it and take the money before it is spent. Raises RunStopped or CallDenied.

    `ratio`: real tokens per 1,000 estimated ones. `state`: the run's, with what a person added to its limits. Answers the rung of the
    ladder at which the call has to be prepared anew, when it does not fit as it is or its run has used more than it was prepared for;
    another tier, when the rate of this one has no room and the policy lets a lower one answer.
    """
    step = request.call.step
    key = lease_key(step, state, attempt)
    quote = controls.budget.quote(request, routed, ratio, now)
    if isinstance(quote, Decision):
        return (yield from refuse(step, quote))
    quote = controls.budget.with_grants(quote, state.grants)
    if controls.ladder.keeps and not rung.last:
        quote = controls.budget.keeping(quote, controls.ladder.final_output)
    quote, escrow = controls.shares.added(quote, step, state, now), controls.shares.escrow(step, state)
    lease: Lease | Refusal | None = yield from behind(quote, controls, now)
    if lease is None:
        lease = yield from _take(step, key, quote.holds, controls, now, escrow)
    further = yield from rung_after(step, state, rung, lease, quote, controls, now)
    if further is not None:
        return further
    if isinstance(lease, Shortfall):
        smaller = controls.budget.shrink(quote, lease)  # a shorter answer may still fit; once, never a search
        if smaller is not None:
            quote = smaller
            lease = yield from _take(step, key, quote.holds, controls, now, escrow)
    if isinstance(lease, Shortfall) and lease.hold.per_ms:
        lower = _lower(request, routed, lease, controls, state)
        if lower is not None:
            return lower
        holds = quote.holds
        lease, _ = yield from paced(
            step, lambda at: _take(step, key, holds, controls, at, escrow), lease, controls, state, now
        )
    return quote, (yield from _granted(step, lease, controls))


def unless_answered(reserving: Flow[T], answer: ModelResponse | None) -> Flow[T | ModelResponse]:
    """What `reserving` gets, or the answer there is already: a better one that cannot be paid for does not undo one that was."""
    try:
        return (yield from reserving)
    except Refused:
        if answer is None:
            raise
        return answer


def _lower(
    request: ModelRequest, routed: Routed, short: Shortfall, controls: Controls, state: RunState
) -> Routed | None:
    """The tier that answers instead of one whose rate has no room, where the policy asks for that and there is one."""
    if controls.budget.when_full(short).action != "lower_tier":
        return None
    return controls.route.lower(state, request.call, routed)


def behind(quote: Quote, controls: Controls, now: int) -> Flow[Shortfall | None]:
    """No room, when others of this process wait for a rate of this call already: nobody overtakes them."""
    for hold in quote.holds:
        if hold.per_ms:
            ahead = Shortfall(hold=hold, spent=0, reserved=hold.limit or 0)
            if controls.budget.when_full(ahead).wait is not None:
                turn = yield from ask(Turn(hold, now, 0, now))
                if turn > now:
                    return replace(ahead, retry_ms=turn - now)
    return None


def reserve_tool(
    call: ToolCall, controls: Controls, now: int, *, state: RunState
) -> Flow[tuple[ToolQuote, Lease] | Shortfall]:
    """Hold the fee and the count of a tool call. Raises RunStopped or CallDenied.

    Answers the shortfall when the ladder ends in a last call: the tool is then not called, and the run ends with an answer.
    """
    quote = controls.budget.quote_tool(call, now)
    if isinstance(quote, Decision):
        return (yield from refuse(call.step, quote))
    quote = controls.budget.with_grants(quote, state.grants)
    if controls.ladder.keeps:
        quote = controls.budget.keeping(quote, 0)
    quote = controls.shares.added(quote, call.step, state, now)
    escrow = controls.shares.escrow(call.step, state)
    lease = yield from _take(call.step, lease_key(call.step, state), quote.holds, controls, now, escrow)
    if controls.ladder.keeps and isinstance(lease, Shortfall) and not lease.hold.share:
        return lease
    return quote, (yield from _granted(call.step, lease, controls))


def settle(step: StepRef, lease: Lease, amounts: Sequence[int], now: int, *, free: bool = False) -> Flow[None]:
    """Charge what was used; `free` gives the lease back whole (an answer from LangChain's own cache)."""
    if not lease.holds:
        return
    if free:
        yield from ask(Release(lease.id, now))
    else:
        charge = _charge(lease=lease.id, amounts=tuple(amounts), now_ms=now, run=step.run.id, granted=lease)
        yield from ask(Settle(charge))
        for hold, amount in zip(lease.holds, amounts, strict=True):
            if amount > hold.amount and hold.limit is not None and _bounds(hold):
                yield from ask(Decided(step, breached(hold, amount)))


def _bounds(hold: Hold) -> bool:
    """Whether what is held is an upper bound, to be reported when it is passed.

    Not for time, of which nobody knows beforehand, nor for a rate, which has its own debt; and a share is reported with its budget.
    """
    return hold.per_ms is None and not hold.share and hold.unit is not Unit.MILLISECONDS


def release_or_settle(step: StepRef, lease: Lease, amounts: Sequence[int] | None, now: int) -> Flow[None]:
    """After a failure: None means that nothing was billed; amounts are what was observed, or the worst case."""
    yield from settle(step, lease, amounts or (), now, free=amounts is None)


def _granted(step: StepRef, answer: Lease | Refusal, controls: Controls) -> Flow[Lease]:
    """The lease, with what it passes reported. Raises RunStopped when there is none."""
    if isinstance(answer, Halted):
        return (yield from refuse(step, controls.budget.halt(answer)))
    if isinstance(answer, Shortfall):
        return (yield from refuse(step, controls.budget.refusal(answer)))
    for passed in answer.passed:
        yield from ask(Decided(step, controls.budget.alert(passed)))
    return answer


def _take(
    step: StepRef, key: str, holds: tuple[Hold, ...], controls: Controls, now: int, escrow: str
) -> Flow[Lease | Refusal]:
    return (yield from ask(Reserve(step.run, key, holds, controls.budget.lease_ttl_ms, now, step.path, escrow)))
