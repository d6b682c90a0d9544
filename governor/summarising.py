"""The call for a summary of what a cut removes: a sub-flow of the path, with a reservation and a record of its own.

It is made at most once per cut and never for itself: its prompt is not compacted. Whatever keeps it from being of use, no room in a
budget or a poor answer, leaves the cut as it is without one. A usable summary is part of the run's state before it is paid for, so that
a run that is killed right after it is resumed with the same bytes and asks nobody again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.beside import asked_beside, held_beside, without_what_is_left_out
from governor.decisions import Decision
from governor.effects import Calibration, Change, Summarise, ask
from governor.meter import Meter
from governor.plans import Viewed
from governor.reserving import lease_key
from governor.runs import Lane
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRequest, ModelResponse
    from governor.controls import Controls
    from governor.effects import Flow
    from governor.ledger import Hold, Lease
    from governor.plans import Asking, Quote, Routed
    from governor.runs import RunState

__all__ = ["with_summary"]


def with_summary(
    call: ModelCall, viewed: Viewed, routed: Routed, state: RunState, controls: Controls, *, attempt: int, now: int
) -> Flow[tuple[Viewed, RunState]]:
    """The view with a summary in it, if one was to be had; and the state in which this cut is made, so that none is asked for twice.

    `routed`: who answers the call itself.
    """
    asking = viewed.asking
    if asking is None:
        return viewed, state
    without = controls.order.arrange(state, call, routed, viewed, note=None)
    ratio = yield from ask(Calibration(routed.model))
    spared = controls.budget.quote(without, routed, ratio, now)
    if isinstance(spared, Decision):
        reserved: tuple[Quote, Lease] | str = "the call itself cannot be priced"
    else:
        reserved = yield from _reserved(asking, spared, state, controls, attempt=attempt, now=now)
    if isinstance(reserved, str):
        made: Viewed | str = reserved
    else:
        made = yield from _answered(call, viewed, asking, reserved, controls, now)
    if isinstance(made, str):
        made = controls.compact.untold(viewed, made)
    return made, _cut_made(state, call, made)


def _reserved(
    asking: Asking, spared: Quote, state: RunState, controls: Controls, *, attempt: int, now: int
) -> Flow[tuple[Quote, Lease] | str]:
    """What the call may cost, held under a key of its own; the reason where it may not be made. Nothing waits and nothing is refused.

    It never takes what the call that it is for needs (`spared`).
    """
    step = asking.call.step
    ratio = yield from ask(Calibration(asking.routed.model))
    quote = controls.budget.quote(_request(asking, state, controls), asking.routed, ratio, now)
    if isinstance(quote, Decision):
        return quote.reason.text if quote.reason else "it was refused"
    request = quote.request
    if asking.window is not None and request.input_tokens + (request.max_output_tokens or 0) > asking.window:
        return f"what is removed does not fit the window of {request.model}"
    quote = controls.budget.with_grants(quote, state.grants)
    if controls.ladder.keeps:
        quote = controls.budget.keeping(quote, controls.ladder.final_output)
    quote, escrow = controls.shares.added(quote, step, state, now), controls.shares.escrow(step, state)
    quote = replace(quote, holds=_sparing(quote.holds, controls.shares.added(spared, step, state, now).holds))
    key = f"{lease_key(step, state, attempt)}.summary"
    lease = yield from held_beside(key, quote, escrow, controls, now)
    return lease if isinstance(lease, str) else (quote, lease)


def _sparing(holds: tuple[Hold, ...], others: tuple[Hold, ...]) -> tuple[Hold, ...]:
    """The holds, on limits of which the amounts of `others` are kept free. A rate has nothing to keep: it flows on."""
    needed = {(hold.ledger, hold.unit): hold.amount for hold in others}
    return tuple(
        hold
        if hold.limit is None or hold.per_ms
        else replace(hold, kept=hold.kept + needed.get((hold.ledger, hold.unit), 0))
        for hold in holds
    )


def _request(asking: Asking, state: RunState, controls: Controls) -> ModelRequest:
    """The request: as the call's own would be, so that the cached prefix is read, or with nothing marked to be cached."""
    shown = Viewed(view=asking.view, lane=state.lanes.get(asking.call.lane) or Lane())
    request = controls.order.arrange(state, asking.call, asking.routed, shown, note=asking.note)
    if not asking.appended:
        request = replace(request, cache=type(request.cache)())
    return replace(request, max_output_tokens=min(asking.output, request.max_output_tokens or asking.output))


def _answered(
    call: ModelCall, viewed: Viewed, asking: Asking, reserved: tuple[Quote, Lease], controls: Controls, now: int
) -> Flow[Viewed | str]:
    """Ask. The view with the summary, part of the run's state before it is paid for; or why there is none."""
    told: Viewed | str = ""

    def first(response: ModelResponse) -> Flow[None]:
        nonlocal told
        told = kept = controls.compact.told(call, viewed, asking, response)
        if isinstance(kept, Viewed):
            yield from ask(Change(call.step.run, lambda state: (_cut_made(state, call, kept), None), past=True))

    asked = Summarise(reserved[0].request, Meter(), asking.appended)
    came = yield from asked_beside(
        asked,
        reserved,
        asking.routed,
        controls,
        now,
        purpose="summary",
        told=without_what_is_left_out,
        call=asking.call,
        first=first,
    )
    return came if isinstance(came, str) else told


def _cut_made(state: RunState, call: ModelCall, viewed: Viewed) -> RunState:
    """The state with the cut in the call's lane."""
    lane = replace(state.lanes.get(call.lane) or Lane(), cuts=viewed.lane.cuts, rent=0)
    return replace(state, lanes={**state.lanes, call.lane: lane})
