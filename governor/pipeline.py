"""The path of one call. Whoever has read this file has seen everything that a call goes through.

Pure: the flows below only yield effects; `drive` performs them for sync, async and streaming callers alike. The order is fixed here, not
configured: loops are looked for before anything is spent, the tier sets the window and the prices that compaction needs, ordering
freezes the prefix, and only the final request has a price to reserve.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from governor.agreeing import judge
from governor.approving import access, by_a_person, use_approval
from governor.asides import Aside
from governor.calls import ModelResponse, ToolResult
from governor.controls.budget.answering import as_answered
from governor.degrading import refuse_tool
from governor.effects import (
    NOW,
    Calibration,
    Change,
    Counted,
    Decided,
    Flow,
    HaltedMeanwhile,
    InvokeModel,
    InvokeTool,
    Keep,
    LeadDone,
    ask,
)
from governor.escrow import close_branch, close_run, open_branch
from governor.failing_over import Tried, another, passed_over, was_answered
from governor.ledger import Shortfall
from governor.meter import Meter
from governor.noting import Noted
from governor.plans import Rung
from governor.queueing import Door, in_turn, leave
from governor.rating import with_rating
from governor.record import (
    Finished,
    after_failed_tool,
    after_model,
    after_tool,
    begin_model,
    begin_tool,
    record_failed_model,
    record_failed_tool,
    record_model,
    record_tool,
)
from governor.reserving import (
    admit,
    refuse,
    refuse_again,
    release_or_settle,
    reserve_model,
    reserve_tool,
    settle,
    unless_answered,
)
from governor.shadowing import Shade
from governor.staggering import Ahead, begun, behind_the_first
from governor.summarising import with_summary
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, RunRef, StepRef, ToolCall
    from governor.controls import Controls
    from governor.decisions import Decision
    from governor.ledger import Lease
    from governor.plans import Admission, Quote, Routed, Viewed
    from governor.progress import Value
    from governor.runs import RunState

__all__ = ["broken", "model_call", "run_exit", "step_entry", "step_exit", "tool_call"]


def step_entry(step: StepRef, controls: Controls, progress: Value | None = None) -> Flow[None]:
    """A node is about to run: may it, and has its run steps, depth and time left? The step is counted once.

    `progress`: what the graph's state says of how far it has come, where the policy asks for it.

    Raises RunStopped when the node is denied or a limit is passed.
    """
    yield from admit(step, controls.nodes.decide(step))
    now = yield from ask(NOW)
    state, decision = yield from ask(Change(step.run, lambda state: _entering(state, step, now, controls, progress)))
    yield from admit(step, decision)
    if controls.shares.escrows:
        yield from open_branch(step, state, controls)


def step_exit(step: StepRef, controls: Controls) -> Flow[None]:
    """A node has ended for good (neither interrupted nor to be retried): its namespace may be forgotten."""
    yield from ask(Change(step.run, lambda state: (controls.limits.leave(state, step), None), past=True))
    if controls.shares.escrows:
        yield from close_branch(step)


def _entering(
    state: RunState, step: StepRef, now: int, controls: Controls, progress: Value | None
) -> tuple[RunState, tuple[RunState, Decision]]:
    state, decision = controls.limits.enter(state, step, now)
    if progress is not None:
        state = controls.loop.progressed(state, progress)
    return state, (state, decision)


def run_exit(run: RunRef, controls: Controls) -> Flow[None]:
    """A run has ended, or waits for a person: nothing that only its branches might use stays reserved."""
    if controls.shares.escrows:
        yield from close_run(run)


@dataclass(slots=True)
class Attempt:
    """What holds for a model call's next attempt; each attempt may move it."""

    state: RunState
    now: int
    chosen: Routed
    rung: Rung
    tried: Tried = field(default_factory=Tried)
    number: int = 0


