"""What a store promises. One conformance suite (`tests/stores`) runs on every implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Adjustment, Balance, Charge, Halted, Lease, LeaseRecord, Refusal, ReserveRequest
    from governor.runs import RunState

__all__ = ["Store"]

T = TypeVar("T")


class Store(ABC):
    """Ledgers and run state. Every method is atomic, idempotent where it takes an id, and raises StoreError when it cannot answer.

    Time comes with the request (`now_ms`) because an embedded store has no clock of its own; a served store uses its server's.
    The async twins default to the sync methods: an embedded store answers within microseconds. A store that waits on a
    network overrides them.
    """

    @abstractmethod
    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """Replace the state of `run` (a fresh `RunState` if there is none) by a pure function's result; answer its second part.

        `later`: a store across a network may write it together with the run's next operation, and may apply it to what it knows of the
        run. For counters and memories whose loss with the process costs nothing; never for what must be decided once.
        """

    @abstractmethod
    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Hold all or nothing, in one atomic step: a repeated id is answered first, then halts, then the first hold that does not fit.

        A budget does not fit when spent + reserved + amount > limit + granted over its window, a rate when its bucket would overflow.
        Sweeps some expired leases first, and all of them before it refuses. Raises LeaseConflict for a known id with another payload.
        """

    @abstractmethod
    def dispatch(self, lease: str, now_ms: int) -> bool:
        """The call of a lease that waited begins now. False when the lease is over: reserve again. Idempotent."""

    @abstractmethod
    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """Heartbeat of a long call: the lease ends no earlier than `ttl_ms` from now. False when it is over already."""

    @abstractmethod
    def leases(self, run: str = "") -> Sequence[LeaseRecord]:
        """Leases that are remembered and not settled or released, of one run or of all, oldest first."""

    @abstractmethod
    def adjust(self, adjustment: Adjustment) -> None:
        """Make an operator's change and remember it. Idempotent by id. Raises StoreError for a grant or reset of an unknown ledger."""

    @abstractmethod
    def audit(self, limit: int = 100) -> Sequence[Adjustment]:
        """The latest changes that operators made, newest first."""

    @abstractmethod
    def halted(self, scopes: Sequence[str]) -> Halted | None:
        """The halt of the first of these scopes that has one."""

    @abstractmethod
    def halts(self) -> Sequence[Halted]:
        """Every halt in force, in order of their scopes."""

    @abstractmethod
    def settle(self, charge: Charge) -> None:
        """Replace the lease's holds by the charged amounts. Once per lease; after a forfeit it trues the charge up, once."""

    @abstractmethod
    def release(self, lease: str, now_ms: int) -> None:
        """Give the lease's holds back: it was never dispatched, or the provider refused before any token. No effect on one that is over."""

    @abstractmethod
    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """Every ledger whose key begins with `prefix`, in key order."""

    @abstractmethod
    def keep(self, run: str, handle: str, text: str) -> None:
        """Store the full text behind a recall handle."""

    @abstractmethod
    def recall(self, run: str, handle: str) -> str | None:
        """The text kept under `handle`, or None."""

    @abstractmethod
    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        """Id of the run to use: `fresh`, or on a resume of `thread` the id it had before.

        A fresh run of a known thread begins with the lanes of the thread's run before (`governor.runs.continued`).
        """

    @abstractmethod
    def latest_run(self, thread: str) -> str | None:
        """Id of the run that `thread` had last, or None. Changes nothing."""

    @abstractmethod
    def close(self) -> None:
        """Release files and connections."""

    def same_as(self, other: Store) -> bool:
        """Whether both are the same ledgers. A store that several objects can open says so by overriding this."""
        return self is other

    async def aside(self, call: Callable[[], T]) -> T:
        """Make a blocking call that uses the store, from async code; off the loop where the store may keep it waiting."""
        return call()

    async def achange(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """Async twin of `change`."""
        return self.change(run, apply, later=later)

    async def adispatch(self, lease: str, now_ms: int) -> bool:
        """Async twin of `dispatch`."""
        return self.dispatch(lease, now_ms)

    async def aextend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """Async twin of `extend`."""
        return self.extend(lease, ttl_ms, now_ms)

    async def ahalted(self, scopes: Sequence[str]) -> Halted | None:
        """Async twin of `halted`."""
        return self.halted(scopes)

    async def areserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Async twin of `reserve`."""
        return self.reserve(request)

    async def asettle(self, charge: Charge) -> None:
        """Async twin of `settle`."""
        self.settle(charge)

    async def arelease(self, lease: str, now_ms: int) -> None:
        """Async twin of `release`."""
        self.release(lease, now_ms)

    async def akeep(self, run: str, handle: str, text: str) -> None:
        """Async twin of `keep`."""
        self.keep(run, handle, text)

    async def arecall(self, run: str, handle: str) -> str | None:
        """Async twin of `recall`."""
        return self.recall(run, handle)

    async def abalances(self, prefix: str = "") -> Sequence[Balance]:
        """Async twin of `balances`."""
        return self.balances(prefix)

    async def aleases(self, run: str = "") -> Sequence[LeaseRecord]:
        """Async twin of `leases`."""
        return self.leases(run)

    async def aadjust(self, adjustment: Adjustment) -> None:
        """Async twin of `adjust`."""
        self.adjust(adjustment)

    async def aaudit(self, limit: int = 100) -> Sequence[Adjustment]:
        """Async twin of `audit`."""
        return self.audit(limit)

    async def ahalts(self) -> Sequence[Halted]:
        """Async twin of `halts`."""
        return self.halts()
