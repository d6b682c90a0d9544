"""Escrow in the SQLite store: what `escrow` says, on rows, within a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.stores.escrow import back, left_in, more
from governor.stores.schema import read_escrow, read_holds, read_moves, write_holds

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from governor.ledger import Hold

__all__ = ["HOLD", "give_back", "kept_by", "rewrite"]

HOLD = "UPDATE ledgers SET reserved = reserved + ?, touched_ms = max(touched_ms, ?) WHERE key = ?"


def kept_by(db: sqlite3.Connection, escrow: str, now_ms: int) -> tuple[Hold, ...] | None:
    """What a lease that others take from holds; None when it is over, or its call has begun."""
    open_one = "SELECT holds FROM leases WHERE id = ? AND state = 'reserved' AND due_ms > ?"
    row = db.execute(open_one, (escrow, now_ms)).fetchone()
    return read_holds(row[0]) if row else None


def give_back(db: sqlite3.Connection, holds: str, escrow: str, charged: Sequence[int], now_ms: int) -> None:
    """Give to the lease that another one took from, if that is still open, what the other did not use."""
    name, taken = read_escrow(escrow)
    kept = kept_by(db, name, -1)
    if kept is not None:
        ended = read_holds(holds)
        given = back(ended, taken, charged, left_in(kept))
        rewrite(db, name, more(kept, ended, given))
        db.executemany(HOLD, [(part, now_ms, hold.ledger) for hold, part in zip(ended, given, strict=True) if part])


def rewrite(db: sqlite3.Connection, lease: str, holds: Sequence[Hold]) -> None:
    """Change what a lease holds; the ledgers are the caller's."""
    (before,) = db.execute("SELECT holds FROM leases WHERE id = ?", (lease,)).fetchone()
    numbers = [number for _, _, number in read_moves(before)]
    db.execute("UPDATE leases SET holds = ? WHERE id = ?", (write_holds(holds, numbers), lease))
