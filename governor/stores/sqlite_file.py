"""The file of the SQLite store: one connection for each process, its transactions, forks, and what to do when it does not answer.

One connection per process, behind a lock: SQLite admits one writer at a time anyhow, and threads that queue on a lock wake in
turn, where connections of their own would retry against each other. Other processes are waited for with a short spin instead
of SQLite's own back-off, whose sleeps are a hundred times longer than a transaction here.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar
from weakref import finalize

from governor.errors import StoreError
from governor.stores.schema import check_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["SqliteFile"]

T = TypeVar("T")

WAIT_S = 10.0
"""How long another process's transaction is waited for. One takes well under a millisecond: longer means that it hangs."""
_CHECKPOINT_PAGES = 4_000
"""Size of the log at which a commit copies it into the file, and waits for the disk: 16 MB, four times SQLite's default."""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _close(connection: sqlite3.Connection, opened_by: int) -> None:
    """Close a connection, unless this is a fork of the process that opened it: that would drop the other's locks."""
    if opened_by == os.getpid():
        connection.close()


class SqliteFile:
    """A file that is opened at the first transaction, by each process for itself."""

    def __init__(self, path: str | Path, *, durable: bool) -> None:
        """Name the file. `durable` waits for the disk at each commit."""
        self._lock, self._pid = Lock(), os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._path = Path(path)
        self._durable = durable
        self._inherited: list[sqlite3.Connection] = []
        self._shut: Callable[[], object] = bool

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            self._connection = None
            self._undone()
            self._shut()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """One writing transaction: committed when the block ends, undone when it raises, whatever it raises."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            try:
                db = self._connection or self._open()
                try:
                    self._patiently(lambda: db.execute("BEGIN IMMEDIATE"))
                    yield db
                    self._patiently(lambda: db.execute("COMMIT"))
                except BaseException:
                    self._undone()
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._unanswered(error) from error

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """The connection, for statements that only read and each see one moment: no other process is kept waiting."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            try:
                yield self._connection or self._open()
            except sqlite3.Error as error:
                raise self._unanswered(error) from error

    def _forked(self) -> None:
        """In a forked child: leave the parent's connection alone (closing it would drop the parent's locks) and start anew."""
        if self._connection is not None:
            self._inherited.append(self._connection)
        self._connection = None
        self._lock, self._pid = Lock(), os.getpid()
        self._undone()

    def _undone(self) -> None:
        """Forget what is remembered of the file: a transaction was undone, or this is another process now."""

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            mode = self._patiently(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())[0]
            if mode != "wal":
                raise StoreError(f"{self._path}: no shared memory for WAL here. Put the file on a local disk.")
            db.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            self._patiently(lambda: db.execute("BEGIN IMMEDIATE"))
            check_schema(db, self._path)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        self._connection = db
        # From 3.13 on Python warns of a connection that nobody closed; a store that is not closed goes when nobody has it any more.
        self._shut = shut = finalize(self, _close, db, self._pid)
        shut.atexit = False
        return db

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Repeat `attempt` while another process holds the file: yield first, then sleep a little longer each time."""
        deadline, pause = time.monotonic() + WAIT_S, 0.0
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(pause * random.random())  # noqa: S311 - jitter, not secrecy
            pause = min(pause * 1.5 + 0.000_02, 0.002)

    def _unanswered(self, error: sqlite3.Error) -> StoreError:
        """The store's error for SQLite's, with what to do."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        remedy = {
            sqlite3.SQLITE_BUSY: "Another process holds it: look for one that hangs.",
            sqlite3.SQLITE_CANTOPEN: "Its folder must exist and be writable.",
            sqlite3.SQLITE_READONLY: "Make the file and its folder writable for this process.",
            sqlite3.SQLITE_PERM: "Make the file and its folder writable for this process.",
            sqlite3.SQLITE_FULL: "The disk is full.",
            sqlite3.SQLITE_NOTADB: "It is not a SQLite database: name another file, or restore it from a backup.",
            sqlite3.SQLITE_CORRUPT: "It is damaged: restore it from a backup, or move it away to start with empty ledgers.",
        }.get(code, "See SQLite's message.")
        return StoreError(f"{self._path}: {error}. {remedy}")
