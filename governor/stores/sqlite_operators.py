"""What operators changed, in the SQLite store: halts, grants, resets, and the trail of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import StoreError
from governor.ledger import Adjustment, AdjustmentKind, Halted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

__all__ = ["SqliteOperators"]

_COLUMNS = "id, kind, subject, amount, who, why, at_ms"


class SqliteOperators:
    """Statements about operators' changes, each to be made with the store's connection and under its lock."""

    def __init__(self) -> None:
        """Know of nothing yet."""
        self._version = -1
        self._halts: dict[str, Halted] = {}

    def forget(self) -> None:
        """Read the halts again when they are asked for."""
        self._version = -1

    def halts(self, db: sqlite3.Connection) -> Mapping[str, Halted]:
        """Halts by scope. Read only when another connection has written since; what this one writes it notes in `adjust`."""
        (version,) = db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            rows = db.execute("SELECT scope, who, why, at_ms FROM halts").fetchall()
            self._halts = {row[0]: Halted(scope=row[0], who=row[1], why=row[2], at_ms=row[3]) for row in rows}
            self._version = version
        return self._halts

    def adjust(self, db: sqlite3.Connection, change: Adjustment) -> None:
        """See `Store.adjust`."""
        if db.execute("SELECT 1 FROM adjustments WHERE id = ?", (change.id,)).fetchone():
            return
        subject = change.subject
        if change.kind is AdjustmentKind.HALT:
            row = (subject, change.who, change.why, change.at_ms)
            db.execute("INSERT OR REPLACE INTO halts (scope, who, why, at_ms) VALUES (?, ?, ?, ?)", row)
        elif change.kind is AdjustmentKind.RESUME:
            db.execute("DELETE FROM halts WHERE scope = ?", (subject,))
        else:
            if change.kind is AdjustmentKind.GRANT:
                done = db.execute("UPDATE ledgers SET granted = granted + ? WHERE key = ?", (change.amount, subject))
            else:
                done = db.execute("UPDATE ledgers SET spent = 0, bucket = '' WHERE key = ?", (subject,))
            if not done.rowcount:
                raise StoreError(f"no ledger {subject}: see `governor budget list` for those there are.")
        values = (change.id, change.kind.value, subject, change.amount, change.who, change.why, change.at_ms)
        db.execute(f"INSERT INTO adjustments ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608 - names of columns
        self.forget()

    def audit(self, db: sqlite3.Connection, limit: int) -> Sequence[Adjustment]:
        """See `Store.audit`."""
        query = f"SELECT {_COLUMNS} FROM adjustments ORDER BY seq DESC LIMIT ?"  # noqa: S608 - names of columns
        return [
            Adjustment(id=id_, kind=AdjustmentKind(kind), subject=subject, amount=amount, who=who, why=why, at_ms=at_ms)
            for id_, kind, subject, amount, who, why, at_ms in db.execute(query, (limit,))
        ]
