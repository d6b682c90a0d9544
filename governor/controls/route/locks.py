"""What keeps a call where it is, whatever anybody expects to gain: a turn in the middle, state of the provider, a cache that is warm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from governor.models import cache_lifetime_ms, facts
from governor.routing.live import pending_results
from governor.values import cheap

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRef
    from governor.controls.route.tiers import Tiers
    from governor.policy.schema import Policy
    from governor.runs import Lane, RunState

__all__ = ["Held", "Locks"]

_LOOKED_BACK = 256
"""Messages of one turn that are looked at for state of the provider."""

Boundary = Literal["start", "turn", "idle", "block", ""]
"""Where a call may be lowered: the first of its lane, a user's turn, after the cache has expired, at the end of a block. Empty: nowhere."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Where a lane stands before a call."""

    tier: str | None
    """Who answered last; None where nobody did, or none of the policy's tiers."""
    pending: bool
    """Whether that was a request for tools whose results are the newest messages."""
    boundary: Boundary
    idle_ms: int
    """Since its last call; 0 where there was none."""

    @property
    def stays(self) -> bool:
        """Whether the tier is kept: it asked for the results that came, and no block of it has just ended."""
        return self.tier is not None and self.pending and self.boundary != "block"


class Locks:
    """Reads them off a run's state and a call. Pure."""

    def __init__(self, policy: Policy, tiers: Tiers) -> None:
        """Read how long a block is and how long caches live."""
        escalate = policy.routing.escalate
        self._block = None if escalate is None else int(escalate.for_)
        self._ttl: Literal["5m", "1h", "off"] = policy.context.cache.ttl
        self._tiers = tiers

    def held(self, state: RunState, call: ModelCall, now: int) -> Held:
        """Where the call's lane stands. `now`: milliseconds since the epoch; 0 where nobody knows."""
        lane = state.lanes.get(call.lane)
        tier = self.incumbent(lane)
        # Where routing only observes, the graph's own model answered: nothing is held of who would have.
        if lane is None or tier is None or self._tiers.observed:
            return Held(tier=None, pending=False, boundary="start", idle_ms=0)
        idle = max(0, now - lane.last_at_ms)
        boundary = self._boundary(lane, tier, call, idle)
        return Held(tier=tier, pending=pending_results(call), boundary=boundary, idle_ms=idle)

    def incumbent(self, lane: Lane | None) -> str | None:
        """The tier that answered last in a lane; None where nobody did, or none of the policy's tiers."""
        if lane is None or lane.model is None:
            return None
        if lane.tier is not None and str(self._tiers.models.get(lane.tier)) == lane.model:
            return lane.tier
        return self._tiers.of(lane.model)

    def _boundary(self, lane: Lane, tier: str, call: ModelCall, idle: int) -> Boundary:
        messages = call.history.messages
        answered = lane.calls - lane.since
        if self._block is not None and (lane.escalated or (answered and answered % self._block == 0)):
            return "block"
        if messages and messages[-1].role == "user":
            return "turn"
        return "idle" if idle > cache_lifetime_ms(facts(self._tiers.models[tier]), self._ttl) else ""

    def provider(self, state: RunState, call: ModelCall) -> ModelRef | None:
        """The model whose own state (signed reasoning) the turn in progress holds: nobody but its provider and family can read it."""
        lane = state.lanes.get(call.lane)
        tier = self.incumbent(lane)
        if tier is None:
            return None
        messages = call.history.messages
        for position in range(len(messages) - 1, max(-1, len(messages) - 1 - _LOOKED_BACK), -1):
            message = messages[position]
            if message.role == "user":
                return None  # what was reasoned before the user's turn need not be sent again
            if message.role == "assistant" and message.opaque:
                return self._tiers.models[tier]
        return None

    def may_read(self, pinned: ModelRef | None, tier: str) -> bool:
        """Whether a tier can be sent what the pinned model left in the turn."""
        if pinned is None:
            return True
        model = self._tiers.models[tier]
        return model.provider == pinned.provider and facts(model).family == facts(pinned).family
