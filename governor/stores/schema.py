"""The tables of the SQLite store, and how holds are written into one column of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from governor.errors import StoreError
from governor.ledger import Balance, Hold, Unit
from governor.stores.rates import EMPTY, Bucket

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "CREATE",
    "VERSION",
    "balance_of",
    "check_schema",
    "read_bucket",
    "read_escrow",
    "read_holds",
    "read_moves",
    "write_bucket",
    "write_escrow",
    "write_holds",
]

VERSION = 3
"""Format of the file. A file of an older version is brought up to it, of any other refused, never guessed at."""

_ADJUSTMENTS = """CREATE TABLE adjustments (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, subject TEXT NOT NULL, amount INTEGER NOT NULL,
        who TEXT NOT NULL, why TEXT NOT NULL, at_ms INTEGER NOT NULL
    ) STRICT"""
_HALTS = """CREATE TABLE halts (
        scope TEXT PRIMARY KEY, who TEXT NOT NULL, why TEXT NOT NULL, at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID"""
# Few calls wait before they begin, so that this index costs the others nothing.
_WAITING = "CREATE INDEX waiting ON leases (due_ms) WHERE state = 'reserved'"

CREATE = (
    "CREATE TABLE governor_schema (version INTEGER NOT NULL)",
    """CREATE TABLE ledgers (
        key TEXT PRIMARY KEY, unit TEXT NOT NULL, budget TEXT NOT NULL, scope TEXT NOT NULL,
        spent INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0, lim INTEGER, expires_ms INTEGER,
        granted INTEGER NOT NULL DEFAULT 0, per_ms INTEGER, opened_ms INTEGER NOT NULL DEFAULT 0,
        touched_ms INTEGER NOT NULL DEFAULT 0, bucket TEXT
    ) STRICT, WITHOUT ROWID""",
    # Rows are appended and found by a narrow index: keyed by their random ids themselves, each would touch a page of its own.
    """CREATE TABLE leases (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, due_ms INTEGER NOT NULL, holds TEXT NOT NULL,
        payload TEXT NOT NULL DEFAULT '', run TEXT NOT NULL DEFAULT '', escrow TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    _WAITING,
    _ADJUSTMENTS,
    _HALTS,
    """CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, state BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE kept (
        run TEXT NOT NULL, handle TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, handle)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE threads (thread TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT, WITHOUT ROWID",
)
"""Statements that make a new file."""

_FROM_1 = (
    "ALTER TABLE ledgers ADD COLUMN granted INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ledgers ADD COLUMN per_ms INTEGER",
    "ALTER TABLE ledgers ADD COLUMN opened_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ledgers ADD COLUMN touched_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ledgers ADD COLUMN bucket TEXT",
    "ALTER TABLE leases ADD COLUMN payload TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE leases ADD COLUMN run TEXT NOT NULL DEFAULT ''",
    _WAITING,
    _ADJUSTMENTS,
    _HALTS,
)
"""Statements that bring a file of version 1 up to 2; within the transaction that looks at it, so that there is no state between."""
_FROM_2 = (
    "ALTER TABLE leases ADD COLUMN escrow TEXT NOT NULL DEFAULT ''",
    "UPDATE governor_schema SET version = 3",
)
"""And those of version 2 up to 3."""


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file. Raises StoreError for a file of another version or of another program."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        for statement in CREATE:
            db.execute(statement)
        db.execute("INSERT INTO governor_schema (version) VALUES (?)", (VERSION,))
        return
    if "governor_schema" not in tables:
        raise StoreError(f"{path}: a database of another program. Name a file of its own for the store.")
    (version,) = db.execute("SELECT version FROM governor_schema").fetchone()
    if version in (1, 2):
        for statement in (*(_FROM_1 if version == 1 else ()), *_FROM_2):
            db.execute(statement)
    elif version != VERSION:
        raise StoreError(
            f"{path}: store format {version}, this governor reads {VERSION}."
            " Use the governor that wrote it, or start a new file."
        )


def write_holds(holds: Sequence[Hold], numbers: Sequence[int]) -> str:
    """Holds with their numbers in the buckets of rates as one JSON text, to be read back whole."""
    return json.dumps(
        [
            (
                hold.ledger,
                hold.amount,
                number,
                hold.per_ms,
                hold.limit,
                hold.unit,
                hold.budget,
                hold.scope,
                hold.written,
                hold.expires_ms,
                hold.alert,
                hold.earlier,
            )
            for hold, number in zip(holds, numbers, strict=True)
        ]
    )


def write_escrow(escrow: str, drawn: Sequence[int]) -> str:
    """From which lease another one took how much for each of its holds; empty when it took nothing."""
    return json.dumps((escrow, drawn)) if escrow else ""


def read_escrow(text: str) -> tuple[str, list[int]]:
    """The inverse of `write_escrow`."""
    escrow, drawn = json.loads(text)
    return escrow, drawn


def read_moves(text: str) -> list[tuple[str, int, int]]:
    """Ledger, amount and number of each hold in such a text: all that the end of a lease needs, but for rates."""
    rows: list[Any] = json.loads(text)
    return [(row[0], row[1], row[2]) if len(row) == _COLUMNS else (row[0], row[2], 0) for row in rows]


def read_holds(text: str) -> tuple[Hold, ...]:
    """The inverse of `write_holds`."""
    return tuple([_hold(row) for row in json.loads(text)])


_COLUMNS = 12


def _hold(row: list[Any]) -> Hold:
    if len(row) != _COLUMNS:  # a lease of version 1
        ledger, unit, amount, limit, budget, scope, written, expires_ms = row
        per_ms, alert, earlier = None, None, ()
    else:
        ledger, amount, _, per_ms, limit, unit, budget, scope, written, expires_ms, alert, earlier = row
    return Hold(
        ledger=ledger,
        earlier=tuple(earlier),
        per_ms=per_ms,
        unit=Unit(unit),
        amount=amount,
        limit=limit,
        alert=alert,
        budget=budget,
        scope=scope,
        written=written,
        expires_ms=expires_ms,
    )


def write_bucket(bucket: Bucket) -> str:
    """A rate's bucket as JSON."""
    return json.dumps((bucket.level, bucket.at_ms, bucket.taken, bucket.lows))


def read_bucket(text: str | None) -> Bucket:
    """The inverse of `write_bucket`; an empty one for None."""
    if text is None:
        return EMPTY
    level, at_ms, taken, lows = json.loads(text)
    return Bucket(level, at_ms, taken, tuple([(number, low) for number, low in lows]))


def balance_of(row: Sequence[Any]) -> Balance:
    """A row of the ledgers' table, in the order of its columns as `balances` asks for them."""
    key, unit, spent, reserved, limit, budget, scope, granted, opened_ms, touched_ms, per_ms, bucket = row
    return Balance(
        ledger=key,
        unit=Unit(unit),
        spent=spent,
        reserved=-(-read_bucket(bucket).level // per_ms) if per_ms else reserved,
        limit=limit,
        budget=budget,
        scope=scope,
        granted=granted,
        opened_ms=opened_ms,
        touched_ms=touched_ms,
        per_ms=per_ms,
    )
