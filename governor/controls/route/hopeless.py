"""A task that no tier solves: the best tier fails as well, and more of its answers would only be paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import Decision, Reason, Verdict
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import ModelCall
    from governor.controls.route.rules import Base
    from governor.controls.route.tiers import Tiers
    from governor.plans import Routed
    from governor.policy.schema import Policy
    from governor.runs import RouteState, RunState

__all__ = ["HopelessCap"]


class HopelessCap:
    """Counts failures of the best tier in a row, and ends, asks or goes on without it. Pure."""

    def __init__(self, policy: Policy, tiers: Tiers) -> None:
        """Read `routing.hopeless`."""
        self._hopeless = policy.routing.hopeless
        self._tiers = tiers
        self._after = int(self._hopeless.after) if self._hopeless else 0

    def applied(self, state: RunState, call: ModelCall, routed: Routed, base: Base, wrong: Sequence[str]) -> Routed:
        """The tier that was chosen, if the run is not hopeless. `wrong`: signals since the last call that the policy escalates after."""
        hopeless, route = self._hopeless, state.route
        if hopeless is None or self._tiers.observed:
            return routed
        failures = route.failures + (1 if route.best and wrong else 0)
        if failures < self._after:
            return routed
        reason = Reason(
            code="route.hopeless",
            rule="routing.hopeless",
            text=f"The best tier failed {failures} times in a row: more of its answers are not worth their price.",
            limit=hopeless.after.written,
            seen=str(failures),
            remedy="Change the task or the tools, raise `routing.hopeless.after`, or resume the run to let it try again.",
            evidence={"then": hopeless.then, "failures": failures},
        )
        if hopeless.then != "lower":
            return replace(routed, decision=Decision(control="route", verdict=Verdict.STOP, reason=reason))
        return self._lower(call, routed, base, reason)

    def _lower(self, call: ModelCall, routed: Routed, base: Base, reason: Reason) -> Routed:
        """Without the best tier: the base, or the next cheaper one where the base is the best itself."""
        tier = routed.tier or self._tiers.of(routed.model)
        if base.locked or tier is None or not self._best(tier, call):
            return routed
        own = base.tier or self._tiers.of(call.model)
        if own is not None and not self._best(own, call):
            return self._tiers.routed(call, base.tier, reason)
        below = self._tiers.below(tier, call)
        return self._tiers.routed(call, below[0], reason) if below else routed

    def observed(
        self, route: RouteState, call: ModelCall, tier: str | None, wrong: Sequence[str], *, unusable: bool
    ) -> RouteState:
        """The count after an answer of `tier`. `wrong`: signals since the answer before; `unusable`: this one is itself wrong."""
        if self._hopeless is None:
            return route
        tier = tier or self._tiers.of(call.model)
        failures = route.failures
        if route.best:
            failures = failures + 1 if wrong else 0
        best = tier is not None and self._best(tier, call)
        if best and unusable:
            return replace(route, best=False, failures=failures + 1)
        return replace(route, best=best, failures=failures)

    def _best(self, tier: str, call: ModelCall) -> bool:
        return tier in self._tiers.names and self._tiers.above(tier, call) is None