def model_call(call: ModelCall, controls: Controls) -> Flow[ModelResponse]:
    """Loop, rate, route -> its turn -> compact -> order -> behind the first -> price and reserve -> invoke -> settle -> judge -> record.

    Judging may ask again, for a repair and then a better tier, each once; a provider that fails may be passed over for another tier. Raises
    RunStopped or CallDenied when the policy refuses, and whatever the provider raised, after settling it.
    """
    # what is asked of the provider is yielded here: GeneratorExit, a reader that leaves, would only close a flow inside of this one
    state, admission, now = yield from _begun(call, controls)
    yield from with_rating(call, state, controls, now)
    step, door, ahead = call.step, Door(), Ahead()
    under = Attempt(
        state=state, now=now, chosen=controls.route.choose(state, call, now), rung=controls.ladder.rung(state)
    )
    if under.chosen.decision.refuses:
        yield from refuse(step, under.chosen.decision)
    answered: ModelResponse | None = None
    shade = Shade()
    try:
        while True:
            made = yield from unless_answered(_reserved(call, admission, under, door, ahead, controls), answered)
            if isinstance(made, ModelResponse):
                return made
            (quote, lease), routed, viewed = made
            meter = Meter(chant=controls.loop.listener())
            try:
                response = yield from ask(_invoking(quote, lease, meter, under.now, door, ahead, controls))
            except BaseException as error:
                under.now = yield from broken((quote, lease), routed, viewed, meter, controls, under.now)
                yield from _unless_halted(step, error, controls)
                moved = yield from another(call, routed, meter, under.tried, under.state, controls, under.now)
                under.chosen = moved or under.chosen
                if moved is not None or meter.again:
                    continue  # what the client would have retried by itself is another attempt, held and paid for like the first
                if answered is not None and (meter.outage or meter.answered):
                    return answered  # a better answer that failed does not undo one that was given
                raise
            quote = as_answered(quote, response, controls.budget.prices)
            usage, ended = controls.budget.usage(quote, response, meter), (yield from ask(NOW))
            yield from begun(ahead, ended, answered=True)
            yield from settle(
                step, lease, controls.budget.amounts(quote, usage, ended - under.now), ended, free=response.cached
            )

            yield from was_answered(under.tried, response, ended)
            judged, broken_off = yield from judge(
                (quote, response), routed, under.state, controls, attempt=under.number, now=ended
            )
            finished = Finished(usage=usage, response=response, judged=judged)
            known = door.state = yield from _remembered(
                (quote, lease, under.rung), routed, viewed, finished, meter, controls, under.now
            )
            yield from _noted(state, quote, routed, finished, controls, under.now)
            if broken_off is not None:
                raise broken_off
            shade.answered(state, quote, finished, routed, under.rung, controls)
            if judged.again is None or known is None:
                yield from _shadowed(shade, state, quote, finished, routed, controls)
                return response
            under.state, under.chosen, under.now, answered = known, judged.again, ended, response
    finally:
        yield from begun(ahead, under.now, answered=False)
        yield from leave(door, controls)


def _invoking(
    quote: Quote, lease: Lease, meter: Meter, now: int, door: Door, ahead: Ahead, controls: Controls
) -> InvokeModel:
    """The effect that asks the provider; the first chunk of a stream lets those go on who wait for its prefix."""
    written = LeadDone(ahead.ticket, now, ahead.lives_ms) if ahead.ticket is not None else None
    ttl_ms, run = controls.budget.lease_ttl_ms, quote.request.call.step.run
    return InvokeModel(quote.request, meter, lease.id, ttl_ms, now, run, door.slot, written)


def _noted(
    state: RunState, quote: Quote, routed: Routed, finished: Finished, controls: Controls, now: int
) -> Flow[None]:
    """Keep what was decided and what came of it, where the policy keeps outcomes."""
    if controls.notes is not None:
        usage, judged, free = finished.usage, finished.judged, finished.response.cached
        yield from ask(Noted(partial(controls.notes.step, state, quote, routed, usage, judged, free=free, now=now)))


def _shadowed(
    shade: Shade, state: RunState, quote: Quote, finished: Finished, routed: Routed, controls: Controls
) -> Flow[None]:
    """Have another tier answer as well, if the call was drawn for that."""
    if shade.falls:
        yield from ask(Aside(partial(shade.cast, state, quote, finished, routed, controls), 0, after=True))


def _reserved(
    call: ModelCall, admission: Admission, under: Attempt, door: Door, ahead: Ahead, controls: Controls
) -> Flow[tuple[tuple[Quote, Lease], Routed, Viewed]]:
    """Wait for the call's turn, choose, view, order, price and reserve it; again on a lower rung or tier where there is no room."""
    step, full = call.step, None
    while True:
        under.number += 1
        under.rung, under.state, under.now = yield from in_turn(
            call, door, under.rung, under.state, under.now, controls
        )
        rung, state, now = under.rung, under.state, under.now
        lowered = controls.route.lowered(state, call, under.chosen, rung.lower) if rung.lower else under.chosen
        routed = yield from passed_over(call, full or lowered, under.tried, state, controls, now)
        yield from admit(step, routed.decision)
        ratio = yield from ask(Calibration(routed.model))
        viewed = controls.compact.view(state, call, routed, now, ratio=ratio, harder=rung.compact or admission.cut)
        viewed, state = yield from with_summary(call, viewed, routed, state, controls, attempt=under.number, now=now)
        under.state = state
        yield from admit(step, viewed.decision)
        for handle, text in viewed.elided:
            yield from ask(Keep(step.run, handle, text))
        note = "\n".join(filter(None, (admission.note, routed.note))) or None
        request = controls.order.arrange(state, call, routed, viewed, note=note, rung=rung)
        now = under.now = yield from behind_the_first(request, routed, viewed, ahead, controls, now)
        reserved = yield from reserve_model(
            request, routed, controls, now, ratio=ratio, state=state, attempt=under.number, rung=rung
        )
        if isinstance(reserved, tuple):
            return reserved, routed, viewed
        full = None
        if isinstance(reserved, Rung):
            under.rung = reserved
        else:
            full = reserved  # the tier's rate has no room, and a lower one may answer: judged, viewed and priced anew


