"""The store of one host: a SQLite file in WAL mode that many processes share and every process may be killed over.

`synchronous=NORMAL`: a killed process loses nothing; a power failure may lose the last few transactions, never the
consistency of the file. `durable=True` waits for the disk at each commit, at about five times the cost.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from governor.errors import StoreError
from governor.runs import RunState, continued, dump_state, parse_state
from governor.stores.contract import Store
from governor.stores.ledgers import halt_among
from governor.stores.sqlite_file import SqliteFile
from governor.stores.sqlite_ledgers import SqliteLedgers
from governor.stores.sqlite_operators import SqliteOperators

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from governor.ledger import Adjustment, Balance, Charge, Halted, Lease, LeaseRecord, Refusal, ReserveRequest

__all__ = ["SqliteStore"]

T = TypeVar("T")

_CACHED_RUNS = 512


class SqliteStore(SqliteFile, Store):
    """Ledgers and run state in one file. Safe for threads, for forks, and for any number of processes on one host."""

    def __init__(self, path: str | Path, *, durable: bool = False, max_runs: int = 100_000) -> None:
        """Name the file; it is opened, and made if need be, at the first call. Its folder must exist, on a local disk.

        Beyond `max_runs` the state of the runs that began longest ago is forgotten. Ledgers are not: they go with their windows.
        """
        super().__init__(path, durable=durable)
        self._max_runs = max_runs
        self._states: OrderedDict[str, tuple[int, RunState]] = OrderedDict()
        self._operators = SqliteOperators()
        self._ledgers = SqliteLedgers(self._operators)

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

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Hold all or nothing; a repeated id answers the lease it got before, whatever the budgets say now."""
        with self._transaction() as db:
            return self._ledgers.reserve(db, request)

    def dispatch(self, lease: str, now_ms: int) -> bool:
        """The call of a lease that waited begins now."""
        with self._transaction() as db:
            return self._ledgers.dispatch(db, lease, now_ms)

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """Let a lease live at least `ttl_ms` from now."""
        with self._transaction() as db:
            return self._ledgers.extend(db, lease, ttl_ms, now_ms)

    def settle(self, charge: Charge) -> None:
        """Charge a lease once. A lease that nobody remembers was forfeit long ago: its worst case stands."""
        with self._transaction() as db:
            self._ledgers.settle(db, charge)

    def release(self, lease: str, now_ms: int) -> None:
        """Give a lease back whole."""
        with self._transaction() as db:
            self._ledgers.release(db, lease, now_ms)

    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """Ledgers whose key begins with `prefix`, in key order."""
        with self._transaction() as db:
            return self._ledgers.balances(db, prefix)

    def leases(self, run: str = "") -> Sequence[LeaseRecord]:
        """Leases that are not settled or released."""
        with self._transaction() as db:
            return self._ledgers.leases(db, run)

    def adjust(self, adjustment: Adjustment) -> None:
        """Make an operator's change."""
        with self._transaction() as db:
            self._operators.adjust(db, adjustment)

    def audit(self, limit: int = 100) -> Sequence[Adjustment]:
        """The latest changes, newest first."""
        with self._transaction() as db:
            return self._operators.audit(db, limit)

    def halted(self, scopes: Sequence[str]) -> Halted | None:
        """The halt of the first of these scopes that has one. Every call without budgets asks: nothing is read unless somebody wrote."""
        with self._reading() as db:
            halts = self._operators.halts(db)
        return halt_among(scopes, halts) if halts else None

    def halts(self) -> Sequence[Halted]:
        """Every halt in force."""
        with self._reading() as db:
            return [halt for _, halt in sorted(self._operators.halts(db).items())]

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

    def _one(self, query: str, *parts: str) -> str | None:
        with self._transaction() as db:
            row = db.execute(query, parts).fetchone()
        return row[0] if row else None

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

    def _undone(self) -> None:
        """Remember nothing of a transaction that did not happen, nor what another process read."""
        self._states.clear()
        self._ledgers.forget()
        self._operators.forget()
