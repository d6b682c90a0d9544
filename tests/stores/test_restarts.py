"""A Redis that dies in the middle of the work and comes back, with all it had, or empty."""

import importlib
import time
from pathlib import Path
from typing import Any

import pytest

from governor.errors import StoreError
from governor.ledger import Lease, ReserveRequest
from governor.testing import START_MS, hold
from tests.redis_server import private
from tests.stores.killing import LEVELS, WORST, Job, started
from tests.stores.places import lacking, opened
from tests.stores.reckoning import reckoned

pytestmark = [pytest.mark.redis, pytest.mark.skipif(bool(lacking("redis")), reason=lacking("redis"))]

TTL_MS = 1_500
WORKERS = 4


def request(lease: str, ttl_ms: int = TTL_MS) -> ReserveRequest:
    return ReserveRequest(id=lease, holds=(hold("org/o", 10, 100),), ttl_ms=ttl_ms, now_ms=START_MS)


def at_work(worker: Any, bill: Path) -> None:
    """Wait until so many more calls were billed, for half a minute at most."""
    wanted, until = billed(bill) + 40, time.monotonic() + 30
    while billed(bill) < wanted and time.monotonic() < until:
        worker.join(0.02)


def billed(bill: Path) -> int:
    return bill.read_bytes().count(b"\n") if bill.exists() else 0


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_server_that_keeps_its_file_and_is_killed_under_load_loses_no_spend(tmp_path: Path, deaths: int) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with private(folder, aof="always") as server:
        jobs = [
            Job(store=server.url, folder=tmp_path, name=f"w{n}", calls=1_000_000, ttl_ms=TTL_MS) for n in range(WORKERS)
        ]
        workers = [started(job) for job in jobs]
        for _ in range(deaths):
            at_work(workers[0], tmp_path / "bill")
            server.kill()
            server.start()
        at_work(workers[0], tmp_path / "bill")
        for worker in workers:
            worker.kill()
            worker.join()
        store = opened(server.url)
        found = reckoned(store, tmp_path, START_MS, patience_s=2 * TTL_MS / 1_000)
        store.close()

    assert found.calls >= 40 * (deaths + 1)
    assert 1 == len(set(found.spent.values()))
    # Each death and each kill leaves at most one call a worker in doubt.
    most = found.true + WORST * WORKERS * (deaths + 1)
    assert [] == [level for level in LEVELS if not found.true <= found.spent[level] <= most]
    assert dict.fromkeys(LEVELS, 0) == found.reserved
    assert set() == found.never_dispatched


@pytest.mark.parametrize("aof", [False, True], ids=["without a file", "on another machine"])
def test_an_empty_server_in_place_of_the_one_before_refuses_until_every_lease_that_it_forgot_is_over(
    tmp_path: Path, aof: bool
) -> None:
    with private(tmp_path, aof="always" if aof else "") as server:
        store = importlib.import_module("governor_redis").RedisStore(server.url, loss_ms=TTL_MS)
        assert isinstance(store.reserve(request("before")), Lease)
        server.kill()
        if aof:
            server.wipe()
        server.start()
        begun = time.monotonic()

        with pytest.raises(StoreError):
            store.reserve(request("after"))
        admitted: object = None
        while not isinstance(admitted, Lease) and time.monotonic() - begun < 10 * TTL_MS / 1_000:
            try:
                admitted = store.reserve(request("later"))
            except StoreError:
                admitted = None
        frozen_ms = (time.monotonic() - begun) * 1_000
        store.close()

    assert isinstance(admitted, Lease)
    assert frozen_ms >= TTL_MS * 0.9
