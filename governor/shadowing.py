"""The other tier's answer to a call: a sub-flow of its own after the call, reserved, settled and traced like any, and seen by nobody.

It changes nothing of the run: no state, no lane, no loop, no routing. Nothing of it is a tool call that is made. What keeps it from being
of use, no room in a budget, an operator's halt, a failure, leaves the run as it is without.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from governor.beside import Came, asked_beside, held_beside
from governor.controls.shadow import Answered
from governor.decisions import Decision
from governor.effects import NOW, Calibration, Summarise, ask
from governor.meter import Meter
from governor.noting import Noted
from governor.plans import Judgement
from governor.reserving import lease_key
from governor.values import replace

if TYPE_CHECKING:
    from governor.beside import Facts
    from governor.calls import ModelResponse
    from governor.controls import Controls
    from governor.effects import Flow
    from governor.ledger import Lease
    from governor.plans import Quote, Routed, Rung
    from governor.record import Finished
    from governor.runs import RunState

__all__ = ["Shade"]

_log = logging.getLogger("governor")


class Shade:
    """What a call's first attempt was asked and answered, if the call is one that another tier answers as well."""

    __slots__ = ("_first", "_other", "_quote")

    def __init__(self) -> None:
        """Nothing was answered yet."""
        self._quote: Quote | None = None
        self._first: Answered | None = None
        self._other: Routed | None = None

    @property
    def falls(self) -> bool:
        """Whether there is anything to do after the answer."""
        return self._other is not None

    def answered(
        self, state: RunState, quote: Quote, finished: Finished, routed: Routed, rung: Rung, controls: Controls
    ) -> None:
        """Take the first answer, and see whether the call is chosen: whatever the answer is worth."""
        if self._quote is None and controls.notes is not None and not finished.response.cached:
            self._quote = quote
            self._other = controls.shadow.chosen(state, quote.request.call, routed, rung)
            self._first = _known(routed.tier, quote, finished)

    def cast(self, state: RunState, quote: Quote, finished: Finished, routed: Routed, controls: Controls) -> Flow[None]:
        """After the last answer: have the other tier answer what the first attempt was asked, unless it just did, and note both.

        `state` is that of the call. Nothing that goes wrong here reaches the run, which has its answer.
        """
        if self._quote is None or self._first is None or self._other is None or controls.notes is None:
            return
        asked, first, other = self._quote, self._first, self._other
        call = asked.request.call
        try:
            now = yield from ask(NOW)
            if quote is not asked and routed.tier == other.tier:
                answer = _known(routed.tier, quote, finished)
            else:
                answer = yield from _asked(state, asked, other, controls, now)
            if answer is not None:
                features = controls.notes.features(state, call)
                yield from ask(Noted(partial(controls.shadow.paired, state, call, features, first, answer, now)))
        except Exception as error:  # noqa: BLE001 - the run has its answer; a store that is lost is told at its next call
            _log.warning("a shadow call of run %s ended with %s", call.step.run.id, type(error).__name__)


def _known(tier: str | None, quote: Quote, finished: Finished) -> Answered | None:
    if tier is None:
        return None
    usage = finished.usage
    cost = None if quote.rates is None else quote.rates.cost(usage) + usage.fees
    return Answered(tier=tier, response=finished.response, judged=finished.judged, cost=cost)


def _asked(state: RunState, asked: Quote, other: Routed, controls: Controls, now: int) -> Flow[Answered | None]:
    reserved = yield from _reserved(state, asked, other, controls, now)
    return None if reserved is None else (yield from _answered(state, reserved, other, controls, now))


def _reserved(
    state: RunState, asked: Quote, other: Routed, controls: Controls, now: int
) -> Flow[tuple[Quote, Lease] | None]:
    """What the call may cost, held under a key of its own; None where it may not be made. Nothing waits and nothing is refused."""
    call = asked.request.call
    ratio = yield from ask(Calibration(other.model))
    request = replace(
        asked.request,
        call=replace(call, lane=f"{call.lane}~shadow"),
        tier=other.tier,
        model=other.model,
        cache=type(asked.request.cache)(),  # nothing is written for it: the lane's own cache stays the only one
        max_output_tokens=other.max_output_tokens,
    )
    quote = controls.budget.quote(request, other, ratio, now)
    if isinstance(quote, Decision) or not controls.shadow.fits(quote):
        return None
    quote = controls.shares.added(quote, call.step, state, now)
    quote = controls.shadow.held(quote, now)
    key = f"{lease_key(call.step, state, 1)}.shadow"
    escrow = controls.shares.escrow(call.step, state)
    lease = yield from held_beside(key, quote, escrow, controls, now)
    return None if isinstance(lease, str) else (quote, lease)


def _answered(
    state: RunState, reserved: tuple[Quote, Lease], other: Routed, controls: Controls, now: int
) -> Flow[Answered | None]:
    """Ask. None where nothing came of it."""
    asking = Summarise(reserved[0].request, Meter(), appended=True, whole=True)
    came = yield from asked_beside(asking, reserved, other, controls, now, purpose="shadow", told=_told)
    if not isinstance(came, Came):
        return None
    signal = controls.route.judge(state, came.quote.request, came.response).signal
    cost = None if came.quote.rates is None else came.quote.rates.cost(came.usage) + came.usage.fees
    return Answered(tier=other.tier or "", response=came.response, judged=Judgement(signal=signal), cost=cost)


def _told(facts: Facts, response: ModelResponse | None, took_ms: int) -> Facts:
    del response, took_ms
    return facts
