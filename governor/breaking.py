"""Circuit breakers: a tier whose provider fails is left alone for a while, so that its callers neither wait for it nor add to its load.

Kept per process: what one worker sees of a provider the others see as well, and a breaker that needed the store would fail with it.
Whoever asks says what time it is.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.effects import Effect
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.policy.schema import Rest

__all__ = ["Breaker", "Breakers", "PassOver", "ProviderSaid", "Resting"]

LATEST = 20
"""Calls over which a share of failures is taken."""
LONGEST = 16
"""A tier rests at most this many times as long as the policy says, however often it fails when it is tried."""
LONGEST_ASKED_MS = 15 * 60_000
"""A provider that asks for a longer rest is tried again after this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What is known of one tier's provider. Closed while `rests_until` is None; open before it; half open from then on."""

    in_row: int = 0
    """Failures since the last call that was answered."""
    latest: tuple[bool, ...] = ()
    """The latest calls, oldest first; True for one that failed."""
    rests_until: int | None = None
    """Milliseconds since the epoch."""
    rested: int = 0
    """How often it was sent to rest since it last answered."""
    tried_at: int | None = None
    """When a call was let through to try it, which has not come back yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting:
    """A tier that was just sent to rest."""

    tier: str
    for_ms: int
    in_row: int
    failed: int
    """Of its latest calls."""
    of: int


class Breakers:
    """The breakers of one policy's tiers. Safe for threads."""

    def __init__(self, rest: Rest) -> None:
        """All closed."""
        self._after = int(rest.after)
        self._share = rest.share
        self._for_ms = int(rest.for_)
        self._known: dict[str, Breaker] = {}
        self._lock = threading.Lock()

    def first(self, tiers: Iterable[str], now_ms: int) -> str | None:
        """The first of these tiers that a call may go to; None when all of them rest.

        After a rest one call at a time tries the tier. One that never comes back (its budget had no room, its reader left) keeps others
        out no longer than a rest takes.
        """
        with self._lock:
            return next((tier for tier in tiers if self._let_in(tier, now_ms)), None)

    def resting(self, tier: str, now_ms: int) -> bool:
        """Whether calls pass this tier over. Changes nothing."""
        known = self._known.get(tier)
        return known is not None and known.rests_until is not None and not self._may_try(known, now_ms)

    def answered(self, tier: str) -> None:
        """A call was answered, be it with a refusal of the request: the provider is there."""
        with self._lock:
            known = self._known.get(tier)
            if known is not None:
                self._known[tier] = Breaker(
                    latest=(*known.latest, False)[-LATEST:] if known.rests_until is None else ()
                )
            elif self._share is not None:
                self._known[tier] = Breaker(latest=(False,))

    def failed(self, tier: str, now_ms: int, asked_ms: int | None = None) -> Resting | None:
        """A call failed by outage, overload or throttling. What that sends to rest, if it does so now.

        `asked_ms`: how long the provider asked to be left alone.
        """
        with self._lock:
            before = self._known.get(tier) or Breaker()
            known = replace(before, in_row=before.in_row + 1, latest=(*before.latest, True)[-LATEST:], tried_at=None)
            if before.rests_until is not None and now_ms < before.rests_until:
                until = max(before.rests_until, now_ms + min(asked_ms or 0, LONGEST_ASKED_MS))
                self._known[tier] = replace(
                    known, rests_until=until
                )  # sent before it rested, or with nowhere else to go
                return None
            if not self._over(known) and before.rests_until is None:
                self._known[tier] = known
                return None
            pause = self._for_ms * min(2**known.rested, LONGEST)
            pause = max(pause, min(asked_ms or 0, LONGEST_ASKED_MS))
            self._known[tier] = replace(known, rests_until=now_ms + pause, rested=known.rested + 1)
            return Resting(tier=tier, for_ms=pause, in_row=known.in_row, failed=sum(known.latest), of=len(known.latest))

    def _over(self, known: Breaker) -> bool:
        """Whether it fails often enough to be sent to rest."""
        if known.in_row >= self._after:
            return True
        return self._share is not None and len(known.latest) == LATEST and sum(known.latest) >= self._share * LATEST

    def _let_in(self, tier: str, now_ms: int) -> bool:
        known = self._known.get(tier)
        if known is None or known.rests_until is None:
            return True
        if not self._may_try(known, now_ms):
            return False
        self._known[tier] = replace(known, tried_at=now_ms)
        return True

    def _may_try(self, known: Breaker, now_ms: int) -> bool:
        if known.rests_until is None or now_ms < known.rests_until:
            return known.rests_until is None
        return known.tried_at is None or now_ms >= known.tried_at + self._for_ms


# --- how the path asks them -------------------------------------------------------------------------------------------


@cheap
@dataclass(frozen=True, slots=True)
class PassOver(Effect[str | None]):
    """The first of these tiers whose provider is not left alone at the moment; None when all are."""

    tiers: tuple[str, ...]
    now_ms: int


@cheap
@dataclass(frozen=True, slots=True)
class ProviderSaid(Effect[Resting | None]):
    """What came of a call to a tier. What that sends to rest, if it does."""

    tier: str
    answered: bool
    """False for an outage, overload or throttling."""
    now_ms: int
    asked_ms: int | None = None
    """How long the provider asked to be left alone."""
