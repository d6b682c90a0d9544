"""Sub-flows of the path around providers that fail: pass a resting tier over, ask another one after a failure, remember who failed.

Every attempt has a reservation of its own, at the price of the tier that it is for; this module only says which tier is next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.breaking import PassOver, ProviderSaid
from governor.decisions import Decision, Reason, Verdict
from governor.effects import Decided, Flow, ask

if TYPE_CHECKING:
    from governor.breaking import Resting
    from governor.calls import ModelCall, ModelResponse
    from governor.controls import Controls
    from governor.meter import Meter
    from governor.plans import Routed
    from governor.runs import RunState

__all__ = ["Tried", "another", "passed_over", "was_answered"]


@dataclass(slots=True)
class Tried:
    """Which tiers one call has been sent to."""

    failed: tuple[str, ...] = ()
    """Tiers whose providers failed: none is asked twice for one call."""
    let_in: str | None = None
    """The tier that its next attempt may go to."""


def passed_over(
    call: ModelCall, routed: Routed, tried: Tried, state: RunState, controls: Controls, now: int
) -> Flow[Routed]:
    """The tier that was chosen, or the one that answers in its stead while it rests. Where nobody does, it is tried all the same."""
    tier, instead = controls.route.alternates(state, call, routed)
    if tier is None or tier == tried.let_in:
        return routed
    order = tuple(name for name in (tier, *instead) if name not in tried.failed)
    found = yield from ask(PassOver(order, now))
    tried.let_in = found or tier
    return routed if found in (None, tier) else controls.route.stand_in(call, routed, found, resting=True)


def another(
    call: ModelCall, routed: Routed, meter: Meter, tried: Tried, state: RunState, controls: Controls, now: int
) -> Flow[Routed | None]:
    """After a failed attempt: the tier to ask now, or None when the failure stands or the same tier is to be asked once more."""
    tier, instead = controls.route.alternates(state, call, routed)
    if tier is None:
        return None
    if not meter.outage:
        if meter.answered:
            yield from ask(ProviderSaid(tier, answered=True, now_ms=now))
        return None
    resting = yield from ask(ProviderSaid(tier, answered=False, now_ms=now, asked_ms=meter.asked_ms))
    if resting is not None:
        yield from ask(Decided(call.step, _rests(resting)))
    if not meter.unread or (meter.again and resting is None):
        return None  # what the client would have sent again by itself comes first
    order = tuple(name for name in instead if name not in (tier, *tried.failed))
    found = (yield from ask(PassOver(order, now))) if order else None
    if found is None:
        return None
    tried.failed, tried.let_in = (*tried.failed, tier), found
    return controls.route.stand_in(call, routed, found, resting=False)


def was_answered(tried: Tried, response: ModelResponse, now: int) -> Flow[None]:
    """Note that the provider of the tier that a call was let in to has answered it."""
    if tried.let_in is not None and not response.cached:
        yield from ask(ProviderSaid(tried.let_in, answered=True, now_ms=now))


def _rests(resting: Resting) -> Decision:
    seen = f"{resting.in_row} in a row, {resting.failed} of the latest {resting.of}"
    text = f"The provider of {resting.tier} fails ({seen}): it is left alone for {resting.for_ms / 1_000:g} s."
    reason = Reason(
        code="route.rested",
        rule="routing.rest",
        text=text,
        seen=seen,
        evidence={"tier": resting.tier, "for_ms": resting.for_ms},
    )
    return Decision(control="route", verdict=Verdict.MODIFY, reason=reason)
