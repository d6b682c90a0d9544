"""The store of one host: a SQLite file in WAL mode that many processes share and every process may be killed over.

One connection per process, behind a lock: SQLite admits one writer at a time anyhow, and threads that queue on a lock wake in
turn, where connections of their own would retry against each other. Other processes are waited for with sleeps that double.

`synchronous=NORMAL`: a killed process loses nothing; a power failure may lose the last few transactions, never the
consistency of the file. `durable=True` waits for the disk at each commit, at about five times the cost.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar
from weakref import finalize

from pydantic import ValidationError

from governor.errors import StoreError
from governor.ledger import Adjustment, AdjustmentKind
from governor.runs import RunState, continued, dump_state, parse_state
from governor.stores.contract import Store
from governor.stores.ledgers import halt_among
from governor.stores.schema import balance_of, check_schema
from governor.stores.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from governor.ledger import Balance, Charge, Halted, Lease, LeaseRecord, Refusal, ReserveRequest

__all__ = ["SqliteStore"]

T = TypeVar("T")

WAIT_S = 10.0
"""How long another process's transaction is waited for. One takes well under a millisecond: longer means that it hangs."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.025
_SHORT_PAUSE_S, _SHORT_PAUSES = 0.000_1, 3
_BUSY_S = 0.000_3
"""Who comes back sooner than this does little else."""
_CACHED_RUNS = 512
_CHECKPOINT_PAGES = 4_000
"""Size of the log at which a commit copies it into the file, and waits for the disk: 16 MB, four times SQLite's default."""

_UPDATE = "UPDATE runs SET version = ?, state = ? WHERE id = ?"
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _close(connection: sqlite3.Connection, opened_by: int) -> None:
    """Close a connection, unless this is a fork of the process that opened it: that would drop the other's locks."""
    if opened_by == os.getpid():
        connection.close()


