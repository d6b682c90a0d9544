"""What a store promises. One conformance suite (`tests/stores`) runs on every implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Balance, Charge, Lease, ReserveRequest, Shortfall
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
    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]]) -> T:
        """Replace the state of `run` (a fresh `RunState` if there is none) by a pure function's result; answer its second part."""

    @abstractmethod
    def reserve(self, request: ReserveRequest) -> Lease | Shortfall:
        """Hold all or nothing: refused by the first hold for which spent + reserved + amount > limit. Sweeps expired leases first."""

    @abstractmethod
    def settle(self, charge: Charge) -> None:
        """Replace the lease's holds by the charged amounts. Once per lease; after a forfeit it trues the charge up, once."""

    @abstractmethod
    def release(self, lease: str, now_ms: int) -> None:
        """Give the lease's holds back. No effect on a lease that is settled, released or forfeit."""

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

    async def achange(self, run: str, apply: Callable[[RunState], tuple[RunState, T]]) -> T:
        """Async twin of `change`."""
        return self.change(run, apply)

    async def areserve(self, request: ReserveRequest) -> Lease | Shortfall:
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
