"""The arithmetic of reservations that every store shares: what fits, and what an end of a lease moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.errors import LeaseConflict
from governor.ledger import LeaseState, Shortfall
from governor.stores.rates import EMPTY, Bucket, drained, retry_ms
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.ledger import Halted, Hold, ReserveRequest

__all__ = [
    "KEEP_MS",
    "MOST",
    "NOTHING",
    "SWEEP",
    "Counted",
    "charged",
    "checked",
    "first_shortfall",
    "forgiven",
    "granting",
    "halt_among",
    "movement",
    "same_call",
]

MOST = 9_000_000_000_000_000
"""Largest amount and limit: $9.0 M in nano-USD. Beyond 2**53 the numbers of a Redis script are no longer exact."""

SWEEP = 64
"""Expired leases that one reserve looks after, so that no single call pays for all of them. Nothing is admitted wrongly
meanwhile: a dispatched lease weighs the same before (reserved) and after (spent) it is forfeit."""
KEEP_MS = 24 * 3_600_000
"""How long a forfeit lease is remembered after its ttl, so that a late settlement still corrects its charge. One that was
settled or released is remembered until its ttl is over: repetitions come within it."""


@cheap
@dataclass(frozen=True, slots=True)
class Counted:
    """What counts against one hold: its ledger, with those of the earlier slices of its window."""

    spent: int = 0
    reserved: int = 0
    granted: int = 0
    bucket: Bucket = EMPTY
    """For a rate, and then alone."""


NOTHING = Counted()


def checked(hold: Hold) -> Hold:
    """The hold. Raises ValueError for an amount that would give instead of take, or that not every store can count exactly."""
    if not 0 <= hold.amount <= MOST:
        message = f"a hold of {hold.amount} on {hold.ledger}: amounts are 0 to {MOST}"
        raise ValueError(message)
    return hold


def charged(amounts: Sequence[int]) -> Sequence[int]:
    """The amounts of a charge. Raises ValueError for one that would give instead of take, or that not every store can count exactly."""
    for amount in amounts:
        if not 0 <= amount <= MOST:
            message = f"a charge of {amount}: amounts are 0 to {MOST}"
            raise ValueError(message)
    return amounts


def first_shortfall(holds: Sequence[Hold], counts: Sequence[Counted], now_ms: int) -> Shortfall | None:
    """The first hold that does not fit; `counts` has one entry for each. Raises ValueError as `checked` does."""
    taken: dict[str, int] = {}
    for hold, now in zip(holds, counts, strict=True):
        checked(hold)
        before = taken.get(hold.ledger, 0)
        if hold.per_ms:
            short = _too_fast(hold, now.bucket, before, now_ms)
            if short:
                return short
        elif hold.limit is not None and (
            now.spent + now.reserved + before + hold.amount > hold.limit + now.granted - hold.kept
        ):
            return Shortfall(hold=hold, spent=now.spent, reserved=now.reserved + before, granted=now.granted)
        taken[hold.ledger] = before + hold.amount
    return None


def _too_fast(hold: Hold, bucket: Bucket, before: int, now_ms: int) -> Shortfall | None:
    wait = retry_ms(bucket, hold, now_ms, before)
    if wait == 0:
        return None
    held = -(-drained(bucket, hold.limit or 0, now_ms) // (hold.per_ms or 1))
    return Shortfall(hold=hold, spent=0, reserved=held + before, retry_ms=wait)


def granting(holds: Sequence[Hold], counts: Sequence[Counted]) -> tuple[tuple[Shortfall, ...], int, str]:
    """What is said of a lease that is about to be granted.

    The soft limits it passes (each is reported once, by the reservation that does it), how far the tightest hard budget was used
    before it, in thousandths, and which that is.
    """
    alerts: list[Shortfall] = []
    used, tightest = 0, ""
    for hold, now in zip(holds, counts, strict=True):
        if hold.per_ms or hold.share:
            continue
        weight = now.spent + now.reserved
        if hold.alert is not None:
            if weight <= hold.alert + now.granted < weight + hold.amount:
                alerts.append(Shortfall(hold=hold, spent=now.spent, reserved=now.reserved, granted=now.granted))
        elif hold.limit is not None:
            permille = weight * 1_000 // max(1, hold.limit + now.granted)
            if permille > used or not tightest:
                used, tightest = permille, hold.budget
    return tuple(alerts), used, tightest


def movement(state: LeaseState, held: int, charged: int) -> tuple[int, int]:
    """(change of spent, change of reserved) when a hold in `state` is settled at `charged`.

    A forfeit hold was charged at its worst case already, so that only the difference moves.
    """
    return (charged - held, 0) if state is LeaseState.FORFEIT else (charged, -held)


def forgiven(holds: Sequence[Hold], ledger: str) -> tuple[Hold, ...]:
    """The holds of a forfeit lease when `ledger` is reset: nothing on it, so that a late settlement takes nothing off the new count."""
    return tuple([replace(hold, amount=0) if hold.ledger == ledger and not hold.per_ms else hold for hold in holds])


def halt_among(scopes: Sequence[str], halts: Mapping[str, Halted]) -> Halted | None:
    """The first of `scopes` that was halted."""
    return next((halts[scope] for scope in scopes if scope in halts), None)


def same_call(request: ReserveRequest, payload: str) -> None:
    """Raises LeaseConflict when a known id comes back with another payload: somebody's key is not unique."""
    if request.payload and payload and request.payload != payload:
        raise LeaseConflict(request.id)
