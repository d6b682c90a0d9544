"""One to eight processes, each with threads, at one ledger at the same moment: what fits is admitted, to the last call, and no more."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from governor.ledger import Charge, Lease, ReserveRequest, Shortfall
from governor.testing import START_MS, hold, spent_and_reserved
from tests.redis_server import RedisServer
from tests.stores.places import lacking, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROCESSES = (1, 2, 4, 8)
THREADS = 4
EACH = 48
"""Reservations that a process tries."""
FITS = 37
LIMIT = FITS * 10 + 7


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store's address, empty."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'governor.db'}"
        return
    reason = lacking("redis")
    if reason:
        pytest.skip(reason)
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    yield server.url


def together(work: Callable[..., None], place: str, processes: int) -> list[Any]:
    """What the processes' threads put on the queue; all begin at one barrier."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.stores.test_contention"])
    gate, told = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=work, args=(place, number, gate, told)) for number in range(processes)]
    for worker in workers:
        worker.start()
    found = [told.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert [0] * processes == [worker.exitcode for worker in workers]
    return found


def hold_all(place: str, name: int, gate: Any, told: Any) -> None:
    """Reserve, and never settle."""
    store = opened(place)
    store.balances()  # connected, before the others are waited for
    gate.wait(60)

    def one(number: int) -> bool:
        holds = (hold("org/o", 10, None), hold("tenant/t", 10, LIMIT), hold("run/a", 10, 10 * LIMIT))
        request = ReserveRequest(id=f"{name}-{number}", holds=holds, ttl_ms=60_000, now_ms=START_MS)
        return isinstance(store.reserve(request), Lease)

    with ThreadPoolExecutor(THREADS) as pool:
        told.put(Counter(pool.map(one, range(EACH))))
    store.close()


def spend_all(place: str, name: int, gate: Any, told: Any) -> None:
    """Reserve amounts of any size and settle, release or repeat, until nothing fits any more; notes what was charged."""
    store, random_ = opened(place), random.Random(name)
    store.balances()
    gate.wait(60)
    charged = 0
    for number in range(EACH * 4):
        amount = random_.randint(1, 60)
        holds = (hold("org/o", amount, None), hold("tenant/t", amount, 10 * LIMIT))
        request = ReserveRequest(id=f"{name}-{number}", holds=holds, ttl_ms=60_000, now_ms=START_MS)
        answer = store.reserve(request)
        if isinstance(answer, Lease) and random_.random() < 0.2:
            store.release(request.id, START_MS)
        elif isinstance(answer, Lease):
            used = random_.randint(0, amount)
            for _ in range(random_.randint(1, 2)):
                store.settle(Charge(lease=request.id, amounts=(used, used), now_ms=START_MS))
            charged += used
        elif isinstance(answer, Shortfall):
            # true at the moment that it was said, whatever the others were doing
            assert answer.spent + answer.reserved + amount > 10 * LIMIT
    told.put(charged)
    store.close()


@pytest.mark.parametrize("processes", PROCESSES)
def test_what_fits_is_admitted_and_no_more(place: str, processes: int) -> None:
    found = sum(together(hold_all, place, processes), Counter[bool]())

    assert (FITS, processes * EACH - FITS) == (found[True], found[False])
    store = opened(place)
    assert {"org/o": (0, FITS * 10), "tenant/t": (0, FITS * 10), "run/a": (0, FITS * 10)} == spent_and_reserved(store)
    store.close()


@pytest.mark.parametrize("processes", PROCESSES)
def test_every_charge_arrives_once_and_a_refusal_is_true_when_it_is_said(place: str, processes: int) -> None:
    found = together(spend_all, place, processes)

    charged = sum(found)
    store = opened(place)
    assert {"org/o": (charged, 0), "tenant/t": (charged, 0)} == spent_and_reserved(store)
    assert charged <= 10 * LIMIT
    store.close()
