"""The store of one host: a SQLite file in WAL mode that many processes share and every process may be killed over.

One connection per process, behind a lock: SQLite admits one writer at a time anyhow, and threads that queue on a lock wake in
turn, where connections of their own would retry against each other. Other processes are waited for with a short spin instead
of SQLite's own back-off, whose sleeps are a hundred times longer than a transaction here.

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
from governor.ledger import Balance, Lease, LeaseState, Shortfall, Unit
from governor.runs import RunState, continued, dump_state, parse_state
from governor.stores.contract import Store
from governor.stores.ledgers import KEEP_MS, SWEEP, Counted, first_shortfall, granting, movement
from governor.stores.schema import check_schema, read_amounts, read_holds, write_holds

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from governor.ledger import Charge, Hold, ReserveRequest

__all__ = ["SqliteStore"]

T = TypeVar("T")

WAIT_S = 10.0
"""How long another process's transaction is waited for. One takes well under a millisecond: longer means that it hangs."""
_CACHED_RUNS = 512
_TIDY_MS = 3_600_000
"""How often a process looks through everything for what is long over."""
_CHECKPOINT_PAGES = 4_000
"""Size of the log at which a commit copies it into the file, and waits for the disk: 16 MB, four times SQLite's default."""

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
        self._swept = self._next_due_ms = self._tidied_ms = 0

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
                db.execute(
                    "INSERT INTO runs (id, version, state) VALUES (?, 1, ?)"
                    " ON CONFLICT (id) DO UPDATE SET version = version + 1, state = excluded.state",
                    (run, dump_state(after)),
                )
            if not row:
                self._forget_runs(db)
        # Only a committed state may be remembered. Another process's change since then shows as another version.
        self._states.pop(run, None)
        self._states[run] = (version, after)
        if len(self._states) > _CACHED_RUNS:
            self._states.popitem(last=False)
        return answer

    def halted(self, scopes: Sequence[str]) -> None:
        """No halts yet."""

    def reserve(self, request: ReserveRequest) -> Lease | Shortfall:
        """Hold all or nothing; a repeated id answers the lease it got before, whatever the budgets say now."""
        with self._transaction() as db:
            if request.now_ms >= self._next_due_ms:
                self._sweep(db, request.now_ms)
            row = db.execute("SELECT state, holds FROM leases WHERE id = ?", (request.id,)).fetchone()
            if row:
                return Lease(id=request.id, holds=read_holds(row[1]), state=LeaseState(row[0]))
            sums: dict[str, int] = {}
            for hold in request.holds:
                sums[hold.ledger] = sums.get(hold.ledger, 0) + hold.amount
            marks = ",".join("?" * len(sums))
            query = f"SELECT key, spent, reserved, lim, expires_ms FROM ledgers WHERE key IN ({marks})"  # noqa: S608 - only question marks
            rows = {row[0]: row[1:] for row in db.execute(query, tuple(sums))}

            counts = [Counted(*rows.get(hold.ledger, (0, 0))[:2]) for hold in request.holds]
            short = first_shortfall(request.holds, counts, request.now_ms)
            if short:
                return short
            inserted = db.execute(
                "INSERT INTO leases (id, state, due_ms, holds) VALUES (?, 'dispatched', ?, ?)",
                (request.id, request.now_ms + request.ttl_ms, write_holds(request.holds)),
            )
            if (inserted.lastrowid or 0) <= self._swept:  # all leases were gone, and numbers began anew
                self._rescan()
            for hold in request.holds:
                known = rows.get(hold.ledger)
                if known is None or known[2:] != (hold.limit, hold.expires_ms):
                    self._open_ledger(db, hold)
            db.executemany(
                "UPDATE ledgers SET reserved = reserved + ? WHERE key = ?", [(sums[key], key) for key in sums]
            )
        alerts, used, tightest = granting(request.holds, counts)
        return Lease(id=request.id, holds=request.holds, passed=alerts, used_permille=used, tightest=tightest)

    def settle(self, charge: Charge) -> None:
        """Charge a lease once. A lease that nobody remembers was forfeit long ago: its worst case stands."""
        with self._transaction() as db:
            row = db.execute("SELECT state, holds FROM leases WHERE id = ?", (charge.lease,)).fetchone()
            if not row or row[0] in (LeaseState.SETTLED, LeaseState.RELEASED):
                return
            state = LeaseState(row[0])
            moves = [
                (*movement(state, held, amount), ledger)
                for (ledger, held), amount in zip(read_amounts(row[1]), charge.amounts, strict=True)
            ]
            self._end(db, charge.lease, LeaseState.SETTLED, moves)

    def release(self, lease: str, now_ms: int) -> None:
        """Give a dispatched lease back whole."""
        del now_ms
        with self._transaction() as db:
            row = db.execute("SELECT state, holds FROM leases WHERE id = ?", (lease,)).fetchone()
            if row and row[0] == LeaseState.DISPATCHED:
                moves = [(0, -held, ledger) for ledger, held in read_amounts(row[1])]
                self._end(db, lease, LeaseState.RELEASED, moves)

    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """Ledgers whose key begins with `prefix`, in key order."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT key, unit, spent, reserved, lim, budget, scope FROM ledgers"
                " WHERE substr(key, 1, ?) = ? ORDER BY key",
                (len(prefix), prefix),
            ).fetchall()
        return [
            Balance(
                ledger=key,
                unit=Unit(unit),
                spent=spent,
                reserved=reserved,
                limit=limit,
                budget=budget,
                scope=scope,
            )
            for key, unit, spent, reserved, limit, budget, scope in rows
        ]

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
                state = dump_state(continued(parse_state(before[0])))
                db.execute("INSERT OR IGNORE INTO runs (id, version, state) VALUES (?, 1, ?)", (fresh, state))
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
                    self._rescan()  # what this transaction swept, it did not
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

    def _state(self, db: sqlite3.Connection, run: str, version: int) -> RunState:
        """The state of `run` at `version`: as this process remembers it, else read and parsed."""
        if version == 0:
            return RunState()
        cached = self._states.get(run)
        if cached and cached[0] == version:
            return cached[1]
        (data,) = db.execute("SELECT state FROM runs WHERE id = ?", (run,)).fetchone()
        try:
            return parse_state(data)
        except ValidationError as error:
            raise StoreError(f"{self._path}: the state of run {run} is unreadable. Start a new run.") from error

    def _forget_runs(self, db: sqlite3.Connection) -> None:
        """Drop the runs that began more than `max_runs` runs ago, with the texts kept for them."""
        (latest,) = db.execute("SELECT max(seq) FROM runs").fetchone()
        old = db.execute("DELETE FROM runs WHERE seq <= ? RETURNING id", (latest - self._max_runs,)).fetchall()
        db.executemany("DELETE FROM kept WHERE run = ?", old)
        db.executemany("DELETE FROM threads WHERE run = ?", old)

    def _sweep(self, db: sqlite3.Connection, now_ms: int) -> None:
        """Take leases past their ttl in the order they were made: forfeit the dispatched, forget the ended; at most `SWEEP`.

        It stops at the first that is not yet due, so that no index by time is needed, which every reservation would pay for. A
        lease with a shorter ttl than its elders' waits for them; until then it is reserved instead of spent, which weighs the same.
        """
        rows = db.execute(
            "SELECT seq, due_ms, id, state, holds FROM leases WHERE seq > ? ORDER BY seq LIMIT ?", (self._swept, SWEEP)
        )
        due: list[tuple[int, int, str, str, str]] = []
        for row in rows:
            if row[1] > now_ms:
                # Nothing can be due before: this one stays the first until then.
                self._next_due_ms = min(row[1], self._tidied_ms + _TIDY_MS)
                break
            due.append(row)
        for seq, _, lease, state, holds in due:
            if state == LeaseState.DISPATCHED:
                moves = [(held, -held, ledger) for ledger, held in read_amounts(holds)]
                self._end(db, lease, LeaseState.FORFEIT, moves)
            elif state != LeaseState.FORFEIT:
                db.execute("DELETE FROM leases WHERE seq = ?", (seq,))
            self._swept = seq
        if now_ms - self._tidied_ms >= _TIDY_MS:
            self._tidied_ms = now_ms
            self._rescan()
            db.execute("DELETE FROM ledgers WHERE expires_ms <= ? AND reserved = 0", (now_ms,))
            db.execute(
                "DELETE FROM leases WHERE due_ms <= CASE state WHEN 'forfeit' THEN ? ELSE ? END"
                " AND state != 'dispatched'",
                (now_ms - KEEP_MS, now_ms),
            )

    def _rescan(self) -> None:
        """Let the next sweep begin at the first lease again."""
        self._swept = self._next_due_ms = 0

    def _open_ledger(self, db: sqlite3.Connection, hold: Hold) -> None:
        """Make the ledger of a hold, or note its newest limit and latest expiry."""
        db.execute(
            "INSERT INTO ledgers (key, unit, budget, scope, lim, expires_ms) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET lim = excluded.lim, expires_ms = max(expires_ms, excluded.expires_ms)",
            (hold.ledger, hold.unit.value, hold.budget, hold.scope, hold.limit, hold.expires_ms),
        )

    def _end(self, db: sqlite3.Connection, lease: str, state: LeaseState, moves: list[tuple[int, int, str]]) -> None:
        """Move (spent, reserved) of each ledger and note where the lease stands now."""
        db.executemany("UPDATE ledgers SET spent = spent + ?, reserved = reserved + ? WHERE key = ?", moves)
        db.execute("UPDATE leases SET state = ? WHERE id = ?", (state.value, lease))
