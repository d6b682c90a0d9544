"""Workers that spend from one store and are killed, and the provider that bills them. `reckoning.py` compares the two.

A worker reserves on four levels, calls the provider and settles. The provider is a file: a call is billed the moment that its line is
there, synced to the disk, whatever becomes of the worker. So the true cost is known to the token, and every ledger is compared to it.

One call in eight waits: it is reserved first and dispatched later. Nine points lie between the steps; a worker kills itself at one, or is
killed from outside at any moment.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.errors import StoreError
from governor.ledger import Charge, Hold, Lease, ReserveRequest, Unit
from tests.stores.places import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AT_ONCE", "LEVELS", "WAITING", "WORST", "Job", "cost", "holds", "spend", "started"]

LEVELS = ("org/o", "tenant/o/t", "user/o/t/u", "run/o/t/u/r")
WORST = 1_000
"""What each call reserves on every level, in nano-USD."""
LEAST = 400
"""What it costs at least: the mean is 0.7 of what is reserved."""
PLENTY = 10**12
AT_ONCE = ("before reserve", "reserved", "sent", "answered", "settled")
"""Points of a call that begins at once. What happened last is what the point is called."""
WAITING = ("before reserve", "waiting", "dispatched", "sent", "answered", "settled")
EIGHTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker process is to do."""

    store: str
    """Address, as `tests.stores.places` reads it."""
    folder: Path
    """Where the provider's bill and the worker's own notes are."""
    name: str
    calls: int
    seed: int = 0
    ttl_ms: int = 60_000
    now_ms: int | None = None
    """A clock that stands still, for stores that take time from the request. None: the machine's."""
    die_at: tuple[str, int] | None = None
    """A point, and the number of the call that dies there."""
    crash_permille: int = 0
    """How many of a thousand calls kill their worker, at any of their points."""
    waiting: bool | None = None
    """Whether calls wait before they are dispatched. None: every eighth."""


def holds(amount: int = WORST, limit: int = PLENTY) -> tuple[Hold, ...]:
    """One hold on each level."""
    return tuple(
        Hold(
            ledger=ledger,
            unit=Unit.NANO_USD,
            amount=amount,
            limit=limit,
            budget=ledger.split("/", maxsplit=1)[0],
            scope=ledger,
            written=str(limit),
        )
        for ledger in LEVELS
    )


def cost(lease: str) -> int:
    """What the provider takes for a call: made up from its name, so that it is known without asking."""
    return random.Random(lease).randint(LEAST, WORST)


class _Notes:
    """A file that lines are added to, each in one write: what a killed process wrote, stays."""

    def __init__(self, path: Path, *, synced: bool) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._synced = synced

    def add(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())
        if self._synced:
            os.fsync(self._file)


class _Worker:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.store = opened(job.store)
        self.bill = _Notes(job.folder / "bill", synced=True)
        self.notes = _Notes(job.folder / "notes", synced=False)
        self.random = random.Random(f"{job.name} {job.seed}")

    def now(self) -> int:
        return self.job.now_ms if self.job.now_ms is not None else time.time_ns() // 1_000_000

    def call(self, number: int) -> None:
        lease = f"{self.job.name}-{number}"
        waiting = number % EIGHTH == 0 if self.job.waiting is None else self.job.waiting
        doomed = self._doom(number, WAITING if waiting else AT_ONCE)
        for point in self._steps(lease, waiting=waiting):
            if point == doomed:
                self.notes.add("died", lease, point.replace(" ", "-"))
                os.kill(os.getpid(), signal.SIGKILL)

    def _doom(self, number: int, points: tuple[str, ...]) -> str | None:
        if self.job.die_at and self.job.die_at[1] == number:
            return self.job.die_at[0]
        crashes = self.random.randrange(1_000) < self.job.crash_permille
        return self.random.choice(points) if crashes else None

    def _steps(self, lease: str, *, waiting: bool) -> Iterator[str]:
        """One call, stopping at each point. A store that does not answer, or a lease that is over, ends it before it is sent."""
        yield "before reserve"
        if waiting:
            self.notes.add("waits", lease)
        request = ReserveRequest(
            id=lease,
            holds=holds(),
            ttl_ms=self.job.ttl_ms,
            now_ms=self.now(),
            dispatched=not waiting,
            run=self.job.name,
        )
        try:
            if not isinstance(self.store.reserve(request), Lease):
                return
            if waiting:
                yield "waiting"
                self.notes.add("dispatching", lease)
                if not self.store.dispatch(lease, self.now()):
                    return
                yield "dispatched"
            else:
                yield "reserved"
        except StoreError:
            self.notes.add("unanswered", lease)
            return
        self.bill.add(lease, cost(lease))
        yield "sent"
        self.notes.add("answered", lease)
        yield "answered"
        try:
            self.store.settle(Charge(lease=lease, amounts=(cost(lease),) * len(LEVELS), now_ms=self.now()))
        except StoreError:
            self.notes.add("unsettled", lease)
            return
        self.notes.add("settled", lease)
        yield "settled"


def spend(job: Job) -> None:
    """A worker's life: all its calls, unless it is killed before."""
    worker = _Worker(job)
    for number in range(1, job.calls + 1):
        worker.call(number)
    worker.store.close()


def started(job: Job) -> Any:
    """The job in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.stores.killing"])
    process: Any = context.Process(target=spend, args=(job,), name=job.name)
    process.start()
    return process
