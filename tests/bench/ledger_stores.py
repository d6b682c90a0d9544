"""What the stores themselves take: reserve and settle on four levels, a bare PING beside Redis, and denials that were not true."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sqlite3
import statistics
import time
from typing import Any

from governor.ledger import Charge, Lease, ReserveRequest
from governor.stores.memory import MemoryStore
from tests.stores.killing import LEVELS, holds
from tests.stores.places import opened

TASKS = 50
Times = list[float]
"""Microseconds."""


def pairs(store: Any, name: str, times: int) -> Times:
    """Reserve + settle, so many times; microseconds of each pair."""
    asked, taken = holds(), list[float]()
    for number in range(times):
        request = ReserveRequest(id=f"{name}-{number}", holds=asked, ttl_ms=60_000, now_ms=_now())
        charge = Charge(lease=request.id, amounts=(700,) * len(LEVELS), now_ms=request.now_ms)
        begun = time.perf_counter_ns()
        store.reserve(request)
        store.settle(charge)
        taken.append((time.perf_counter_ns() - begun) / 1_000)
    return taken


def in_processes(address: str, processes: int, times: int) -> Times:
    """The same in several processes at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bench.ledger_stores"])
    told, gate = context.Queue(), context.Barrier(processes)
    made = [context.Process(target=_process, args=(address, f"p{n}", times, gate, told)) for n in range(processes)]
    for process in made:
        process.start()
    found = [taken for _ in made for taken in told.get(timeout=120)]
    for process in made:
        process.join(60)
    return found


def additions(times: int = 200) -> Times:
    """A yardstick of the interpreter: figures in microseconds compare between machines only beside it."""
    taken = list[float]()
    for _ in range(times):
        begun, total = time.perf_counter_ns(), 0
        for number in range(100_000):
            total += number
        taken.append((time.perf_counter_ns() - begun) / 1_000)
    return taken


def bare_sqlite(path: str, times: int) -> Times:
    """The least that SQLite takes for a reserve and a settle on four levels: two transactions that update four rows each."""
    db, taken = sqlite3.connect(path, isolation_level=None), list[float]()
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "CREATE TABLE sums (key TEXT PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO sums VALUES ('0', 0), ('1', 0), ('2', 0), ('3', 0)",
    ):
        db.execute(statement)
    for _ in range(times):
        begun = time.perf_counter_ns()
        for amount in (900, -200):
            db.execute("BEGIN IMMEDIATE")
            db.executemany("UPDATE sums SET sum = sum + ? WHERE key = ?", [(amount, str(key)) for key in range(4)])
            db.execute("COMMIT")
        taken.append((time.perf_counter_ns() - begun) / 1_000)
    db.close()
    return taken


def beside_ping(address: str, times: int) -> tuple[Times, Times, Times]:
    """One reserve, one settle, one bare PING over the same kind of connection, in turn."""
    import redis

    store, plain = opened(address), redis.Redis.from_url(address)
    plain.ping()
    reserved, settled, pinged = list[float](), list[float](), list[float]()
    for number in range(times):
        request = ReserveRequest(id=f"b-{number}", holds=holds(), ttl_ms=60_000, now_ms=_now())
        marks = [time.perf_counter_ns()]
        store.reserve(request)
        marks.append(time.perf_counter_ns())
        store.settle(Charge(lease=request.id, amounts=(700,) * len(LEVELS), now_ms=request.now_ms))
        marks.append(time.perf_counter_ns())
        plain.ping()
        marks.append(time.perf_counter_ns())
        for into, before, after in zip((reserved, settled, pinged), marks, marks[1:], strict=False):
            into.append((after - before) / 1_000)
    plain.close()
    store.close()
    return reserved, settled, pinged


async def by_tasks(address: str, times: int) -> tuple[Times, float]:
    """Fifty tasks on one loop: microseconds of each operation, and operations a second."""
    store, taken = opened(address), list[float]()

    async def timed(call: Any) -> None:
        begun = time.perf_counter_ns()
        await call
        taken.append((time.perf_counter_ns() - begun) / 1_000)

    async def one(name: int) -> None:
        for number in range(times // TASKS):
            request = ReserveRequest(id=f"t{name}-{number}", holds=holds(), ttl_ms=60_000, now_ms=_now())
            await timed(store.areserve(request))
            charge = Charge(lease=request.id, amounts=(700,) * len(LEVELS), now_ms=request.now_ms)
            await timed(store.asettle(charge))

    begun = time.perf_counter()
    await asyncio.gather(*(one(name) for name in range(TASKS)))
    rate = len(taken) / (time.perf_counter() - begun)
    store.close()
    return taken, rate


def false_denials(store: Any, operations: int, seed: int = 1) -> tuple[int, int]:
    """(wrong answers, denials) in so many random operations, against sums kept here with nothing but additions."""
    random_, limit = random.Random(seed), 20_000
    spent = reserved = wrong = denied = done = epoch = 0
    open_: dict[str, int] = {}
    while done < operations:
        done += 1
        if open_ and random_.random() < 0.5:
            lease = random_.choice(list(open_)) if len(open_) < 8 else next(iter(open_))
            amount = open_.pop(lease)
            reserved -= amount
            if random_.random() < 0.3:
                store.release(lease, _now())
            else:
                used = random_.randint(0, amount)
                spent += used
                store.settle(Charge(lease=lease, amounts=(used,) * len(LEVELS), now_ms=_now()))
            continue
        amount = random_.randint(1, 900)
        levels = tuple(_in_epoch(each, epoch, amount, limit) for each in holds(0))
        lease = f"f{done}"
        admitted = isinstance(
            store.reserve(ReserveRequest(id=lease, holds=levels, ttl_ms=600_000, now_ms=_now())), Lease
        )
        wrong += admitted != (spent + reserved + amount <= limit)
        if admitted:
            reserved += amount
            open_[lease] = amount
        elif (denied := denied + 1) % 5 == 0:  # full: on to fresh ledgers
            epoch, spent, reserved = epoch + 1, 0, 0
            for each in open_:
                store.release(each, _now())
            open_.clear()
    return wrong, denied


def quantiles(taken: Times) -> tuple[float, float]:
    """p50 and p99."""
    cuts = statistics.quantiles(taken, n=100)
    return cuts[49], cuts[98]


def memory() -> Times:
    """The store of one process."""
    return pairs(MemoryStore(), "m", 20_000)


def _in_epoch(hold: Any, epoch: int, amount: int, limit: int) -> Any:
    from dataclasses import replace

    return replace(hold, ledger=f"{hold.ledger}@{epoch}", amount=amount, limit=limit)


def _process(address: str, name: str, times: int, gate: Any, told: Any) -> None:
    store = opened(address)
    pairs(store, f"warm-{name}", 20)
    gate.wait(60)
    told.put(pairs(store, name, times))
    store.close()


def _now() -> int:
    return time.time_ns() // 1_000_000
