"""Ledgers of one process: dictionaries, to be used under a lock. `MemoryStore` has one of these; so has every leased slice."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from governor.errors import StoreError
from governor.ledger import AdjustmentKind, Balance, Halted, Lease, LeaseRecord, LeaseState
from governor.stores.escrow import as_spent, back, drawn, kept_for, left_in, less, more
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
from governor.stores.rates import EMPTY, Bucket, added, given_back
from governor.values import maker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger import Adjustment, Charge, Hold, Refusal, ReserveRequest, Unit

__all__ = ["Counters"]

_lease, _counted = maker(Lease), maker(Counted)
_OPEN = (LeaseState.RESERVED, LeaseState.DISPATCHED)


@dataclass(slots=True)
class _Ledger:
    """Counters of one ledger."""

    unit: Unit
    budget: str
    scope: str
    limit: int | None
    expires_ms: int | None
    per_ms: int | None
    opened_ms: int
    touched_ms: int
    spent: int = 0
    reserved: int = 0
    granted: int = 0
    bucket: Bucket = EMPTY


@dataclass(slots=True)
class _Entry:
    """A lease as kept: what it holds, where it stands."""

    holds: tuple[Hold, ...]
    state: LeaseState
    due_ms: int
    payload: str
    run: str
    numbers: tuple[int, ...]
    """For each hold its number in the bucket of its rate; 0 for a budget."""
    escrow: str = ""
    """The lease that it took from, and how much for each hold; empty when it took nothing."""
    drawn: tuple[int, ...] = ()


class Counters:
    """Every ledger and lease, and what operators changed."""

    def __init__(self) -> None:
        """Start empty."""
        self.ledgers: dict[str, _Ledger] = {}
        self.entries: dict[str, _Entry] = {}
        self.halts: dict[str, Halted] = {}
        self.adjustments: dict[str, Adjustment] = {}
        self._due: list[tuple[int, str]] = []
        self._ends: list[tuple[int, str]] = []

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """See `Store.reserve`."""
        now = request.now_ms
        self.sweep(now)
        known = self.entries.get(request.id)
        while known is not None and known.state is LeaseState.RESERVED and known.due_ms <= now:
            self.sweep(now)  # it had not come to this one: its call may be reserved again
            known = self.entries.get(request.id)
        if known is not None:
            same_call(request, known.payload)
            return Lease(id=request.id, holds=known.holds, state=known.state)
        if self.halts and (halted := halt_among(request.scopes, self.halts)):
            return halted
        holds = request.holds
        counts, escrow = self._against(request)
        short = first_shortfall(holds, counts, now)
        while short and self._due and self._due[0][0] <= now:  # nobody is turned away for what has expired
            self.sweep(now)
            counts, escrow = self._against(request)
            short = first_shortfall(holds, counts, now)
        if short:
            return short
        taken: tuple[int, ...] = ()
        if escrow is not None:
            taken = drawn(holds, left_in(escrow.holds))
            counts = as_spent(counts, taken)
        alerts, used, tightest = granting(holds, counts)
        numbers = tuple([self._take(hold, now) for hold in holds])
        state = LeaseState.DISPATCHED if request.dispatched else LeaseState.RESERVED
        due = now + request.ttl_ms
        entry = _Entry(holds, state, due, request.payload, request.run, numbers)
        if escrow is not None:
            entry.escrow, entry.drawn = request.escrow, taken
            escrow.holds, escrow.due_ms = less(escrow.holds, holds, taken), max(escrow.due_ms, due)
            self._reserve(holds, [-amount for amount in taken])
        self.entries[request.id] = entry
        heappush(self._due, (due, request.id))
        return _lease(id=request.id, holds=holds, state=state, passed=alerts, used_permille=used, tightest=tightest)

    def dispatch(self, lease: str, now_ms: int) -> bool:
        """See `Store.dispatch`."""
        self.sweep(now_ms)
        entry = self.entries.get(lease)
        if entry is None or entry.state not in _OPEN or entry.due_ms <= now_ms:
            return False
        entry.state = LeaseState.DISPATCHED
        return True

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """See `Store.extend`."""
        entry = self.entries.get(lease)
        if entry is None or entry.state not in _OPEN or entry.due_ms <= now_ms:
            return False
        entry.due_ms = max(entry.due_ms, now_ms + ttl_ms)
        return True

    def settle(self, charge: Charge) -> None:
        """See `Store.settle`. A lease that nobody remembers was forfeit long ago: its worst case stands."""
        entry = self.entries.get(charge.lease)
        if entry is None or entry.state in (LeaseState.SETTLED, LeaseState.RELEASED):
            return
        pairs = list(
            zip(entry.holds, charged(charge.amounts), entry.numbers, strict=True)
        )  # all or nothing, also when they do not match
        for hold, amount, number in pairs:
            self._move(hold, entry.state, amount, number, charge.now_ms)
        self._give_back(entry, charge.amounts)
        entry.state = LeaseState.SETTLED

    def release(self, lease: str, now_ms: int) -> None:
        """See `Store.release`."""
        entry = self.entries.get(lease)
        if entry is not None and entry.state in _OPEN:
            self._free(entry, now_ms)

    def balances(self, prefix: str) -> Sequence[Balance]:
        """See `Store.balances`."""
        return [self._balance(key, ledger) for key, ledger in sorted(self.ledgers.items()) if key.startswith(prefix)]

    def leases(self, run: str) -> Sequence[LeaseRecord]:
        """See `Store.leases`."""
        return [
            LeaseRecord(id=lease, state=entry.state, run=entry.run, holds=entry.holds, due_ms=entry.due_ms)
            for lease, entry in self.entries.items()
            if entry.state not in (LeaseState.SETTLED, LeaseState.RELEASED) and run in ("", entry.run)
        ]

    def adjust(self, change: Adjustment) -> None:
        """See `Store.adjust`."""
        if change.id in self.adjustments:
            return
        if change.kind is AdjustmentKind.HALT:
            self.halts[change.subject] = Halted(
                scope=change.subject, who=change.who, why=change.why, at_ms=change.at_ms
            )
        elif change.kind is AdjustmentKind.RESUME:
            self.halts.pop(change.subject, None)
        else:
            ledger = self.ledgers.get(change.subject)
            if ledger is None:
                raise StoreError(f"no ledger {change.subject}: see `governor budget list` for those there are.")
            if change.kind is AdjustmentKind.GRANT:
                ledger.granted += change.amount
            else:
                ledger.spent, ledger.bucket, ledger.opened_ms = 0, EMPTY, change.at_ms
                for entry in self.entries.values():
                    if entry.state is LeaseState.FORFEIT:
                        entry.holds = forgiven(entry.holds, change.subject)
        self.adjustments[change.id] = change

    def sweep(self, now_ms: int) -> None:
        """End what was not settled in time, forget what is long finished; at most `SWEEP` of each."""
        for _ in range(SWEEP):
            if not self._due or self._due[0][0] > now_ms:
                break
            self._expire(heappop(self._due)[1], now_ms)
        for _ in range(SWEEP):
            if not self._ends or self._ends[0][0] > now_ms:
                break
            self._end(heappop(self._ends)[1], now_ms)

    def _expire(self, lease: str, now_ms: int) -> None:
        entry = self.entries[lease]
        if entry.state is not LeaseState.FORFEIT and entry.due_ms > now_ms:  # a heartbeat came
            heappush(self._due, (entry.due_ms, lease))
        elif entry.state is LeaseState.DISPATCHED:
            for hold in entry.holds:
                ledger = self.ledgers.get(hold.ledger)  # one on which nothing was reserved may be gone
                if ledger is not None and not hold.per_ms:  # what flowed through a rate has flowed
                    ledger.reserved -= hold.amount
                    ledger.spent += hold.amount
            entry.state = LeaseState.FORFEIT
            heappush(self._due, (now_ms + KEEP_MS, lease))
        else:
            if entry.state is LeaseState.RESERVED:
                self._free(entry, now_ms)
            del self.entries[lease]

    def _free(self, entry: _Entry, now_ms: int) -> None:
        for hold, number in zip(entry.holds, entry.numbers, strict=True):
            self._move(hold, entry.state, 0, number, now_ms)
        self._give_back(entry, (0,) * len(entry.holds))
        entry.state = LeaseState.RELEASED

    def _give_back(self, entry: _Entry, charged: Sequence[int]) -> None:
        """Give to the escrow that a lease took from, if that is still open, what the lease did not use."""
        escrow = self.entries.get(entry.escrow) if entry.escrow else None
        if escrow is not None and escrow.state is LeaseState.RESERVED:
            given = back(entry.holds, entry.drawn, charged, left_in(escrow.holds))
            escrow.holds = more(escrow.holds, entry.holds, given)
            self._reserve(entry.holds, given)

    def _reserve(self, holds: Sequence[Hold], amounts: Sequence[int]) -> None:
        for hold, amount in zip(holds, amounts, strict=True):
            if amount and hold.ledger in self.ledgers:
                self.ledgers[hold.ledger].reserved += amount

    def _move(self, hold: Hold, state: LeaseState, amount: int, number: int, now_ms: int) -> None:
        """End one hold at `amount`."""
        ledger = self.ledgers.get(hold.ledger)
        if ledger is None:  # its window is long over
            return
        ledger.touched_ms = max(ledger.touched_ms, now_ms)
        if hold.per_ms:
            if state is not LeaseState.FORFEIT:
                ledger.bucket = given_back(ledger.bucket, hold, number, amount, now_ms)
            return
        spent, reserved = movement(state, hold.amount, amount)
        ledger.spent += spent
        ledger.reserved += reserved

    def _against(self, request: ReserveRequest) -> tuple[list[Counted], _Entry | None]:
        """What counts against each hold of a request, and the escrow that it takes from, if that is open."""
        counts = [self._counted(hold) for hold in request.holds]
        escrow = self.entries.get(request.escrow) if request.escrow else None
        if escrow is None or escrow.state is not LeaseState.RESERVED or escrow.due_ms <= request.now_ms:
            return counts, None
        return kept_for(request.holds, counts, left_in(escrow.holds)), escrow

    def _counted(self, hold: Hold) -> Counted:
        ledger = self.ledgers.get(hold.ledger)
        if not hold.earlier:
            if ledger is None:
                return NOTHING
            return _counted(spent=ledger.spent, reserved=ledger.reserved, granted=ledger.granted, bucket=ledger.bucket)
        all_slices = [self.ledgers[key] for key in (hold.ledger, *hold.earlier) if key in self.ledgers]
        return Counted(
            sum(each.spent for each in all_slices),
            sum(each.reserved for each in all_slices),
            sum(each.granted for each in all_slices),
        )

    def _take(self, hold: Hold, now_ms: int) -> int:
        """Put the hold on its ledger, opened if need be; the latest limit and the latest expiry stand. Its number in a bucket, or 0."""
        ledger = self.ledgers.get(hold.ledger)
        if ledger is None:
            ledger = _Ledger(
                hold.unit, hold.budget, hold.scope, hold.limit, hold.expires_ms, hold.per_ms, now_ms, now_ms
            )
            self.ledgers[hold.ledger] = ledger
            if hold.expires_ms is not None:
                heappush(self._ends, (hold.expires_ms, hold.ledger))
        ledger.limit, ledger.touched_ms = hold.limit, max(ledger.touched_ms, now_ms)
        if ledger.expires_ms is not None and hold.expires_ms is not None:
            ledger.expires_ms = max(ledger.expires_ms, hold.expires_ms)
        if not hold.per_ms:
            ledger.reserved += hold.amount
            return 0
        ledger.bucket = added(ledger.bucket, hold, now_ms)
        return ledger.bucket.taken

    def _end(self, key: str, now_ms: int) -> None:
        """Forget a ledger whose time is over, unless a lease still holds on it or its time was extended."""
        ledger = self.ledgers[key]
        ends = ledger.expires_ms or 0
        if ends > now_ms or ledger.reserved:
            heappush(self._ends, (max(ends, now_ms + KEEP_MS), key))
        else:
            del self.ledgers[key]

    @staticmethod
    def _balance(key: str, ledger: _Ledger) -> Balance:
        held = -(-ledger.bucket.level // ledger.per_ms) if ledger.per_ms else ledger.reserved
        return Balance(
            ledger=key,
            unit=ledger.unit,
            spent=ledger.spent,
            reserved=held,
            limit=ledger.limit,
            budget=ledger.budget,
            scope=ledger.scope,
            granted=ledger.granted,
            opened_ms=ledger.opened_ms,
            touched_ms=ledger.touched_ms,
            per_ms=ledger.per_ms,
        )
