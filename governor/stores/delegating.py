"""A store that is another one: what its subclasses do not say, the other store does."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from governor.stores.contract import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Adjustment, Balance, Charge, Halted, Lease, LeaseRecord, Refusal, ReserveRequest
    from governor.runs import RunState

__all__ = ["Delegating"]

T = TypeVar("T")


class Delegating(Store):
    """Another store's sync methods. The async twins are those of the contract, for a subclass to say where they run."""

    def __init__(self, store: Store) -> None:
        """`store` does the work."""
        self.store = store

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """As the store does."""
        return self.store.change(run, apply, later=later)

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """As the store does."""
        return self.store.reserve(request)

    def settle(self, charge: Charge) -> None:
        """As the store does."""
        self.store.settle(charge)

    def release(self, lease: str, now_ms: int) -> None:
        """As the store does."""
        self.store.release(lease, now_ms)

    def dispatch(self, lease: str, now_ms: int) -> bool:
        """As the store does."""
        return self.store.dispatch(lease, now_ms)

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """As the store does."""
        return self.store.extend(lease, ttl_ms, now_ms)

    def leases(self, run: str = "") -> Sequence[LeaseRecord]:
        """As the store does."""
        return self.store.leases(run)

    def adjust(self, adjustment: Adjustment) -> None:
        """As the store does."""
        self.store.adjust(adjustment)

    def audit(self, limit: int = 100) -> Sequence[Adjustment]:
        """As the store does."""
        return self.store.audit(limit)

    def halted(self, scopes: Sequence[str]) -> Halted | None:
        """As the store does."""
        return self.store.halted(scopes)

    def halts(self) -> Sequence[Halted]:
        """As the store does."""
        return self.store.halts()

    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """As the store does."""
        return self.store.balances(prefix)

    def keep(self, run: str, handle: str, text: str) -> None:
        """As the store does."""
        self.store.keep(run, handle, text)

    def recall(self, run: str, handle: str) -> str | None:
        """As the store does."""
        return self.store.recall(run, handle)

    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        """As the store does."""
        return self.store.open_run(thread, fresh, resume=resume)

    def latest_run(self, thread: str) -> str | None:
        """As the store does."""
        return self.store.latest_run(thread)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def same_as(self, other: Store) -> bool:
        """Whether both lead to the same ledgers, whatever is around them."""
        while isinstance(other, Delegating):
            other = other.store
        return self.store.same_as(other)
