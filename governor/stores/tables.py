"""Ledgers and leases as tables: what the SQLite store does within a transaction. The connection and the transaction are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import StoreError
from governor.ledger import AdjustmentKind, Halted, Lease, LeaseRecord, LeaseState
from governor.stores.escrow import as_spent, drawn, kept_for, left_in, less
from governor.stores.escrow_tables import HOLD, give_back, kept_by, rewrite
from governor.stores.ledgers import (
    KEEP_MS,
    NOTHING,
    SWEEP,
    Counted,
    charged,
    first_shortfall,
    forgiven,
    granting,
    halt_among,
    movement,
    same_call,
)
from governor.stores.rates import EMPTY, added, given_back
from governor.stores.schema import (
    read_bucket,
    read_holds,
    read_moves,
    write_bucket,
    write_escrow,
    write_holds,
)
from governor.values import maker

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from governor.ledger import Adjustment, Charge, Hold, Refusal, ReserveRequest

__all__ = ["Tables"]

_lease, _counted = maker(Lease), maker(Counted)
_TIDY_MS = 3_600_000
"""How often a process looks through everything for what is long over."""
_OPEN = ("reserved", "dispatched")
_MOVE = "UPDATE ledgers SET spent = spent + ?, reserved = reserved + ?, touched_ms = max(touched_ms, ?) WHERE key = ?"


class Tables:
    """Where this process's sweep of the leases stands; everything else is in the file."""

    def __init__(self) -> None:
        """Begin to sweep at the first lease."""
        self._swept = self._next_due_ms = self._tidied_ms = 0

    def rescan(self) -> None:
        """Let the next sweep begin at the first lease again."""
        self._swept = self._next_due_ms = 0

    # --- leases

    def reserve(self, db: sqlite3.Connection, request: ReserveRequest) -> Lease | Refusal:
        """See `Store.reserve`."""
        now, holds = request.now_ms, request.holds
        if now >= self._next_due_ms:
            self._sweep(db, now)
        row = db.execute("SELECT state, holds, payload, due_ms FROM leases WHERE id = ?", (request.id,)).fetchone()
        if row and row[0] == "reserved" and row[3] <= now:
            self._free_waiting(db, now)  # the sweep has not come to it: its call may be reserved again
            row = None
        if row:
            same_call(request, row[2])
            return Lease(id=request.id, holds=read_holds(row[1]), state=LeaseState(row[0]))
        halted = halt_among(request.scopes, self.halts(db)) if request.scopes else None
        if halted:
            return halted
        rows, counts = self._counted(db, holds)
        kept = kept_by(db, request.escrow, now) if request.escrow else None
        short = first_shortfall(holds, kept_for(holds, counts, left_in(kept)) if kept else counts, now)
        if short and self._free_waiting(db, now):  # nobody is turned away for what has expired
            rows, counts = self._counted(db, holds)
            short = first_shortfall(holds, kept_for(holds, counts, left_in(kept)) if kept else counts, now)
        if short:
            return short
        taken = drawn(holds, left_in(kept)) if kept else ()
        numbers = self._hold(db, request, rows)
        state = LeaseState.DISPATCHED if request.dispatched else LeaseState.RESERVED
        inserted = db.execute(
            "INSERT INTO leases (id, state, due_ms, holds, payload, run, escrow) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                request.id,
                state.value,
                now + request.ttl_ms,
                write_holds(holds, numbers),
                request.payload,
                request.run,
                write_escrow(request.escrow, taken) if kept else "",
            ),
        )
        if kept:
            rewrite(db, request.escrow, less(kept, holds, taken))
            db.executemany(HOLD, [(-part, now, hold.ledger) for hold, part in zip(holds, taken, strict=True) if part])
            self.extend(db, request.escrow, request.ttl_ms, now)
            counts = as_spent(counts, taken)
        if (inserted.lastrowid or 0) <= self._swept:  # all leases were gone, and numbers began anew
            self.rescan()
        alerts, used, tightest = granting(holds, counts)
        return _lease(id=request.id, holds=holds, state=state, passed=alerts, used_permille=used, tightest=tightest)

    def settle(self, db: sqlite3.Connection, charge: Charge) -> None:
        """See `Store.settle`. A lease that nobody remembers was forfeit long ago: its worst case stands."""
        row = db.execute("SELECT state, holds, escrow FROM leases WHERE id = ?", (charge.lease,)).fetchone()
        if row and row[0] not in ("settled", "released"):
            self._end(db, charge.lease, row, LeaseState.SETTLED, charged(charge.amounts), charge.now_ms)

    def release(self, db: sqlite3.Connection, lease: str, now_ms: int) -> None:
        """See `Store.release`."""
        row = db.execute("SELECT state, holds, escrow FROM leases WHERE id = ?", (lease,)).fetchone()
        if row and row[0] in _OPEN:
            self._end(db, lease, row, LeaseState.RELEASED, None, now_ms)

    def dispatch(self, db: sqlite3.Connection, lease: str, now_ms: int) -> bool:
        """See `Store.dispatch`."""
        changed = db.execute(
            "UPDATE leases SET state = 'dispatched' WHERE id = ? AND state IN ('reserved', 'dispatched') AND due_ms > ?",
            (lease, now_ms),
        )
        if not changed.rowcount:
            self._free_waiting(db, now_ms)
        return changed.rowcount > 0

    def extend(self, db: sqlite3.Connection, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """See `Store.extend`. The lease goes to the end of the row, since the sweep stops at the first that is not yet due."""
        changed = db.execute(
            "UPDATE leases SET due_ms = max(due_ms, ?), seq = (SELECT max(seq) + 1 FROM leases)"
            " WHERE id = ? AND state IN ('reserved', 'dispatched') AND due_ms > ?",
            (now_ms + ttl_ms, lease, now_ms),
        )
        return changed.rowcount > 0

    def leases(self, db: sqlite3.Connection, run: str) -> Sequence[LeaseRecord]:
        """See `Store.leases`."""
        rows = db.execute(
            "SELECT id, state, run, holds, due_ms FROM leases"
            " WHERE state NOT IN ('settled', 'released') AND (? = '' OR run = ?) ORDER BY seq",
            (run, run),
        )
        return [
            LeaseRecord(id=lease, state=LeaseState(state), run=whose, holds=read_holds(holds), due_ms=due)
            for lease, state, whose, holds, due in rows
        ]

    # --- operators

    def adjust(self, db: sqlite3.Connection, change: Adjustment) -> None:
        """See `Store.adjust`."""
        noted = db.execute(
            "INSERT INTO adjustments (id, kind, subject, amount, who, why, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (change.id, change.kind.value, change.subject, change.amount, change.who, change.why, change.at_ms),
        )
        if not noted.rowcount:
            return
        if change.kind is AdjustmentKind.HALT:
            db.execute(
                "INSERT OR REPLACE INTO halts (scope, who, why, at_ms) VALUES (?, ?, ?, ?)",
                (change.subject, change.who, change.why, change.at_ms),
            )
        elif change.kind is AdjustmentKind.RESUME:
            db.execute("DELETE FROM halts WHERE scope = ?", (change.subject,))
        elif not self._adjusted(db, change):
            raise StoreError(f"no ledger {change.subject}: see `governor budget list` for those there are.")

    def halts(self, db: sqlite3.Connection) -> dict[str, Halted]:
        """Every halt in force, by scope, in order."""
        rows = db.execute("SELECT scope, who, why, at_ms FROM halts ORDER BY scope").fetchall()
        return {scope: Halted(scope=scope, who=who, why=why, at_ms=at_ms) for scope, who, why, at_ms in rows}

    @staticmethod
    def _adjusted(db: sqlite3.Connection, change: Adjustment) -> bool:
        if change.kind is AdjustmentKind.GRANT:
            query, parts = "UPDATE ledgers SET granted = granted + ? WHERE key = ?", (change.amount, change.subject)
            return db.execute(query, parts).rowcount > 0
        for lease, holds in db.execute("SELECT id, holds FROM leases WHERE state = 'forfeit'").fetchall():
            if any(ledger == change.subject for ledger, _, _ in read_moves(holds)):
                rewrite(db, lease, forgiven(read_holds(holds), change.subject))
        query = "UPDATE ledgers SET spent = 0, bucket = NULL, opened_ms = ? WHERE key = ?"
        return db.execute(query, (change.at_ms, change.subject)).rowcount > 0

    # --- counting

    @staticmethod
    def _counted(db: sqlite3.Connection, holds: Sequence[Hold]) -> tuple[dict[str, Any], list[Counted]]:
        """The ledgers of these holds as they are in the file, and what counts against each hold."""
        keys = {key for hold in holds for key in (hold.ledger, *hold.earlier)}
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, spent, reserved, granted, lim, expires_ms, bucket FROM ledgers WHERE key IN ({marks})"  # noqa: S608 - only question marks
        rows = {row[0]: row for row in db.execute(query, tuple(keys))}
        return rows, [_against(hold, rows) for hold in holds]

    def _hold(self, db: sqlite3.Connection, request: ReserveRequest, rows: dict[str, Any]) -> list[int]:
        """Put the holds on their ledgers; for each its number in the bucket of its rate, or 0."""
        now, sums = request.now_ms, dict[str, int]()
        buckets = {key: read_bucket(row[6]) for key, row in rows.items() if row[6] is not None}
        numbers: list[int] = []
        for hold in request.holds:
            known = rows.get(hold.ledger)
            if known is None or known[4:6] != (hold.limit, hold.expires_ms):
                self._open_ledger(db, hold, now)
            if hold.per_ms:
                bucket = buckets[hold.ledger] = added(buckets.get(hold.ledger, EMPTY), hold, now)
                numbers.append(bucket.taken)
                db.execute(
                    "UPDATE ledgers SET bucket = ?, touched_ms = max(touched_ms, ?) WHERE key = ?",
                    (write_bucket(bucket), now, hold.ledger),
                )
            else:
                numbers.append(0)
                sums[hold.ledger] = sums.get(hold.ledger, 0) + hold.amount
        db.executemany(HOLD, [(amount, now, key) for key, amount in sums.items()])
        return numbers

    @staticmethod
    def _open_ledger(db: sqlite3.Connection, hold: Hold, now_ms: int) -> None:
        """Make the ledger of a hold, or note its newest limit and latest expiry."""
        db.execute(
            "INSERT INTO ledgers (key, unit, budget, scope, lim, expires_ms, per_ms, opened_ms, touched_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET lim = excluded.lim, expires_ms = max(expires_ms, excluded.expires_ms)",
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

    @staticmethod
    def _end(
        db: sqlite3.Connection,
        lease: str,
        row: tuple[str, str, str],
        state: LeaseState,
        amounts: Sequence[int] | None,
        now_ms: int,
    ) -> None:
        """End every hold of a lease, at `amounts`, at nothing (None), or when it is forfeit at what was held."""
        was, holds = LeaseState(row[0]), read_moves(row[1])
        if state is LeaseState.FORFEIT:
            amounts = [held for _, held, _ in holds]
        moves: list[tuple[int, int, int, str]] = []
        if amounts is None:
            amounts = (0,) * len(holds)
        for at, ((ledger, held, number), amount) in enumerate(zip(holds, amounts, strict=True)):
            if not number:
                moves.append((*movement(was, held, amount), now_ms, ledger))
            elif LeaseState.FORFEIT not in (was, state):  # what flowed through a rate has flowed
                _refund(db, read_holds(row[1])[at], number, amount, now_ms)
        db.executemany(_MOVE, moves)
        if row[2] and state is not LeaseState.FORFEIT:
            give_back(db, row[1], row[2], amounts, now_ms)
        db.execute("UPDATE leases SET state = ? WHERE id = ?", (state.value, lease))

    # --- sweeping

    def _sweep(self, db: sqlite3.Connection, now_ms: int) -> None:
        """Take leases past their ttl in the order they were made: end the open ones, forget the ended; at most `SWEEP`.

        It stops at the first that is not yet due, so that no index by time is needed, which every reservation would pay for. A dispatched
        lease with a shorter ttl than its elders' waits for them; until then it is reserved instead of spent, which weighs the same.
        """
        rows = db.execute(
            "SELECT seq, due_ms, id, state, holds, escrow FROM leases WHERE seq > ? ORDER BY seq LIMIT ?",
            (self._swept, SWEEP),
        ).fetchall()
        for seq, due, lease, state, holds, escrow in rows:
            if due > now_ms:
                # Nothing can be due before: this one stays the first until then.
                self._next_due_ms = min(due, self._tidied_ms + _TIDY_MS)
                break
            if state == "dispatched":
                self._end(db, lease, (state, holds, escrow), LeaseState.FORFEIT, None, now_ms)
            elif state == "reserved":
                self._forget_waiting(db, lease, now_ms)
            elif state != "forfeit":
                db.execute("DELETE FROM leases WHERE seq = ?", (seq,))
            self._swept = seq
        if now_ms - self._tidied_ms >= _TIDY_MS:
            self._tidied_ms = now_ms
            self.rescan()
            db.execute("DELETE FROM ledgers WHERE expires_ms <= ? AND reserved = 0", (now_ms,))
            db.execute(
                "DELETE FROM leases WHERE due_ms <= CASE state WHEN 'forfeit' THEN ? ELSE ? END"
                " AND state NOT IN ('reserved', 'dispatched')",
                (now_ms - KEEP_MS, now_ms),
            )

    def _free_waiting(self, db: sqlite3.Connection, now_ms: int) -> bool:
        """Release every expired lease whose call never began. Whether there were any."""
        rows = db.execute("SELECT id FROM leases WHERE state = 'reserved' AND due_ms <= ?", (now_ms,)).fetchall()
        for (lease,) in rows:
            self._forget_waiting(db, lease, now_ms)
        return bool(rows)

    def _forget_waiting(self, db: sqlite3.Connection, lease: str, now_ms: int) -> None:
        """Release a lease whose call never began, and its id with it: the call may be reserved again.

        What it holds is read only now: another that ended a moment ago may have given something back to it.
        """
        row = db.execute("SELECT state, holds, escrow FROM leases WHERE id = ?", (lease,)).fetchone()
        self._end(db, lease, row, LeaseState.RELEASED, None, now_ms)
        db.execute("DELETE FROM leases WHERE id = ?", (lease,))


def _against(hold: Hold, rows: dict[str, Any]) -> Counted:
    if not hold.earlier:
        row = rows.get(hold.ledger)
        if row is None:
            return NOTHING
        bucket = read_bucket(row[6]) if row[6] is not None else EMPTY
        return _counted(spent=row[1], reserved=row[2], granted=row[3], bucket=bucket)
    slices = [rows[key] for key in (hold.ledger, *hold.earlier) if key in rows]
    return Counted(sum(row[1] for row in slices), sum(row[2] for row in slices), sum(row[3] for row in slices))


def _refund(db: sqlite3.Connection, hold: Hold, number: int, amount: int, now_ms: int) -> None:
    """Give back to a rate what a call did not use of it."""
    row = db.execute("SELECT bucket FROM ledgers WHERE key = ?", (hold.ledger,)).fetchone()
    if row is not None:
        bucket = given_back(read_bucket(row[0]), hold, number, amount, now_ms)
        db.execute(
            "UPDATE ledgers SET bucket = ?, touched_ms = max(touched_ms, ?) WHERE key = ?",
            (write_bucket(bucket), now_ms, hold.ledger),
        )
