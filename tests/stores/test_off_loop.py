"""A store beside the event loop keeps the contract, and loses nothing when its caller is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from governor.ledger import Lease, Refusal, ReserveRequest
from governor.stores.contract import Store
from governor.stores.memory import MemoryStore
from governor.stores.off_loop import OffLoop
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS, StoreConformance, hold

REQUEST = ReserveRequest(id="l1", holds=(hold(),), ttl_ms=1_000, now_ms=START_MS)


class TestOffLoop(StoreConformance):
    def make_store(self) -> Store:
        return OffLoop(MemoryStore())


class Waiting(MemoryStore):
    """Reserves when it is told to, and remembers in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()
        self.thread = 0

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        self.thread = threading.get_ident()
        self.asked.set()
        assert self.go.wait(30)
        return super().reserve(request)


def test_the_loop_goes_on_while_the_store_works() -> None:
    waiting = Waiting()

    async def reserve() -> Lease | Refusal:
        task = asyncio.ensure_future(OffLoop(waiting).areserve(REQUEST))
        await asyncio.to_thread(waiting.asked.wait, 30)
        waiting.go.set()  # by the loop, which would never come here if the store had it
        return await task

    assert isinstance(asyncio.run(reserve()), Lease)
    assert threading.get_ident() != waiting.thread


def test_a_cancelled_caller_learns_of_its_lease_before_it_is_cancelled() -> None:
    waiting, store = Waiting(), MemoryStore()
    learned: list[object] = []

    async def reserve() -> None:
        learned.append(await OffLoop(waiting).areserve(REQUEST))
        await asyncio.Event().wait()

    async def cancelled() -> bool:
        task = asyncio.ensure_future(reserve())
        await asyncio.to_thread(waiting.asked.wait, 30)
        task.cancel()
        waiting.go.set()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancelled())
    assert [store.reserve(REQUEST)] == learned


def test_a_run_opens_off_the_loop_too() -> None:
    store = OffLoop(MemoryStore())

    here, there = threading.get_ident(), asyncio.run(store.aside(threading.get_ident))

    assert here != there
    assert here == asyncio.run(MemoryStore().aside(threading.get_ident))


def test_the_same_file_is_the_same_ledgers_on_the_loop_or_off(tmp_path: Path) -> None:
    one, other = SqliteStore(tmp_path / "a.db"), SqliteStore(tmp_path / "a.db")

    assert OffLoop(one).same_as(other)
    assert OffLoop(one).same_as(OffLoop(other))
    assert not OffLoop(one).same_as(MemoryStore())