def _begun(call: ModelCall, controls: Controls) -> Flow[tuple[RunState, Admission, int]]:
    """Count the call and see whether the run may go on: its state, what the loop control says, the time."""
    step, now = call.step, (yield from ask(NOW))
    state = yield from ask(Change(step.run, begin_model, later=True))
    yield from refuse_again(step, state)
    yield from admit(
        step, controls.nodes.decide(step)
    )  # branches and reducers run outside of every node that was entered
    for handle, text in call.elided:
        yield from ask(Keep(step.run, handle, text))

    admission = controls.loop.admit_model(state, call, now)
    yield from admit(step, admission.decision)
    ended = controls.ladder.finished(state, call)
    if ended is not None:
        yield from refuse(step, ended)
    return state, admission, now


def _remembered(
    reserved: tuple[Quote, Lease, Rung],
    routed: Routed,
    viewed: Viewed,
    finished: Finished,
    meter: Meter,
    controls: Controls,
    now: int,
) -> Flow[RunState | None]:
    """Record a finished call and what it makes of the run's state; None when the store is lost."""
    quote, step = reserved[0], reserved[0].request.call.step
    finished = yield from record_model(quote, routed, viewed, finished, controls, now)
    chanted = controls.loop.chanted(meter.chant, finished.response)
    if chanted is not None:
        yield from ask(Decided(step, chanted))
        finished = replace(finished, chanted=True)
    after = after_model(controls, reserved, routed, viewed, finished, now)
    return (yield from ask(Change(step.run, after, later=True, past=True)))


def _unless_halted(step: StepRef, error: BaseException, controls: Controls) -> Flow[None]:
    """Stop the run of a stream that was cut for an operator's halt. Raises RunStopped."""
    if isinstance(error, HaltedMeanwhile):
        yield from refuse(step, controls.budget.halt(error.halted))


def broken(
    reserved: tuple[Quote, Lease], routed: Routed, viewed: Viewed, meter: Meter, controls: Controls, now: int
) -> Flow[int]:
    """A model call failed or was broken off: charge it by evidence and record it. When that was, milliseconds since the epoch."""
    quote, lease = reserved
    ended = yield from ask(NOW)
    ratios = yield from ask(Counted(quote.request.model))
    charged = controls.budget.broken(quote, meter, ratios, ended - now)
    yield from release_or_settle(quote.request.call.step, lease, charged, ended)
    seen = controls.budget.broken_usage(quote, meter, ratios)
    yield from record_failed_model(quote, routed, viewed, seen, billed=charged is not None)
    return ended


def tool_call(call: ToolCall, controls: Controls, judged: Decision | None = None) -> Flow[ToolResult]:
    """Access -> loop -> reserve (fee, call count) -> invoke -> settle -> record. Long results are capped where they are shown.

    A denied call is answered by a synthetic result, so that every tool call of the model keeps its answer. `judged` is what access
    decided beforehand. Raises RunStopped when the run must end, and whatever the tool raised, after settling its fee.
    """
    step, now = call.step, (yield from ask(NOW))
    state = yield from ask(Change(step.run, begin_tool, later=True))
    yield from refuse_again(step, state)

    decision = judged or (yield from access(state, call, controls, now))
    if (yield from admit(step, decision, deny=False)):
        return controls.access.answer(call, decision)
    if controls.ladder.refuses(state, call):
        return (yield from refuse_tool(call, state, controls, None))
    admission = controls.loop.admit_tool(state, call, now)
    if (yield from admit(step, admission.decision, deny=False)):
        yield from ask(Change(step.run, lambda before: (controls.loop.observe_block(before, call, admission), None)))
        return controls.loop.answer(call, admission)
    once = by_a_person(decision)
    if once and (refusal := (yield from use_approval(call, controls))) is not None:
        return refusal

    reserved = yield from reserve_tool(call, controls, now, state=state)
    if isinstance(reserved, Shortfall):
        return (yield from refuse_tool(call, state, controls, reserved))
    quote, lease = reserved
    meter = Meter()
    try:
        result = yield from ask(InvokeTool(call, meter, once))
    except BaseException as error:
        ended = yield from ask(NOW)
        amounts = None if meter.rejected else controls.budget.tool_amounts(quote, ended - now)
        yield from release_or_settle(step, lease, amounts, ended)
        yield from record_failed_tool(call, quote, billed=amounts is not None)
        if meter.broke:
            failure = ToolResult(text=f"{type(error).__name__}: {error}", failed=True)
            yield from ask(Change(step.run, after_failed_tool(controls, call, failure, ended), later=True, past=True))
        if once and meter.rejected:
            yield from ask(Change(step.run, lambda before: (controls.access.unused(before, call), None), past=True))
        raise
    ended = yield from ask(NOW)
    yield from settle(step, lease, controls.budget.tool_amounts(quote, ended - now), ended)
    yield from record_tool(call, result, quote)
    yield from ask(Change(step.run, after_tool(controls, call, result, ended), later=True, past=True))
    return result
