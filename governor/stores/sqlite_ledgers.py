"""Ledgers and leases in the SQLite store: what `Counters` does with dictionaries, as statements within one transaction."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from governor.ledger import Balance, Lease, LeaseRecord, LeaseState, Unit
from governor.stores.ledgers import (
    KEEP_MS,
    NOTHING,
    SWEEP,
    Counted,
    first_shortfall,
    granting,
    halt_among,
    movement,
    same_call,
)
from governor.stores.rates import Bucket, added, given_back
from governor.stores.written import WrittenHolds, read_bucket, write_bucket
from governor.values import maker

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from governor.ledger import Charge, Hold, Refusal, ReserveRequest
    from governor.stores.sqlite_operators import SqliteOperators

__all__ = ["SqliteLedgers"]

_lease, _counted = maker(Lease), maker(Counted)
_OPEN = (LeaseState.RESERVED, LeaseState.DISPATCHED)
_LOOK_MS = 1_000
"""How long a process may not look for leases of others that expired. Before it refuses it looks in any case."""
_TIDY_MS = 3_600_000
"""How often a process looks for ledgers whose windows are long over."""
_REMEMBERED = 4_096
"""Leases whose holds a process remembers, since who settles a lease is nearly always who reserved it."""

_NO_LEDGER = (0, 0, 0, None, None, "")
_FIND = "SELECT seq, state, due_ms, payload, holds, numbers FROM leases WHERE id = ?"
_HELD = "UPDATE ledgers SET reserved = reserved + ?, touched_ms = max(touched_ms, ?) WHERE key = ?"
_MOVED = "UPDATE ledgers SET spent = spent + ?, reserved = reserved + ?, touched_ms = max(touched_ms, ?) WHERE key = ?"

_Ledger = tuple[int, int, int, "int | None", "int | None", str]
"""spent, reserved, granted, limit, expires_ms, bucket"""


class _Row(NamedTuple):
    """A lease as it is kept."""

    seq: int
    state: str
    due_ms: int
    payload: str
    holds: str
    numbers: str


class SqliteLedgers:
    """Statements about ledgers and leases, each to be made in a writing transaction of the store."""

    def __init__(self, operators: SqliteOperators) -> None:
        """`operators` know what is halted."""
        self._operators = operators
        self._written = WrittenHolds()
        self._holds: OrderedDict[int, tuple[str, tuple[Hold, ...]]] = OrderedDict()
        self._due_ms = self._tidied_ms = 0

    def forget(self) -> None:
        """Look at everything anew: a transaction was undone, or this is another process."""
        self._due_ms = self._tidied_ms = 0
        self._holds.clear()

    def reserve(self, db: sqlite3.Connection, request: ReserveRequest) -> Lease | Refusal:
        """See `Store.reserve`."""
        now = request.now_ms
        if now >= self._due_ms:
            self._sweep(db, now)
        known = self._alive(db, request.id, now)
        if known:
            same_call(request, known.payload)
            return Lease(id=request.id, holds=self._holds_of(known), state=LeaseState(known.state))
        halts = self._operators.halts(db)
        if halts and (halted := halt_among(request.scopes, halts)):
            return halted
        ledgers, counts = self._counted(db, request.holds)
        short = first_shortfall(request.holds, counts, now)
        while short and self._sweep(db, now):  # nobody is turned away for what has expired
            ledgers, counts = self._counted(db, request.holds)
            short = first_shortfall(request.holds, counts, now)
        if short:
            return short
        numbers = self._take(db, request.holds, ledgers, now)
        state = LeaseState.DISPATCHED if request.dispatched else LeaseState.RESERVED
        self._insert(db, request, state, numbers)
        alerts, used, tightest = granting(request.holds, counts)
        return _lease(
            id=request.id, holds=request.holds, state=state, passed=alerts, used_permille=used, tightest=tightest
        )

    def dispatch(self, db: sqlite3.Connection, lease: str, now_ms: int) -> bool:
        """See `Store.dispatch`."""
        row = self._alive(db, lease, now_ms)
        if row and row.state == LeaseState.RESERVED:
            db.execute("UPDATE leases SET state = 'dispatched' WHERE seq = ?", (row.seq,))
        return row is not None and row.state in _OPEN

    def extend(self, db: sqlite3.Connection, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """See `Store.extend`."""
        row = self._alive(db, lease, now_ms)
        if not row or row.state not in _OPEN:
            return False
        if row.due_ms < now_ms + ttl_ms:
            db.execute("UPDATE leases SET due_ms = ? WHERE seq = ?", (now_ms + ttl_ms, row.seq))
        return True

    def settle(self, db: sqlite3.Connection, charge: Charge) -> None:
        """See `Store.settle`."""
        row = db.execute(_FIND, (charge.lease,)).fetchone()
        if row and row[1] not in (LeaseState.SETTLED, LeaseState.RELEASED):
            self._end(db, _Row(*row), LeaseState.SETTLED, charge.amounts, charge.now_ms)

    def release(self, db: sqlite3.Connection, lease: str, now_ms: int) -> None:
        """See `Store.release`."""
        row = db.execute(_FIND, (lease,)).fetchone()
        if row and row[1] in _OPEN:
            self._end(db, _Row(*row), LeaseState.RELEASED, None, now_ms)

    def balances(self, db: sqlite3.Connection, prefix: str) -> Sequence[Balance]:
        """See `Store.balances`."""
        rows = db.execute(
            "SELECT key, unit, spent, reserved, lim, budget, scope, granted, opened_ms, touched_ms, per_ms, bucket"
            " FROM ledgers WHERE substr(key, 1, ?) = ? ORDER BY key",
            (len(prefix), prefix),
        )
        return [
            Balance(
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
            for key, unit, spent, reserved, limit, budget, scope, granted, opened_ms, touched_ms, per_ms, bucket in rows
        ]

    def leases(self, db: sqlite3.Connection, run: str) -> Sequence[LeaseRecord]:
        """See `Store.leases`."""
        rows = db.execute(
            "SELECT id, state, run, holds, due_ms FROM leases"
            " WHERE state NOT IN ('settled', 'released') AND (? = '' OR run = ?) ORDER BY seq",
            (run, run),
        )
        return [
            LeaseRecord(id=lease, state=LeaseState(state), run=of, holds=self._written.read(holds), due_ms=due_ms)
            for lease, state, of, holds, due_ms in rows
        ]

    def _alive(self, db: sqlite3.Connection, lease: str, now_ms: int) -> _Row | None:
        """A lease that is remembered. One whose time is over is ended first, whether or not the sweep has come to it."""
        row = db.execute(_FIND, (lease,)).fetchone()
        if row and row[2] <= now_ms:
            self._expire(db, _Row(*row), now_ms)
            row = db.execute(_FIND, (lease,)).fetchone()
        return _Row(*row) if row else None

    def _holds_of(self, row: _Row) -> tuple[Hold, ...]:
        """The holds of a lease: as this process remembers them, else read. Numbers of rows come again, hence the text."""
        known = self._holds.get(row.seq)
        if known and known[0] == row.holds:
            return known[1]
        return self._written.read(row.holds)

    def _counted(self, db: sqlite3.Connection, holds: Sequence[Hold]) -> tuple[dict[str, _Ledger], list[Counted]]:
        """The ledgers that a request needs, and what counts against each of its holds."""
        keys = {hold.ledger: None for hold in holds}
        for hold in holds:
            if hold.earlier:
                keys.update(dict.fromkeys(hold.earlier))
        query = (
            "SELECT key, spent, reserved, granted, lim, expires_ms, bucket FROM ledgers"  # noqa: S608 - only question marks
            f" WHERE key IN ({','.join('?' * len(keys))})"
        )
        ledgers: dict[str, _Ledger] = {row[0]: row[1:] for row in db.execute(query, tuple(keys))}
        return ledgers, [_counts(hold, ledgers) for hold in holds]

    def _take(
        self, db: sqlite3.Connection, holds: Sequence[Hold], ledgers: Mapping[str, _Ledger], now_ms: int
    ) -> list[int]:
        """Put the holds on their ledgers; answers the number of each in the bucket of its rate, 0 for a budget."""
        sums: dict[str, int] = {}
        buckets: dict[str, Bucket] = {}
        numbers: list[int] = []
        for hold in holds:
            key = hold.ledger
            known = ledgers.get(key)
            if known is None or known[3] != hold.limit or known[4] != hold.expires_ms:
                self._open(db, hold, now_ms)
            if hold.per_ms:
                before = buckets.get(key) or read_bucket((known or _NO_LEDGER)[5])
                bucket = buckets[key] = added(before, hold, now_ms)
                numbers.append(bucket.taken)
            else:
                sums[key] = sums.get(key, 0) + hold.amount
                numbers.append(0)
        db.executemany(_HELD, [(amount, now_ms, key) for key, amount in sums.items()])
        for key, bucket in buckets.items():
            _write_bucket(db, key, bucket, now_ms)
        return numbers

    def _open(self, db: sqlite3.Connection, hold: Hold, now_ms: int) -> None:
        """Make the ledger of a hold, or note its newest limit and latest expiry."""
        db.execute(
            "INSERT INTO ledgers (key, unit, budget, scope, lim, expires_ms, per_ms, opened_ms, touched_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET lim = excluded.lim, expires_ms = max(expires_ms, excluded.expires_ms),"
            " opened_ms = CASE opened_ms WHEN 0 THEN excluded.opened_ms ELSE opened_ms END",
            (
                hold.ledger,
                hold.unit.value,
                hold.budget,
                hold.scope,
                hold.limit,
                hold.expires_ms,
                hold.per_ms,
                now_ms,
                now_ms,
            ),
        )

    def _insert(self, db: sqlite3.Connection, request: ReserveRequest, state: LeaseState, numbers: list[int]) -> None:
        due_ms, holds = request.now_ms + request.ttl_ms, self._written.write(request.holds)
        written = json.dumps(numbers) if any(numbers) else ""
        done = db.execute(
            "INSERT INTO leases (id, state, due_ms, holds, payload, run, numbers) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (request.id, state.value, due_ms, holds, request.payload, request.run, written),
        )
        self._due_ms = min(self._due_ms, due_ms)
        self._holds[done.lastrowid or 0] = (holds, request.holds)
        if len(self._holds) > _REMEMBERED:
            self._holds.popitem(last=False)

    def _end(
        self, db: sqlite3.Connection, row: _Row, state: LeaseState, amounts: Sequence[int] | None, now_ms: int
    ) -> None:
        """End a lease at `amounts`, or at nothing. Raises ValueError when they are not as many as its holds."""
        holds = self._holds_of(row)
        before = LeaseState(row.state)
        numbers: Sequence[int] = json.loads(row.numbers) if row.numbers else [0] * len(holds)
        moves: list[tuple[int, int, int, str]] = []
        charged = [0] * len(holds) if amounts is None else amounts
        for hold, amount, number in zip(holds, charged, numbers, strict=True):
            if not hold.per_ms:
                moves.append((*movement(before, hold.amount, amount), now_ms, hold.ledger))
            elif before is not LeaseState.FORFEIT:  # what flowed through a rate has flowed
                _give_back(db, hold, number, amount, now_ms)
        db.executemany(_MOVED, moves)
        db.execute("UPDATE leases SET state = ? WHERE seq = ?", (state.value, row.seq))
        self._holds.pop(row.seq, None)

    def _sweep(self, db: sqlite3.Connection, now_ms: int) -> int:
        """End what was not settled in time, forget what is long finished; at most `SWEEP`. Answers how many."""
        rows = db.execute(
            "SELECT seq, state, due_ms, payload, holds, numbers FROM leases WHERE due_ms <= ? ORDER BY due_ms LIMIT ?",
            (now_ms, SWEEP),
        ).fetchall()
        for row in rows:
            self._expire(db, _Row(*row), now_ms)
        if len(rows) < SWEEP:
            (first,) = db.execute("SELECT min(due_ms) FROM leases").fetchone()
            self._due_ms = now_ms + _LOOK_MS if first is None else min(first, now_ms + _LOOK_MS)
        if now_ms - self._tidied_ms >= _TIDY_MS:
            self._tidied_ms = now_ms
            db.execute("DELETE FROM ledgers WHERE expires_ms <= ? AND reserved = 0", (now_ms,))
        return len(rows)

    def _expire(self, db: sqlite3.Connection, row: _Row, now_ms: int) -> None:
        """End a lease whose time is over: charge it if its call may have been billed, else forget it."""
        if row.state != LeaseState.DISPATCHED:
            if row.state == LeaseState.RESERVED:
                self._end(db, row, LeaseState.RELEASED, None, now_ms)
            db.execute("DELETE FROM leases WHERE seq = ?", (row.seq,))
            return
        moves = [(hold.amount, -hold.amount, 0, hold.ledger) for hold in self._holds_of(row) if not hold.per_ms]
        db.executemany(_MOVED, moves)
        db.execute("UPDATE leases SET state = 'forfeit', due_ms = ? WHERE seq = ?", (now_ms + KEEP_MS, row.seq))


def _counts(hold: Hold, ledgers: Mapping[str, _Ledger]) -> Counted:
    if not hold.earlier:
        row = ledgers.get(hold.ledger)
        if row is None:
            return NOTHING
        if not hold.per_ms:
            return _counted(spent=row[0], reserved=row[1], granted=row[2])
        return Counted(bucket=read_bucket(row[5]))
    rows = [ledgers[key] for key in (hold.ledger, *hold.earlier) if key in ledgers]
    return Counted(sum(row[0] for row in rows), sum(row[1] for row in rows), sum(row[2] for row in rows))


def _give_back(db: sqlite3.Connection, hold: Hold, number: int, amount: int, now_ms: int) -> None:
    row = db.execute("SELECT bucket FROM ledgers WHERE key = ?", (hold.ledger,)).fetchone()
    if row:
        _write_bucket(db, hold.ledger, given_back(read_bucket(row[0]), hold, number, amount, now_ms), now_ms)


def _write_bucket(db: sqlite3.Connection, key: str, bucket: Bucket, now_ms: int) -> None:
    db.execute(
        "UPDATE ledgers SET bucket = ?, touched_ms = max(touched_ms, ?) WHERE key = ?",
        (write_bucket(bucket), now_ms, key),
    )
