"""The tables of the SQLite store, and how holds are written into one column of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from governor.errors import StoreError
from governor.ledger import Hold, Unit

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["CREATE", "VERSION", "check_schema", "read_amounts", "read_holds", "write_holds"]

VERSION = 1
"""Format of the file. A file of another version is refused, never guessed at."""

CREATE = (
    "CREATE TABLE governor_schema (version INTEGER NOT NULL)",
    """CREATE TABLE ledgers (
        key TEXT PRIMARY KEY, unit TEXT NOT NULL, budget TEXT NOT NULL, scope TEXT NOT NULL,
        spent INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0, lim INTEGER, expires_ms INTEGER
    ) STRICT, WITHOUT ROWID""",
    # Rows are appended and found by a narrow index: keyed by their random ids themselves, each would touch a page of its own.
    """CREATE TABLE leases (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, due_ms INTEGER NOT NULL, holds TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, state BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE kept (
        run TEXT NOT NULL, handle TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, handle)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE threads (thread TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT, WITHOUT ROWID",
)
"""Statements that make a new file."""


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
    if version != VERSION:
        raise StoreError(
            f"{path}: store format {version}, this governor reads {VERSION}."
            " Use the governor that wrote it, or start a new file."
        )


def write_holds(holds: Sequence[Hold]) -> str:
    """Holds as one JSON text, to be read back whole."""
    return json.dumps(
        [
            (hold.ledger, hold.unit, hold.amount, hold.limit, hold.budget, hold.scope, hold.written, hold.expires_ms)
            for hold in holds
        ]
    )


def read_amounts(text: str) -> list[tuple[str, int]]:
    """Ledger and amount of each hold in such a text: all that a settlement needs, at a third of the cost."""
    return [(hold[0], hold[2]) for hold in json.loads(text)]


def read_holds(text: str) -> tuple[Hold, ...]:
    """The inverse of `write_holds`."""
    return tuple(
        Hold(
            ledger=ledger,
            unit=Unit(unit),
            amount=amount,
            limit=limit,
            budget=budget,
            scope=scope,
            written=written,
            expires_ms=expires_ms,
        )
        for ledger, unit, amount, limit, budget, scope, written, expires_ms in json.loads(text)
    )
