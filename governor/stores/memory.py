"""The store of one process: dictionaries under a lock. Nothing outlives the process; everything else is the contract's."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from governor.ledger import Balance, Lease, LeaseState
from governor.runs import RunState, continued
from governor.stores.contract import Store
from governor.stores.ledgers import KEEP_MS, SWEEP, first_shortfall, movement, passed
from governor.values import maker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Charge, Hold, ReserveRequest, Shortfall, Unit

__all__ = ["MemoryStore"]

_lease = maker(Lease)

T = TypeVar("T")


@dataclass(slots=True)
class _Ledger:
    """Counters of one ledger. Mutable, and only touched under the store's lock."""

    unit: Unit
    budget: str
    scope: str
    limit: int | None
    expires_ms: int | None
    spent: int = 0
    reserved: int = 0


@dataclass(slots=True)
class _Entry:
    """A lease as kept: what it holds, where it stands."""

    holds: tuple[Hold, ...]
    state: LeaseState = LeaseState.DISPATCHED


@dataclass(slots=True)
class _Run:
    state: RunState
    kept: dict[str, str] = field(default_factory=dict[str, str])


class MemoryStore(Store):
    """Ledgers and run state in this process. Threads share it; the latest `max_runs` runs and threads are remembered."""

    def __init__(self, *, max_runs: int = 10_000) -> None:
        """Start empty. Beyond `max_runs` the run that was used longest ago is forgotten."""
        self._max_runs = max_runs
        self._money = Lock()
        self._ledgers: dict[str, _Ledger] = {}
        self._leases: dict[str, _Entry] = {}
        self._due: list[tuple[int, str]] = []
        self._ends: list[tuple[int, str]] = []
        self._state = Lock()
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._threads: OrderedDict[str, str] = OrderedDict()

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]]) -> T:
        """Replace the state of `run` under the lock; `apply` runs exactly once here and must not call the store."""
        with self._state:
            entry = self._runs.get(run)
            if entry is None:
                entry = self._run(run)
            else:
                self._runs.move_to_end(run)
            entry.state, answer = apply(entry.state)
        return answer

    def reserve(self, request: ReserveRequest) -> Lease | Shortfall:
        """Hold all or nothing; a repeated id answers the lease it got before, whatever the budgets say now."""
        with self._money:
            self._sweep(request.now_ms)
            known = self._leases.get(request.id)
            if known is not None:
                return Lease(id=request.id, holds=known.holds, state=known.state)
            short = first_shortfall(request.holds, self._balance)
            if short:
                return short
            alerts = passed(request.holds, self._balance)
            for hold in request.holds:
                self._open(hold).reserved += hold.amount
            due = request.now_ms + request.ttl_ms
            self._leases[request.id] = _Entry(request.holds)
            heappush(self._due, (due, request.id))
            return _lease(id=request.id, holds=request.holds, passed=alerts)

    def settle(self, charge: Charge) -> None:
        """Charge a lease once. A lease that nobody remembers was forfeit long ago: its worst case stands."""
        with self._money:
            entry = self._leases.get(charge.lease)
            if entry is None or entry.state in (LeaseState.SETTLED, LeaseState.RELEASED):
                return
            pairs = list(zip(entry.holds, charge.amounts, strict=True))  # all or nothing, also when they do not match
            for hold, amount in pairs:
                ledger = self._ledgers.get(hold.ledger)
                if ledger is None:  # its window is long over
                    continue
                spent, reserved = movement(entry.state, hold.amount, amount)
                ledger.spent += spent
                ledger.reserved += reserved
            entry.state = LeaseState.SETTLED

    def release(self, lease: str, now_ms: int) -> None:
        """Give a dispatched lease back whole."""
        del now_ms
        with self._money:
            entry = self._leases.get(lease)
            if entry is None or entry.state is not LeaseState.DISPATCHED:
                return
            for hold in entry.holds:
                self._ledgers[hold.ledger].reserved -= hold.amount
            entry.state = LeaseState.RELEASED

    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """Ledgers whose key begins with `prefix`, in key order."""
        with self._money:
            return [
                Balance(
                    ledger=key,
                    unit=ledger.unit,
                    spent=ledger.spent,
                    reserved=ledger.reserved,
                    limit=ledger.limit,
                    budget=ledger.budget,
                    scope=ledger.scope,
                )
                for key, ledger in sorted(self._ledgers.items())
                if key.startswith(prefix)
            ]

    def keep(self, run: str, handle: str, text: str) -> None:
        """Remember `text` for as long as the run is remembered."""
        with self._state:
            self._run(run).kept[handle] = text

    def recall(self, run: str, handle: str) -> str | None:
        """The text under `handle`, or None."""
        with self._state:
            entry = self._runs.get(run)
            return entry.kept.get(handle) if entry else None

    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        """`fresh`, or on a resume the run that the thread had last."""
        if thread is None:
            return fresh
        with self._state:
            before = self._threads.get(thread)
            run = before if resume and before is not None else fresh
            if before is not None and before in self._runs and run != before:
                self._run(run).state = continued(self._runs[before].state)
            self._threads[thread] = run
            self._threads.move_to_end(thread)
            if len(self._threads) > self._max_runs:
                self._threads.popitem(last=False)
            return run

    def latest_run(self, thread: str) -> str | None:
        """The run that the thread had last."""
        with self._state:
            return self._threads.get(thread)

    def close(self) -> None:
        """Nothing to release."""

    def _run(self, run: str) -> _Run:
        """The run's entry, freshened; forgets the one used longest ago when there are too many."""
        entry = self._runs.get(run)
        if entry is None:
            entry = self._runs[run] = _Run(RunState())
            if len(self._runs) > self._max_runs:
                self._runs.popitem(last=False)
        else:
            self._runs.move_to_end(run)
        return entry

    def _balance(self, key: str) -> tuple[int, int]:
        ledger = self._ledgers.get(key)
        return (ledger.spent, ledger.reserved) if ledger else (0, 0)

    def _open(self, hold: Hold) -> _Ledger:
        """The ledger of a hold, opened if need be; the latest limit and the latest expiry stand."""
        ledger = self._ledgers.get(hold.ledger)
        if ledger is None:
            ledger = _Ledger(hold.unit, hold.budget, hold.scope, hold.limit, hold.expires_ms)
            self._ledgers[hold.ledger] = ledger
            if hold.expires_ms is not None:
                heappush(self._ends, (hold.expires_ms, hold.ledger))
        ledger.limit = hold.limit
        if ledger.expires_ms is not None and hold.expires_ms is not None:
            ledger.expires_ms = max(ledger.expires_ms, hold.expires_ms)
        return ledger

    def _sweep(self, now_ms: int) -> None:
        """Forfeit what was dispatched and never settled, forget what is long finished; at most `SWEEP` of each."""
        for _ in range(SWEEP):
            if not self._due or self._due[0][0] > now_ms:
                break
            _, lease = heappop(self._due)
            entry = self._leases[lease]
            if entry.state is LeaseState.DISPATCHED:
                self._forfeit(entry)
                heappush(self._due, (now_ms + KEEP_MS, lease))
            else:
                del self._leases[lease]
        for _ in range(SWEEP):
            if not self._ends or self._ends[0][0] > now_ms:
                break
            _, key = heappop(self._ends)
            self._end(key, now_ms)

    def _forfeit(self, entry: _Entry) -> None:
        for hold in entry.holds:
            ledger = self._ledgers[hold.ledger]
            ledger.reserved -= hold.amount
            ledger.spent += hold.amount
        entry.state = LeaseState.FORFEIT

    def _end(self, key: str, now_ms: int) -> None:
        """Forget a ledger whose time is over, unless a lease still holds on it or its time was extended."""
        ledger = self._ledgers[key]
        ends = ledger.expires_ms or 0
        if ends > now_ms or ledger.reserved:
            heappush(self._ends, (max(ends, now_ms + KEEP_MS), key))
        else:
            del self._ledgers[key]
