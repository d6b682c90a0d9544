"""What a store of ledgers should hold, worked out anew from everything that ever happened: no counter that could be counted twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
    escrow: str = ""
    drawn: tuple[int, ...] = ()


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

    def kept(self, escrow: str, now_ms: int) -> dict[str, int]:
        """What an escrow still has, by ledger; nothing when it is over."""
        known, left = self.leases.get(escrow), dict[str, int]()
        if known is not None and known.state is LeaseState.RESERVED and known.due_ms > now_ms:
            for hold in known.holds:
                left[hold.ledger] = left.get(hold.ledger, 0) + (0 if hold.per_ms else hold.amount)
        return left

    def shortfall(self, holds: tuple[Hold, ...], now_ms: int, escrow: str = "") -> Shortfall | None:
        """The first hold that does not fit."""
        left = self.kept(escrow, now_ms)
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
                reserved -= left.get(hold.ledger, 0)
                if hold.limit is not None and spent + reserved + before + hold.amount > hold.limit + granted:
                    return Shortfall(hold=hold, spent=spent, reserved=reserved + before, granted=granted)
            taken[hold.ledger] = before + hold.amount
        return None

    def passed(self, holds: tuple[Hold, ...], parts: tuple[int, ...], left: dict[str, int]) -> tuple[Shortfall, ...]:
        """The soft limits that these holds pass; for what is taken from an escrow only what is spent counts."""
        found: list[Shortfall] = []
        for at, hold in enumerate(holds):
            (spent, reserved), granted = self.balance(hold.ledger), self.granted(hold.ledger)
            reserved = 0 if parts[at] else reserved - left.get(hold.ledger, 0)
            if hold.alert is not None and spent + reserved <= hold.alert + granted < spent + reserved + hold.amount:
                found.append(Shortfall(hold=hold, spent=spent, reserved=reserved, granted=granted))
        return tuple(found)

    def parts(self, holds: tuple[Hold, ...], now_ms: int, escrow: str) -> tuple[int, ...]:
        """What each hold takes from an escrow."""
        left, parts = self.kept(escrow, now_ms), list[int]()
        for hold in holds:
            parts.append(0 if hold.per_ms else min(hold.amount, left.get(hold.ledger, 0)))
            left[hold.ledger] = left.get(hold.ledger, 0) - parts[-1]
        return tuple(parts)

    def tightest(self, holds: tuple[Hold, ...], parts: tuple[int, ...], left: dict[str, int]) -> tuple[int, str]:
        """How far the tightest hard budget is used, in thousandths, and its id: the first of those that are equal."""
        most = (-1, "")
        for at, hold in enumerate(holds):
            if hold.limit is None or hold.per_ms:
                continue
            window = (hold.ledger, *hold.earlier)
            (spent, reserved), kept = self.balance(*window), left.get(hold.ledger, 0)
            weight = spent if parts[at] else spent + reserved - kept
            used = weight * 1_000 // max(1, hold.limit + self.granted(*window))
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

    def move(self, escrow: str, holds: tuple[Hold, ...], amounts: tuple[int, ...]) -> None:
        """Give to an escrow, or take from it what is negative; the first of its holds on the ledger that has as much."""
        known = self.leases[escrow]
        for hold, amount in zip(holds, amounts, strict=True):
            for at, each in enumerate(known.holds):
                if amount and each.ledger == hold.ledger and not each.per_ms:
                    step = max(amount, -each.amount)
                    changed = replace(each, amount=each.amount + step)
                    known.holds, amount = (*known.holds[:at], changed, *known.holds[at + 1 :]), amount - step  # noqa: PLW2901

    def end(self, lease: str, state: LeaseState, amounts: tuple[int, ...], now_ms: int) -> None:
        """Settle or release a lease. What a rate let through before a forfeit has flowed."""
        known = self.leases[lease]
        if known.state is not LeaseState.FORFEIT and state is not LeaseState.FORFEIT:
            for hold, number, amount in zip(known.holds, known.numbers, amounts, strict=True):
                if hold.per_ms:
                    bucket = self.rates.get(hold.ledger, EMPTY)  # none after a reset
                    self.rates[hold.ledger] = given_back(bucket, hold, number, amount, now_ms)
        escrow = self.leases.get(known.escrow)
        if escrow is not None and escrow.state is LeaseState.RESERVED:
            for hold, part, amount in zip(known.holds, known.drawn, amounts, strict=True):
                left = self.kept(known.escrow, -1).get(hold.ledger, 0)
                unused = min(part, hold.amount - amount)
                self.move(known.escrow, (hold,), (0 if hold.per_ms else max(unused, -left),))
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
            for lease in self.leases.values():
                if lease.state is LeaseState.FORFEIT:
                    lease.holds = tuple(
                        replace(hold, amount=0) if hold.ledger == change.subject and not hold.per_ms else hold
                        for hold in lease.holds
                    )
            self.forgiven[change.subject] = self.forgiven.get(change.subject, 0) + self.balance(change.subject)[0]
            self.rates.pop(change.subject, None)
