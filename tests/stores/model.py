"""What a store of ledgers should hold, worked out anew from everything that ever happened: no counter that could be counted twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from governor.ledger import Adjustment, AdjustmentKind, Halted, Hold, LeaseState, Shortfall
from governor.stores.rates import EMPTY, Bucket, added, drained, given_back, retry_ms

__all__ = ["Known", "Model"]

OPEN = (LeaseState.RESERVED, LeaseState.DISPATCHED)


@dataclass
class Known:
    """What the model knows of one lease."""

    holds: tuple[Hold, ...]
    due_ms: int
    state: LeaseState
    payload: str
    run: str
    charged: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclass
class Model:
    """Ledgers as sums over leases; rates as what `governor.stores.rates` makes of their calls in order."""

    leases: dict[str, Known] = field(default_factory=dict)
    rates: dict[str, Bucket] = field(default_factory=dict)
    forgiven: dict[str, int] = field(default_factory=dict)
    adjustments: dict[str, Adjustment] = field(default_factory=dict)
    halts: dict[str, Halted] = field(default_factory=dict)

    def balance(self, *ledgers: str) -> tuple[int, int]:
        """(spent, reserved) of these ledgers together."""
        spent, reserved = -sum(self.forgiven.get(ledger, 0) for ledger in ledgers), 0
        for lease in self.leases.values():
            for position, each in enumerate(lease.holds):
                if each.per_ms or each.ledger not in ledgers:
                    continue
                if lease.state in OPEN:
                    reserved += each.amount
                elif lease.state is LeaseState.FORFEIT:
                    spent += each.amount
                elif lease.state is LeaseState.SETTLED:
                    spent += lease.charged[position]
        return spent, reserved

    def granted(self, *ledgers: str) -> int:
        """What operators added to these ledgers."""
        return sum(
            each.amount
            for each in self.adjustments.values()
            if each.kind is AdjustmentKind.GRANT and each.subject in ledgers
        )

    def knows(self, ledger: str) -> bool:
        """Whether anything was ever held on it."""
        return any(hold.ledger == ledger for lease in self.leases.values() for hold in lease.holds)

    def shortfall(self, holds: tuple[Hold, ...], now_ms: int) -> Shortfall | None:
        """The first hold that does not fit."""
        taken: dict[str, int] = {}
        for hold in holds:
            before = taken.get(hold.ledger, 0)
            if hold.per_ms:
                bucket = self.rates.get(hold.ledger, EMPTY)
                wait = retry_ms(bucket, hold, now_ms, before)
                if wait != 0:
                    level = -(-drained(bucket, hold.limit or 0, now_ms) // hold.per_ms)
                    return Shortfall(hold=hold, spent=0, reserved=level + before, retry_ms=wait)
            else:
                window = (hold.ledger, *hold.earlier)
                (spent, reserved), granted = self.balance(*window), self.granted(*window)
                if hold.limit is not None and spent + reserved + before + hold.amount > hold.limit + granted:
                    return Shortfall(hold=hold, spent=spent, reserved=reserved + before, granted=granted)
            taken[hold.ledger] = before + hold.amount
        return None

    def passed(self, holds: tuple[Hold, ...]) -> tuple[Shortfall, ...]:
        """The soft limits that these holds pass."""
        found: list[Shortfall] = []
        for hold in holds:
            (spent, reserved), granted = self.balance(hold.ledger), self.granted(hold.ledger)
            if hold.alert is not None and spent + reserved <= hold.alert + granted < spent + reserved + hold.amount:
                found.append(Shortfall(hold=hold, spent=spent, reserved=reserved, granted=granted))
        return tuple(found)

    def tightest(self, holds: tuple[Hold, ...]) -> tuple[int, str]:
        """How far the tightest hard budget is used, in thousandths, and its id: the first of those that are equal."""
        most = (-1, "")
        for hold in holds:
            if hold.limit is None or hold.per_ms:
                continue
            window = (hold.ledger, *hold.earlier)
            used = sum(self.balance(*window)) * 1_000 // max(1, hold.limit + self.granted(*window))
            if used > most[0]:
                most = (used, hold.budget)
        return max(0, most[0]), most[1]

    def take(self, lease: str, known: Known, now_ms: int) -> None:
        """Grant a lease."""
        numbers: list[int] = []
        for hold in known.holds:
            if hold.per_ms:
                self.rates[hold.ledger] = added(self.rates.get(hold.ledger, EMPTY), hold, now_ms)
            numbers.append(self.rates[hold.ledger].taken if hold.per_ms else 0)
        known.numbers = tuple(numbers)
        self.leases[lease] = known

    def end(self, lease: str, state: LeaseState, amounts: tuple[int, ...], now_ms: int) -> None:
        """Settle or release a lease. What a rate let through before a forfeit has flowed."""
        known = self.leases[lease]
        if known.state is not LeaseState.FORFEIT and state is not LeaseState.FORFEIT:
            for hold, number, amount in zip(known.holds, known.numbers, amounts, strict=True):
                if hold.per_ms:
                    bucket = self.rates.get(hold.ledger, EMPTY)  # none after a reset
                    self.rates[hold.ledger] = given_back(bucket, hold, number, amount, now_ms)
        known.state, known.charged = state, amounts

    def adjust(self, change: Adjustment) -> None:
        """Make an operator's change, once."""
        if change.id in self.adjustments:
            return
        self.adjustments[change.id] = change
        if change.kind is AdjustmentKind.HALT:
            self.halts[change.subject] = Halted(
                scope=change.subject, who=change.who, why=change.why, at_ms=change.at_ms
            )
        elif change.kind is AdjustmentKind.RESUME:
            self.halts.pop(change.subject, None)
        elif change.kind is AdjustmentKind.RESET:
            self.forgiven[change.subject] = self.forgiven.get(change.subject, 0) + self.balance(change.subject)[0]
            self.rates.pop(change.subject, None)
