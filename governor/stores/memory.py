"""The store of one process: dictionaries under a lock. Nothing outlives the process; everything else is the contract's."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from governor.runs import RunState, continued
from governor.stores.contract import Store
from governor.stores.counters import Counters
from governor.stores.ledgers import halt_among

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Adjustment, Balance, Charge, Halted, Lease, LeaseRecord, Refusal, ReserveRequest

__all__ = ["MemoryStore"]

T = TypeVar("T")


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
        self._counters = Counters()
        self._state = Lock()
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._threads: OrderedDict[str, str] = OrderedDict()

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """Replace the state of `run` under the lock, now; `apply` runs exactly once here and must not call the store."""
        del later
        with self._state:
            entry = self._runs.get(run)
            if entry is None:
                entry = self._run(run)
            else:
                self._runs.move_to_end(run)
            entry.state, answer = apply(entry.state)
        return answer

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Hold all or nothing; a repeated id answers the lease it got before, whatever the budgets say now."""
        with self._money:
            return self._counters.reserve(request)

    def dispatch(self, lease: str, now_ms: int) -> bool:
        """The call of a lease that waited begins now."""
        with self._money:
            return self._counters.dispatch(lease, now_ms)

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """Let a lease live at least `ttl_ms` from now."""
        with self._money:
            return self._counters.extend(lease, ttl_ms, now_ms)

    def settle(self, charge: Charge) -> None:
        """Charge a lease once."""
        with self._money:
            self._counters.settle(charge)

    def release(self, lease: str, now_ms: int) -> None:
        """Give a lease back whole."""
        with self._money:
            self._counters.release(lease, now_ms)

    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """Ledgers whose key begins with `prefix`, in key order."""
        with self._money:
            return self._counters.balances(prefix)

    def leases(self, run: str = "") -> Sequence[LeaseRecord]:
        """Leases that are not settled or released."""
        with self._money:
            return self._counters.leases(run)

    def adjust(self, adjustment: Adjustment) -> None:
        """Make an operator's change."""
        with self._money:
            self._counters.adjust(adjustment)

    def audit(self, limit: int = 100) -> Sequence[Adjustment]:
        """The latest changes, newest first."""
        with self._money:
            return list(self._counters.adjustments.values())[: -limit - 1 : -1]

    def halted(self, scopes: Sequence[str]) -> Halted | None:
        """The halt of the first of these scopes that has one."""
        halts = self._counters.halts
        if not halts:  # read without the lock: every call asks
            return None
        with self._money:
            return halt_among(scopes, halts)

    def halts(self) -> Sequence[Halted]:
        """Every halt in force."""
        with self._money:
            return [halt for _, halt in sorted(self._counters.halts.items())]

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
