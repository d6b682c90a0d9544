"""The tables of the SQLite store, and how a file of an earlier format becomes one of this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["CREATE", "VERSION", "check_schema"]

VERSION = 2
"""Format of the file. An earlier one is migrated, a later one is refused: nothing is guessed at."""

_NEW_TABLES = (
    "CREATE TABLE halts (scope TEXT PRIMARY KEY, who TEXT NOT NULL, why TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE adjustments (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, subject TEXT NOT NULL, amount INTEGER NOT NULL,
        who TEXT NOT NULL, why TEXT NOT NULL, at_ms INTEGER NOT NULL
    ) STRICT""",
    # Leases come nearly in the order of their ends, so that this grows at its end: a page that is written anyhow.
    "CREATE INDEX leases_due ON leases (due_ms)",
)

CREATE = (
    "CREATE TABLE governor_schema (version INTEGER NOT NULL)",
    """CREATE TABLE ledgers (
        key TEXT PRIMARY KEY, unit TEXT NOT NULL, budget TEXT NOT NULL, scope TEXT NOT NULL,
        spent INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0, lim INTEGER, expires_ms INTEGER,
        granted INTEGER NOT NULL DEFAULT 0, per_ms INTEGER, opened_ms INTEGER NOT NULL DEFAULT 0,
        touched_ms INTEGER NOT NULL DEFAULT 0, bucket TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID""",
    # Rows are appended and found by a narrow index: keyed by their random ids themselves, each would touch a page of its own.
    """CREATE TABLE leases (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, due_ms INTEGER NOT NULL, holds TEXT NOT NULL,
        payload TEXT NOT NULL DEFAULT '', run TEXT NOT NULL DEFAULT '', numbers TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    """CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, state BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE kept (
        run TEXT NOT NULL, handle TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, handle)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE threads (thread TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT, WITHOUT ROWID",
    *_NEW_TABLES,
)
"""Statements that make a new file."""

_FROM_1 = (
    "ALTER TABLE ledgers ADD COLUMN granted INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ledgers ADD COLUMN per_ms INTEGER",
    "ALTER TABLE ledgers ADD COLUMN opened_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ledgers ADD COLUMN touched_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ledgers ADD COLUMN bucket TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE leases ADD COLUMN payload TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE leases ADD COLUMN run TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE leases ADD COLUMN numbers TEXT NOT NULL DEFAULT ''",
    # A forfeit lease was remembered for a day after its end, which format 2 writes into its end.
    "UPDATE leases SET due_ms = due_ms + 86400000 WHERE state = 'forfeit'",
    *_NEW_TABLES,
    "UPDATE governor_schema SET version = 2",
)
"""Statements that make a file of format 1 one of format 2."""


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, migrate an earlier one; the caller's transaction holds all of it.

    Raises StoreError for a file of a later version or of another program.
    """
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        for statement in CREATE:
            db.execute(statement)
        db.execute("INSERT INTO governor_schema (version) VALUES (?)", (VERSION,))
        return
    if "governor_schema" not in tables:
        raise StoreError(f"{path}: a database of another program. Name a file of its own for the store.")
    (version,) = db.execute("SELECT version FROM governor_schema").fetchone()
    if version == 1:
        for statement in _FROM_1:
            db.execute(statement)
    elif version != VERSION:
        raise StoreError(
            f"{path}: store format {version}, this governor reads {VERSION}."
            " Use the governor that wrote it, or start a new file."
        )