class SqliteStore(Store):
    """Ledgers and run state in one file. Safe for threads, for forks, and for any number of processes on one host."""

    def __init__(self, path: str | Path, *, durable: bool = False, max_runs: int = 100_000) -> None:
        """Name the file; it is opened, and made if need be, at the first call. Its folder must exist, on a local disk.

        Beyond `max_runs` the state of the runs that began longest ago is forgotten. Ledgers are not: they go with their windows.
        """
        self._lock, self._pid = Lock(), os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._path = Path(path)
        self._durable = durable
        self._max_runs = max_runs
        self._inherited: list[sqlite3.Connection] = []
        self._shut: Callable[[], object] = bool
        self._states: OrderedDict[str, tuple[int, RunState]] = OrderedDict()
        self._tables = Tables()
        self._left_s = 0.0

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def same_as(self, other: Store) -> bool:
        """Whether both are the same file."""
        return isinstance(other, SqliteStore) and self._path.resolve() == other._path.resolve()  # noqa: SLF001 - of its own class

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """Replace the state of `run` in one transaction. `apply` runs once, while other writers wait: it must be quick."""
        del later
        with self._transaction() as db:
            row = db.execute("SELECT version FROM runs WHERE id = ?", (run,)).fetchone()
            version: int = row[0] if row else 0
            before = self._state(db, run, version)
            after, answer = apply(before)
            if after is not before or not row:
                version += 1
                # No upsert: one that updates uses up a number all the same, and by these runs are counted.
                query = _UPDATE if row else "INSERT INTO runs (version, state, id) VALUES (?, ?, ?)"
                db.execute(query, (version, dump_state(after), run))
            if not row:
                self._forget_runs(db)
        # Only a committed state may be remembered. Another process's change since then shows as another version.
        self._states.pop(run, None)
        self._states[run] = (version, after)
        if len(self._states) > _CACHED_RUNS:
            self._states.popitem(last=False)
        return answer

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Hold all or nothing; a repeated id answers the lease it got before, whatever the budgets say now."""
        with self._transaction() as db:
            return self._tables.reserve(db, request)

    def dispatch(self, lease: str, now_ms: int) -> bool:
        """The call of a lease that waited begins now."""
        with self._transaction() as db:
            return self._tables.dispatch(db, lease, now_ms)

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """Let a lease live at least `ttl_ms` from now."""
        with self._transaction() as db:
            return self._tables.extend(db, lease, ttl_ms, now_ms)

    def settle(self, charge: Charge) -> None:
        """Charge a lease once."""
        with self._transaction() as db:
            self._tables.settle(db, charge)

    def release(self, lease: str, now_ms: int) -> None:
        """Give a lease back whole."""
        with self._transaction() as db:
            self._tables.release(db, lease, now_ms)

    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """Ledgers whose key begins with `prefix`, in key order."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT key, unit, spent, reserved, lim, budget, scope, granted, opened_ms, touched_ms, per_ms, bucket"
                " FROM ledgers WHERE substr(key, 1, ?) = ? ORDER BY key",
                (len(prefix), prefix),
            ).fetchall()
        return [balance_of(row) for row in rows]

    def leases(self, run: str = "") -> Sequence[LeaseRecord]:
        """Leases that are not settled or released."""
        with self._reading() as db:
            return self._tables.leases(db, run)

    def adjust(self, adjustment: Adjustment) -> None:
        """Make an operator's change, or none of it."""
        with self._transaction() as db:
            self._tables.adjust(db, adjustment)

    def audit(self, limit: int = 100) -> Sequence[Adjustment]:
        """The latest changes, newest first."""
        query = "SELECT id, kind, subject, amount, who, why, at_ms FROM adjustments ORDER BY seq DESC LIMIT ?"
        with self._reading() as db:
            rows = db.execute(query, (limit,)).fetchall()
        return [
            Adjustment(id=key, kind=AdjustmentKind(kind), subject=subject, amount=amount, who=who, why=why, at_ms=at_ms)
            for key, kind, subject, amount, who, why, at_ms in rows
        ]

    def halted(self, scopes: Sequence[str]) -> Halted | None:
        """The halt of the first of these scopes that has one."""
        with self._reading() as db:
            return halt_among(scopes, self._tables.halts(db))

    def halts(self) -> Sequence[Halted]:
        """Every halt in force."""
        with self._reading() as db:
            return list(self._tables.halts(db).values())

    def keep(self, run: str, handle: str, text: str) -> None:
        """Store `text` for as long as the run is remembered."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO kept (run, handle, text) VALUES (?, ?, ?)", (run, handle, text))

    def recall(self, run: str, handle: str) -> str | None:
        """The text under `handle`, or None."""
        return self._one("SELECT text FROM kept WHERE run = ? AND handle = ?", run, handle)

    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        """`fresh`, or on a resume the run that the thread had last."""
        if thread is None:
            return fresh
        with self._transaction() as db:
            row = db.execute("SELECT run FROM threads WHERE thread = ?", (thread,)).fetchone()
            if row and resume:
                return row[0]
            before = row and db.execute("SELECT state FROM runs WHERE id = ?", (row[0],)).fetchone()
            if before:
                state = dump_state(continued(self._parsed(before[0], row[0])))
                db.execute("INSERT OR IGNORE INTO runs (id, version, state) VALUES (?, 1, ?)", (fresh, state))
                self._forget_runs(db)
            db.execute("INSERT OR REPLACE INTO threads (thread, run) VALUES (?, ?)", (thread, fresh))
        return fresh

    def latest_run(self, thread: str) -> str | None:
        """The run that the thread had last."""
        return self._one("SELECT run FROM threads WHERE thread = ?", thread)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            self._connection = None
            self._shut()

    def _one(self, query: str, *parts: str) -> str | None:
        with self._transaction() as db:
            row = db.execute(query, parts).fetchone()
        return row[0] if row else None

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """What is committed, without waiting for a writer."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            try:
                yield self._connection or self._open()
            except sqlite3.Error as error:
                raise self._unanswered(error) from error

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
                    self._left_s = time.monotonic()
                except BaseException:
                    self._tables.rescan()  # what this transaction swept, it did not
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._unanswered(error) from error

    def _forked(self) -> None:
        """In a forked child: leave the parent's connection alone (closing it would drop the parent's locks) and start anew."""
        if self._connection is not None:
            self._inherited.append(self._connection)
        self._connection = None
        self._states.clear()
        self._lock, self._pid = Lock(), os.getpid()

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
        """Repeat `attempt` while another process holds the file, after sleeps that double.

        Who comes now and then waits for one transaction, which is short: a few short sleeps first. Who was here a moment ago is one of
        those that keep the file busy: long sleeps let each do many transactions before it is asked again. With the other's sleeps, four
        processes on two processors waited several times as long at the 99th percentile, either way (`make bench-ledger`: the busy kind).
        """
        began = time.monotonic()
        hurried, pause = _SHORT_PAUSES if began - self._left_s > _BUSY_S else 0, _PAUSE_S
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > began + WAIT_S:
                    raise
            if hurried:
                hurried -= 1
                time.sleep(_SHORT_PAUSE_S)
            else:
                time.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not secrecy
                pause = min(pause * 2, _LONGEST_PAUSE_S)

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

    def _state(self, db: sqlite3.Connection, run: str, version: int) -> RunState:
        """The state of `run` at `version`: as this process remembers it, else read and parsed."""
        if version == 0:
            return RunState()
        cached = self._states.get(run)
        if cached and cached[0] == version:
            return cached[1]
        (data,) = db.execute("SELECT state FROM runs WHERE id = ?", (run,)).fetchone()
        return self._parsed(data, run)

    def _parsed(self, data: bytes, run: str) -> RunState:
        try:
            return parse_state(data)
        except ValidationError as error:
            raise StoreError(
                f"{self._path}: the state of run {run} is unreadable. Start a new run, on another thread."
            ) from error

    def _forget_runs(self, db: sqlite3.Connection) -> None:
        """Drop the runs that began more than `max_runs` runs ago, with the texts kept for them."""
        (latest,) = db.execute("SELECT max(seq) FROM runs").fetchone()
        old = db.execute("DELETE FROM runs WHERE seq <= ? RETURNING id", (latest - self._max_runs,)).fetchall()
        db.executemany("DELETE FROM kept WHERE run = ?", old)
        db.executemany("DELETE FROM threads WHERE run = ?", old)
