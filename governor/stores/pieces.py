"""What a process holds of the store's ledgers, and what it granted from that. Values of `slices`, touched under its lock alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.ledger import Charge, LeaseState
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger import Hold, Lease, ReserveRequest

__all__ = ["Granted", "Slice", "direct", "needed"]


@dataclass(slots=True)
class Slice:
    """A lease of the store that this process grants from."""

    lease: Lease
    hold: Hold
    until_ms: int
    spent: int = 0
    held: int = 0
    open: bool = True
    """Whether calls may still be granted from it."""

    @property
    def room(self) -> int:
        """What can still be granted."""
        return self.hold.amount - self.spent - self.held

    def charge(self, now_ms: int) -> Charge:
        """What it is returned with."""
        return Charge(lease=self.lease.id, amounts=(self.spent,), now_ms=now_ms, granted=self.lease)


@dataclass(slots=True)
class Granted:
    """A call that this process granted."""

    request: ReserveRequest
    due_ms: int
    parts: list[tuple[int, Slice]]
    """Position of a hold, and the slice it was taken from."""
    direct: tuple[int, ...]
    """Positions of the holds that the store itself holds, under the call's own id."""
    own: Lease | None
    """What the store granted for these."""
    state: LeaseState = LeaseState.DISPATCHED


def _sliceable(hold: Hold) -> bool:
    """Whether its ledger is a plain counter with a limit, enforced or not."""
    return hold.per_ms is None and not hold.earlier and (hold.limit is not None or hold.alert is not None)


def direct(request: ReserveRequest) -> tuple[int, ...]:
    """Positions of the holds that the store itself has to hold."""
    whole = not request.dispatched or bool(
        request.escrow
    )  # an escrow is the store's own, and so is what is taken from it
    return tuple([at for at, hold in enumerate(request.holds) if whole or not _sliceable(hold)])


def needed(holds: Sequence[Hold], apart: tuple[int, ...]) -> list[Hold]:
    """One hold for each ledger that a slice can serve, outermost first."""
    sums: dict[str, Hold] = {}
    for at, hold in enumerate(holds):
        if at not in apart:
            known = sums.get(hold.ledger)
            sums[hold.ledger] = replace(hold, amount=hold.amount + known.amount) if known else hold
    return list(sums.values())
