"""The arithmetic of reservations that every store shares: what fits, and what an end of a lease moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.ledger import LeaseState, Shortfall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Hold

__all__ = ["KEEP_MS", "SWEEP", "first_shortfall", "movement", "passed", "wanted"]

SWEEP = 64
"""Expired leases that one reserve looks after, so that no single call pays for all of them. Nothing is admitted wrongly
meanwhile: a dispatched lease weighs the same before (reserved) and after (spent) it is forfeit."""
KEEP_MS = 24 * 3_600_000
"""How long a forfeit lease is remembered after its ttl, so that a late settlement still corrects its charge. One that was
settled or released is remembered until its ttl is over: repetitions come within it."""


def wanted(holds: Sequence[Hold]) -> dict[str, int]:
    """Sum of the holds by ledger."""
    sums: dict[str, int] = {}
    for hold in holds:
        sums[hold.ledger] = sums.get(hold.ledger, 0) + hold.amount
    return sums


def first_shortfall(holds: Sequence[Hold], balance: Callable[[str], tuple[int, int]]) -> Shortfall | None:
    """The first hold that does not fit its ledger, given (spent, reserved) by ledger. Raises ValueError for a negative hold."""
    taken: dict[str, int] = {}
    for hold in holds:
        if hold.amount < 0:
            message = f"a hold of {hold.amount} on {hold.ledger} would give instead of take"
            raise ValueError(message)
        spent, reserved = balance(hold.ledger)
        before = taken.get(hold.ledger, 0)
        reserved += before
        if hold.limit is not None and spent + reserved + hold.amount > hold.limit:
            return Shortfall(hold=hold, spent=spent, reserved=reserved)
        taken[hold.ledger] = before + hold.amount
    return None


def passed(holds: Sequence[Hold], balance: Callable[[str], tuple[int, int]]) -> tuple[Shortfall, ...]:
    """The soft limits that these holds take their ledgers past, each reported once: by the reservation that does it."""
    found: list[Shortfall] = []
    for hold in holds:
        if hold.alert is not None:
            spent, reserved = balance(hold.ledger)
            if spent + reserved <= hold.alert < spent + reserved + hold.amount:
                found.append(Shortfall(hold=hold, spent=spent, reserved=reserved))
    return tuple(found)


def movement(state: LeaseState, held: int, charged: int) -> tuple[int, int]:
    """(change of spent, change of reserved) when a hold in `state` is settled at `charged`.

    A forfeit hold was charged at its worst case already, so that only the difference moves.
    """
    return (charged - held, 0) if state is LeaseState.FORFEIT else (charged, -held)
