"""Escrow: a lease whose call has not begun, and what other leases take from it and give back. Pure arithmetic that every store shares.

What is taken moves from one lease to the other within one atomic step: a ledger's reserved amount is the same before and after, so that
nobody else can come between, and nothing is counted twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.ledger import Hold
    from governor.stores.ledgers import Counted

__all__ = ["as_spent", "back", "drawn", "kept_for", "left_in", "less", "more"]


def left_in(holds: Sequence[Hold]) -> dict[str, int]:
    """What an escrow still has, by ledger. Of a rate nothing can be kept: what flowed through it has flowed."""
    left: dict[str, int] = {}
    for hold in holds:
        if not hold.per_ms:
            left[hold.ledger] = left.get(hold.ledger, 0) + hold.amount
    return left


def kept_for(holds: Sequence[Hold], counts: Sequence[Counted], left: Mapping[str, int]) -> list[Counted]:
    """What counts against each hold of a call, when what its escrow has left is there for it."""
    return [
        replace(now, reserved=now.reserved - left[hold.ledger]) if left.get(hold.ledger) and not hold.per_ms else now
        for hold, now in zip(holds, counts, strict=True)
    ]


def drawn(holds: Sequence[Hold], left: Mapping[str, int]) -> tuple[int, ...]:
    """What each hold of a call takes from its escrow: all that it needs, as far as there is as much."""
    rest, taken = dict(left), list[int]()
    for hold in holds:
        most = 0 if hold.per_ms else min(hold.amount, rest.get(hold.ledger, 0))
        rest[hold.ledger] = rest.get(hold.ledger, 0) - most
        taken.append(most)
    return tuple(taken)


def as_spent(counts: Sequence[Counted], taken: Sequence[int]) -> list[Counted]:
    """What a lease is told of the budgets that it took from an escrow for: what is spent. What others keep, too, is not used yet."""
    return [replace(now, reserved=0) if part else now for now, part in zip(counts, taken, strict=True)]


def less(escrow: Sequence[Hold], holds: Sequence[Hold], taken: Sequence[int]) -> tuple[Hold, ...]:
    """The escrow's holds without what was taken."""
    return _moved(escrow, holds, [-amount for amount in taken])


def more(escrow: Sequence[Hold], holds: Sequence[Hold], given: Sequence[int]) -> tuple[Hold, ...]:
    """The escrow's holds with what was given back; negative amounts are taken."""
    return _moved(escrow, holds, given)


def back(holds: Sequence[Hold], taken: Sequence[int], charged: Sequence[int], left: Mapping[str, int]) -> list[int]:
    """What each hold gives back to its escrow when it ends at `charged`.

    No more than it took. Negative for one that was charged more than it held: the escrow pays for it, as far as it has something left.
    """
    rest, found = dict(left), list[int]()
    for hold, part, charge in zip(holds, taken, charged, strict=True):
        change = min(part, hold.amount - charge)
        if change < 0:
            change = 0 if hold.per_ms else -min(-change, rest.get(hold.ledger, 0))
        rest[hold.ledger] = rest.get(hold.ledger, 0) + change
        found.append(change)
    return found


def _moved(escrow: Sequence[Hold], holds: Sequence[Hold], changes: Sequence[int]) -> tuple[Hold, ...]:
    """The escrow's holds after `changes`; where several are on one ledger, the first that has as much is changed first."""
    amounts = [hold.amount for hold in escrow]
    for hold, change in zip(holds, changes, strict=True):
        for at, each in enumerate(escrow):
            if change and each.ledger == hold.ledger and not each.per_ms:
                step = max(change, -amounts[at])
                amounts[at] += step
                change -= step  # noqa: PLW2901 - what is still to be moved
    return tuple([replace(hold, amount=amount) for hold, amount in zip(escrow, amounts, strict=True)])
