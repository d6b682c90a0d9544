"""Who answers for a tier whose provider fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import Reason
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall
    from governor.controls.route.locks import Locks
    from governor.controls.route.rules import Rules
    from governor.controls.route.tiers import Tiers
    from governor.plans import Routed
    from governor.policy.schema import Policy
    from governor.runs import RunState

__all__ = ["StandIns"]

_NOBODY: tuple[None, tuple[str, ...]] = (None, ())


class StandIns:
    """Alternates as the policy lists them. Pure: whose provider rests is not known here."""

    def __init__(self, policy: Policy, tiers: Tiers, rules: Rules, locks: Locks) -> None:
        """Read `tiers.*.fallback` and whether `routing.rest` is given."""
        self._listed = {name: tier.fallback for name, tier in policy.tiers.items()}
        self._rests = policy.routing.rest is not None
        self._any = self._rests or any(self._listed.values())
        self._tiers, self._rules, self._locks = tiers, rules, locks

    def alternates(self, state: RunState, call: ModelCall, routed: Routed) -> tuple[str | None, tuple[str, ...]]:
        """The tier that a call is for, and who may answer it instead, in order. No tier where nothing may move the call.

        The policy's list, of which those can answer that can read the call; without one, and only where the policy says `routing.rest`,
        the next better tier. Never a weaker tier that is not listed, nor one that cannot read what the provider keeps of the turn.
        """
        if not self._any or self._tiers.observed:
            return _NOBODY
        tier = routed.tier or self._tiers.of(routed.model)
        if tier is None or call.locked or self._rules.base(state, call).locked:
            return _NOBODY
        origin = routed.instead_of or tier
        listed = self._listed[origin]
        if not listed and not self._rests:
            return _NOBODY
        if not listed:
            above = self._tiers.above(origin, call)
            listed = (above,) if above is not None else ()
        pinned = self._locks.provider(state, call)
        fitting = (name for name in listed if self._tiers.fits(name, call))
        return tier, tuple(name for name in fitting if self._locks.may_read(pinned, name))

    def stand_in(self, call: ModelCall, routed: Routed, tier: str, *, resting: bool) -> Routed:
        """The call at another tier, with that one's model, price and limit. What it was asked for stays what it was asked for."""
        of = routed.tier or self._tiers.of(routed.model)
        origin = routed.instead_of or of
        why = "is left alone for a while" if resting else "failed"
        reason = Reason(
            code="route.resting" if resting else "route.failed_over",
            rule=f"tiers.{origin}.fallback" if origin and self._listed[origin] else "routing.rest",
            text=f"The provider of {of} {why}: {tier} answers.",
            seen=of,
        )
        made = self._tiers.routed(call, tier, reason, escalated=routed.escalated, base=routed.base)
        return replace(made, instead_of=origin, note=routed.note)
