"""What the tests of a store stand on: holds with plausible words, a clock, short words for the store's operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.ledger import Adjustment, Charge, Hold, ReserveRequest, Unit
from governor.testing.fakes import START_MS
from governor.values import replace

if TYPE_CHECKING:
    from governor.ledger import AdjustmentKind, Lease, Refusal
    from governor.stores.contract import Store

__all__ = ["StoreTests", "hold", "rate", "spent_and_reserved"]


def hold(ledger: str = "run/a", amount: int = 10, limit: int | None = 100, *, expires_ms: int | None = None) -> Hold:
    """A hold in nano-USD with plausible words around it."""
    return Hold(
        ledger=ledger,
        unit=Unit.NANO_USD,
        amount=amount,
        limit=limit,
        budget=ledger.split("/", maxsplit=1)[0],
        scope="run=a",
        written=str(limit),
        expires_ms=expires_ms,
    )


def rate(amount: int = 10, limit: int = 100, *, per_ms: int = 3_600_000, ledger: str = "rate/m") -> Hold:
    """A hold in tokens on a rate of `limit` each hour, so slow that nothing drains within a test."""
    return replace(hold(ledger, amount, limit), unit=Unit.TOKENS, per_ms=per_ms)


def spent_and_reserved(store: Store) -> dict[str, tuple[int, int]]:
    """(spent, reserved) of every ledger that holds anything."""
    return {
        balance.ledger: (balance.spent, balance.reserved)
        for balance in store.balances()
        if balance.spent or balance.reserved
    }


class StoreTests:
    """A store and a clock, and short words for what tests do with them. `StoreConformance` has the tests."""

    ttl_ms = 50
    now_ms = START_MS

    def make_store(self) -> Store:
        """An empty store. Each test calls it once, through `store`."""
        raise NotImplementedError

    def elapse(self, ms: int) -> None:
        """Let time pass. A store with a clock of its own has to wait for real."""
        self.now_ms += ms

    def setup_method(self) -> None:
        """Start from an empty store."""
        self.store = self.make_store()

    def teardown_method(self) -> None:
        """Leave nothing open."""
        self.store.close()

    def request(self, lease: str, *holds: Hold) -> ReserveRequest:
        """A request for `holds` now, of a call that begins at once."""
        return ReserveRequest(id=lease, holds=holds, ttl_ms=self.ttl_ms, now_ms=self.now_ms)

    def reserve(self, lease: str, *holds: Hold) -> Lease | Refusal:
        """Reserve `holds` now."""
        return self.store.reserve(self.request(lease, *holds))

    def wait(self, lease: str, *holds: Hold) -> Lease | Refusal:
        """Reserve `holds` now for a call that waits."""
        return self.store.reserve(replace(self.request(lease, *holds), dispatched=False))

    def sweep(self) -> None:
        """Give the store an occasion to look after what has expired."""
        self.reserve(f"sweep at {self.now_ms}", hold("other/o", 0))

    def adjust(
        self, kind: AdjustmentKind, subject: str, amount: int = 0, *, key: str = "", why: str = "why not"
    ) -> Adjustment:
        """Make an operator's change now; its id is `key`, or made of what it does."""
        change = Adjustment(
            id=key or f"{kind}/{subject}/{amount}",
            kind=kind,
            subject=subject,
            amount=amount,
            who="ann",
            why=why,
            at_ms=START_MS,
        )
        self.store.adjust(change)
        return change

    def settle(self, lease: str, *amounts: int) -> None:
        """Settle at `amounts` now."""
        self.store.settle(Charge(lease=lease, amounts=amounts, now_ms=self.now_ms))

    def release(self, lease: str) -> None:
        """Release now."""
        self.store.release(lease, self.now_ms)

    def balances(self) -> dict[str, tuple[int, int]]:
        """(spent, reserved) by ledger."""
        return spent_and_reserved(self.store)
