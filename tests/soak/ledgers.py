"""False denials: a random walk over a store beside plain sums, which has to grant exactly what fits and refuse nothing else.

    python -m tests.soak.ledgers                              1,000,000 operations on the memory store and as many on SQLite
    python -m tests.soak.ledgers --operations 5000 --seed 7 --json figures.json

Calls of one to four levels are reserved, waited for, dispatched, kept alive, settled (now and then above their hold), released, lost and
settled late, against fixed and rolling windows and limits that operators change. Each reservation is judged by sums that this module
keeps by itself: it shares no arithmetic with the stores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from governor.ledger import Adjustment, AdjustmentKind, Charge, Hold, Lease, ReserveRequest
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS, hold

if TYPE_CHECKING:
    from governor.stores.contract import Store

__all__ = ["Tally", "Walk", "main"]

TTL_MS, SLICE_MS, SLICES = 1_000, 5_000, 4
LEVELS = (("org/o", 6_000), ("tenant/a", 2_500), ("tenant/b", 2_500), ("run/a", 900), ("run/b", 900), ("run/c", 900))
LEVELS_BY_KEY = dict(LEVELS)
PATHS = (
    ("org/o", "tenant/a", "run/a", "roll"),
    ("org/o", "tenant/a", "run/b"),
    ("org/o", "tenant/b", "run/c", "roll"),
    ("run/a", "run/a"),
    ("roll",),
    ("org/o",),
)


@dataclass(slots=True)
class _Open:
    """A lease that may still cost."""

    holds: tuple[Hold, ...]
    due_ms: int
    begun: bool


@dataclass(slots=True)
class Tally:
    """What a walk found."""

    did: Counter[str]
    denied: int = 0
    """Refused although it fitted."""
    admitted: int = 0
    """Granted although it did not fit."""


class Walk:
    """One store, its sums, and dice."""

    def __init__(self, store: Store, seed: int) -> None:
        """Start with an empty store."""
        self.store, self.dice = store, Random(seed)
        self.limits, self.weights = dict(LEVELS), Counter[str]()
        self.leases, self.lost = OrderedDict[str, _Open](), OrderedDict[str, _Open]()
        self.now_ms, self.count, self.tally = START_MS, 0, Tally(Counter())

    def run(self, operations: int) -> Tally:
        """Make so many operations."""
        doing = {
            self.reserve: 45,
            self.settle: 22,
            self.release: 6,
            self.dispatch: 6,
            self.extend: 4,
            self.settle_late: 4,
            self.wait: 10,
            self.forgive: 3,
        }
        for each in self.dice.choices(list(doing), list(doing.values()), k=operations):
            each()
            self.tally.did[each.__name__] += 1
        return self.tally

    def hold(self, ledger: str, amount: int) -> Hold:
        """A hold of a call made now."""
        if ledger != "roll":
            return hold(ledger, amount, LEVELS_BY_KEY[ledger])
        at = self.now_ms // SLICE_MS
        earlier = tuple(f"roll/{at - back}" for back in range(SLICES - 1, 0, -1))
        ends = (at + SLICES + 1) * SLICE_MS + 10 * TTL_MS
        return replace(hold(f"roll/{at}", amount, 1_200, expires_ms=ends), earlier=earlier)

    def room(self, each: Hold) -> int:
        """What is left under the limit of a hold."""
        limit = self.limits.get(each.ledger, each.limit or 0)
        return limit - sum(self.weights[key] for key in (each.ledger, *each.earlier))

    def reserve(self) -> None:
        """Reserve what may fit: a third of the calls ask for exactly what is left, or for one more."""
        self.expire()
        path = self.dice.choice(PATHS)
        amount = self.dice.randint(0, 120)
        if self.dice.random() < 0.33:
            rest = min(self.room(self.hold(ledger, 0)) // path.count(ledger) for ledger in path)
            amount = max(0, min(300, rest + self.dice.randint(0, 1)))
        holds = tuple(self.hold(ledger, amount) for ledger in path)
        fits = all(self.room(each) >= amount * path.count(ledger) for each, ledger in zip(holds, path, strict=True))
        self.count += 1
        lease, begun = f"l{self.count}", self.dice.random() < 0.8
        ttl_ms = self.dice.choice((TTL_MS, TTL_MS, TTL_MS // 5, TTL_MS * 3))
        answer = self.store.reserve(
            ReserveRequest(id=lease, holds=holds, ttl_ms=ttl_ms, now_ms=self.now_ms, dispatched=begun)
        )
        granted = isinstance(answer, Lease)
        self.tally.denied += fits and not granted
        self.tally.admitted += granted and not fits
        self.tally.did["granted" if granted else "refused"] += 1
        if granted:
            self.leases[lease] = _Open(holds, self.now_ms + ttl_ms, begun)
            self.add(holds, [amount] * len(holds))

    def add(self, holds: tuple[Hold, ...], amounts: list[int]) -> None:
        """Count what the store now counts."""
        for each, amount in zip(holds, amounts, strict=True):
            self.weights[each.ledger] += amount

    def expire(self) -> None:
        """What waited too long weighs nothing any more; what began weighs what it held."""
        for lease, open_ in list(self.leases.items()):
            if open_.due_ms > self.now_ms:
                continue
            del self.leases[lease]
            if open_.begun:
                self.lost[lease] = open_
            else:
                self.add(open_.holds, [-each.amount for each in open_.holds])

    def any_of(self, leases: OrderedDict[str, _Open]) -> tuple[str, _Open] | None:
        """One of the leases, if there are any."""
        self.expire()
        return self.dice.choice(list(leases.items())) if leases else None

    def charge(self, lease: str, open_: _Open) -> None:
        """Settle; one call in fifty cost more than it held. Repeated now and then."""
        over = 20 if self.dice.random() < 0.02 else 0
        amounts = [self.dice.randint(0, each.amount) + over for each in open_.holds]
        for _ in range(self.dice.choice((1, 1, 2))):
            self.store.settle(Charge(lease=lease, amounts=tuple(amounts), now_ms=self.now_ms))
        self.add(open_.holds, [amount - each.amount for each, amount in zip(open_.holds, amounts, strict=True)])

    def settle(self) -> None:
        """A call ends."""
        if found := self.any_of(self.leases):
            del self.leases[found[0]]
            self.charge(*found)

    def settle_late(self) -> None:
        """A call ends after its time; most never do."""
        if found := self.any_of(self.lost):
            del self.lost[found[0]]
            self.charge(*found)
        while len(self.lost) > 50:
            self.lost.popitem(last=False)

    def release(self) -> None:
        """A call did not take place."""
        if found := self.any_of(self.leases):
            lease, open_ = found
            del self.leases[lease]
            self.store.release(lease, self.now_ms)
            self.add(open_.holds, [-each.amount for each in open_.holds])

    def dispatch(self) -> None:
        """A call begins, if it waited."""
        if found := self.any_of(self.leases):
            found[1].begun = True
            self.tally.denied += not self.store.dispatch(found[0], self.now_ms)

    def extend(self) -> None:
        """A call takes longer."""
        if found := self.any_of(self.leases):
            found[1].due_ms = max(found[1].due_ms, self.now_ms + TTL_MS)
            self.tally.denied += not self.store.extend(found[0], TTL_MS, self.now_ms)

    def wait(self) -> None:
        """Time passes: mostly little."""
        self.now_ms += self.dice.choice((1, 10, 50, 100, 400))

    def forgive(self) -> None:
        """An operator gives as much as was spent, so that the walk goes on, or takes a little back."""
        key = self.dice.choice(LEVELS)[0]
        if not self.weights[key]:
            return
        self.count += 1
        amount = self.weights[key] - self.limits[key] + self.dice.randint(0, LEVELS_BY_KEY[key])
        self.limits[key] += amount
        change = Adjustment(
            id=f"g{self.count}",
            kind=AdjustmentKind.GRANT,
            subject=key,
            amount=amount,
            who="soak",
            why="walk on",
            at_ms=self.now_ms,
        )
        self.store.adjust(change)


def main() -> None:
    """Walk over both stores, print a table, exit 1 when anything was refused that fitted or granted that did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = Table(title=f"{options.operations} operations on each store")
    for column in ("store", "granted", "refused", "refused though it fitted", "granted though it did not", "seconds"):
        table.add_column(column, justify="right")
    figures: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, Store] = {"memory": MemoryStore(), "sqlite": SqliteStore(Path(folder) / "governor.db")}
        for name, store in stores.items():
            started = time.monotonic()
            tally = Walk(store, options.seed).run(options.operations)
            store.close()
            figures[name] = {
                "granted": tally.did["granted"],
                "refused": tally.did["refused"],
                "false denials": tally.denied,
                "false grants": tally.admitted,
            }
            table.add_row(name, *map(str, figures[name].values()), f"{time.monotonic() - started:.0f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    sys.exit(any(each["false denials"] or each["false grants"] for each in figures.values()))


if __name__ == "__main__":
    main()
