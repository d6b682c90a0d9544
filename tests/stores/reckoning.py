"""A crew of workers that are killed and replaced until all the work is done; then the provider's bill beside the ledgers."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.ledger import LeaseState, ReserveRequest
from tests.stores.killing import LEVELS, Job, holds, started

if TYPE_CHECKING:
    from governor.stores.contract import Store

__all__ = ["Reckoning", "crew", "reckoned"]

OPEN = (LeaseState.RESERVED, LeaseState.DISPATCHED)


@dataclass(slots=True, kw_only=True)
class Reckoning:
    """What the provider billed and what was charged, once every lease's time is over."""

    calls: int
    """Calls that reached the provider."""
    true: int
    """What they cost, in nano-USD."""
    spent: dict[str, int]
    """By level."""
    reserved: dict[str, int]
    forfeits: set[str]
    """Leases that are charged at their worst case."""
    never_dispatched: set[str]
    """Of these, the ones whose worker never asked to dispatch them. There may be none."""
    crashes: Counter[str]
    """Where workers killed themselves."""
    swept_s: float
    """How long the ledgers took to be free of every dead worker's reservation."""

    @property
    def overcharge(self) -> float:
        """What was charged beyond the true cost, as part of it, on the level that charged most."""
        return max(self.spent.values(), default=0) / self.true - 1 if self.true else 0.0


def crew(job: Job, workers: int, *, kills: int = 0) -> int:
    """Do `job.calls` calls in each of so many workers, replacing those that die. How many were killed from outside.

    `kills`: so many times one of them at a random moment, and then whoever is left: give them more calls than they can make by then.
    """
    random_ = random.Random(job.seed)
    left = dict.fromkeys(range(workers), job.calls)
    running: dict[int, tuple[Any, Job]] = {}
    generation, killed = Counter[int](), 0
    while left or running:
        for slot, calls in left.items():
            generation[slot] += 1
            its = replace(job, name=f"w{slot}g{generation[slot]}", calls=calls)
            running[slot] = (started(its), its)
        left = {}
        slot = random_.choice(list(running))
        process, its = running[slot]
        if kills:
            while process.is_alive() and len(_lines(job.folder / "bill")) <= killed:
                process.join(0.01)  # on a busy machine a worker is slow to begin: somebody has to spend
            process.join(random_.uniform(0.005, 0.08))  # a moment that neither side chooses
            if process.is_alive():
                process.kill()
                killed += 1
        process.join(120)
        del running[slot]
        if kills and killed >= kills:
            continue
        rest = its.calls - _begun(job.folder, its.name) if process.exitcode else 0
        if rest > 0:  # the call that it died in is not made again: nobody knows what became of it
            left[slot] = rest
    return killed


def _begun(folder: Path, name: str) -> int:
    """How many calls a dead worker began: at least one, so that the crew ends."""
    numbers = [words[1].rsplit("-", 1) for words in _lines(folder / "notes")]
    return max((int(number) for worker, number in numbers if worker == name), default=1)


def reckoned(store: Store, folder: Path, now_ms: int, patience_s: float = 0.0) -> Reckoning:
    """What became of it all.

    `now_ms` lies beyond every lease's time, for a store that takes time from its requests; one with a clock of its own is given
    `patience_s`.
    """
    swept_s = _sweep(store, now_ms, patience_s)
    bill = {lease: int(amount) for lease, amount in _lines(folder / "bill")}
    dispatched, crashes = set[str](), Counter[str]()
    for kind, lease, *point in _lines(folder / "notes"):
        crashes.update(point)
        if kind == "dispatching":
            dispatched.add(lease)
    forfeits = {each.id for each in store.leases() if each.state is LeaseState.FORFEIT and each.run != "sweep"}
    waiting = {line[1] for line in _lines(folder / "notes") if line[0] == "waits"}
    balances = {each.ledger: each for each in store.balances() if each.ledger in LEVELS}
    return Reckoning(
        calls=len(bill),
        true=sum(bill.values()),
        spent={ledger: balance.spent for ledger, balance in balances.items()},
        reserved={ledger: balance.reserved for ledger, balance in balances.items()},
        forfeits=forfeits,
        never_dispatched=(forfeits & waiting) - dispatched,
        crashes=crashes,
        swept_s=swept_s,
    )


def _sweep(store: Store, now_ms: int, patience_s: float) -> float:
    """Reserve nothing, elsewhere, as often as it takes: each looks after a bounded number of leases whose time is over. Seconds it took."""
    nothing, begun, ever = replace(holds(0)[0], ledger="sweep/s"), time.monotonic(), threading.Event()
    open_before, number = -1, 0
    while True:
        number += 1
        request = ReserveRequest(id=f"sweep-{number}", holds=(nothing,), ttl_ms=1, now_ms=now_ms + number, run="sweep")
        store.reserve(request)
        store.release(request.id, now_ms + number)
        open_now = sum(each.state in OPEN for each in store.leases())
        if not open_now:
            return time.monotonic() - begun
        if open_now == open_before and time.monotonic() - begun > patience_s:
            return time.monotonic() - begun
        open_before = open_now
        if patience_s:
            ever.wait(0.01)


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []
