"""A server that lost what it had: who notices, and what becomes of the charges of calls that were under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import StoreError
from governor.ledger import Adjustment, AdjustmentKind, Charge, Hold, Lease, ReserveRequest, Unit
from governor.stores.memory import MemoryStore
from governor.stores.slices import SlicedStore
from governor.testing import hold, spent_and_reserved
from governor_redis import RedisStore, opened
from tests.redis_server import RedisServer, private
from tests.stores.redis_proxy import Proxy

NAMES = count()
pytestmark = pytest.mark.redis
REQUEST = ReserveRequest(id="l", holds=(hold(amount=30, limit=1_000),), ttl_ms=60_000, now_ms=0, payload="p")
TWINS = pytest.mark.parametrize("alone", [False, True], ids=["sync", "async"])


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[RedisServer]:
    with private(tmp_path) as server:
        yield server


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    made = RedisStore(redis_server.url, namespace=f"losses-{next(NAMES)}")
    yield made
    made.close()


def granted(store: RedisStore | SlicedStore, name: str = "l", **what: Any) -> Lease:
    lease = store.reserve(replace(REQUEST, id=name, **what))
    assert isinstance(lease, Lease)
    return lease


def charge(lease: Lease, *amounts: int) -> Charge:
    return Charge(lease=lease.id, amounts=amounts, now_ms=0, granted=lease)


def emptied(server: RedisServer, store: RedisStore) -> None:
    """As by FLUSHALL, but for the other tests of this server."""
    keys = [key for key in server.client.keys("*") if key.decode().startswith(store._flows.prefix)]
    server.client.delete(*keys)


def settle(store: RedisStore, charged: Charge, *, alone: bool = False) -> None:
    if alone:
        asyncio.run(store.asettle(charged))
    else:
        store.settle(charged)


def settled(store: RedisStore, charged: Charge) -> bool:
    """Whether it was charged without a word; else it is the one that noticed the loss."""
    try:
        store.settle(charged)
    except StoreError:
        return False
    return True


@TWINS
def test_a_lease_that_was_lost_is_charged_once_and_its_ledger_gets_back_what_the_lease_knew(
    redis_server: RedisServer, store: RedisStore, *, alone: bool
) -> None:
    store.settle(charge(granted(store, "before"), 20))
    lease = granted(store)
    emptied(redis_server, store)

    with pytest.raises(StoreError, match="lost what governor had written"):
        settle(store, charge(lease, 7), alone=alone)
    for _ in range(2):
        settle(store, charge(lease, 7), alone=alone)
        store.release(lease.id, 0)

    assert {"run/a": (27, 0)} == spent_and_reserved(store)
    assert [] == store.leases()


def test_leases_of_many_processes_bring_back_what_the_latest_of_them_knew(
    redis_server: RedisServer, store: RedisStore
) -> None:
    other = RedisStore(redis_server.url, namespace=store.address[1][10:-2])
    early = granted(store, "early")
    store.settle(charge(granted(store, "done"), 20))
    late = granted(other, "late")
    emptied(redis_server, store)

    for each, its in ((store, early), (other, late)):
        settled(each, charge(its, 7))
    other.close()

    assert {"run/a": (34, 0)} == spent_and_reserved(store)


@given(
    before=st.lists(st.integers(0, 30), max_size=4),
    under_way=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40)), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_whatever_was_under_way_and_whoever_settles_first_the_ledger_covers_the_bill(
    redis_server: RedisServer, before: list[int], under_way: list[tuple[int, int]], order: Any
) -> None:
    store = RedisStore(redis_server.url, namespace=f"losses-{next(NAMES)}")
    leases: list[tuple[Lease, int]] = []
    bill = 0
    for number in range(5):  # calls that are under way at the loss, among others that are over by then
        leases += [
            (granted(store, f"u{number}.{at}"), cost) for at, (when, cost) in enumerate(under_way) if when == number
        ]
        if number < len(before):
            bill += before[number]
            store.settle(charge(granted(store, f"b{number}"), before[number]))
    leases.append((granted(store, "last"), 1))  # it knows of all that were over
    bill += sum(cost for _, cost in leases)
    emptied(redis_server, store)
    order.shuffle(leases)
    for lease, cost in leases:
        for _ in range(2):
            settled(store, charge(lease, cost))

    assert {"run/a": (bill, 0)} == spent_and_reserved(store)
    store.close()


def test_who_comes_later_with_a_lease_of_before_notices_what_nobody_knew(
    redis_server: RedisServer, store: RedisStore
) -> None:
    lease = granted(store)
    emptied(redis_server, store)
    fresh, later = (RedisStore(redis_server.url, namespace=store.address[1][10:-2]) for _ in range(2))
    granted(fresh, "n")  # to whoever knows of nothing, an empty server is a new one

    with pytest.raises(StoreError, match="lost"):
        later.settle(charge(lease, 7))
    with pytest.raises(StoreError, match="accept_loss"):
        fresh.reserve(replace(REQUEST, id="m"))
    later.accept_loss(who="ana", why="seen", at_ms=1)
    later.settle(charge(lease, 7))

    assert isinstance(fresh.reserve(replace(REQUEST, id="m")), Lease)
    assert {"run/a": (7, 60)} == spent_and_reserved(store)
    for each in (fresh, later):
        each.close()


@pytest.mark.parametrize(
    "read",
    [lambda store: store.change("r", lambda state: (state, None)), lambda store: store.halted(["all"])],
    ids=["state", "halts"],
)
def test_who_only_reads_notices_too(
    redis_server: RedisServer, store: RedisStore, read: Callable[[RedisStore], object]
) -> None:
    granted(store)
    reader = RedisStore(redis_server.url, namespace=store.address[1][10:-2])
    read(reader)
    emptied(redis_server, store)

    with pytest.raises(StoreError, match="lost"):
        read(reader)
    read(reader)
    with pytest.raises(StoreError, match="accept_loss"):
        store.reserve(replace(REQUEST, id="m"))
    reader.close()


def test_a_halt_is_asked_for_before_and_after_anybody_wrote(store: RedisStore) -> None:
    halt = Adjustment(id="h", kind=AdjustmentKind.HALT, subject="all", who="w", why="y", at_ms=0)

    assert (None, "") == (store.halted(["all"]), store.generation())
    store.adjust(halt)

    found = store.halted(["all"])
    assert found is not None
    assert "all" == found.scope
    assert store.generation()


def test_a_process_that_was_told_the_generation_notices_a_loss_that_all_others_died_with(
    redis_server: RedisServer, store: RedisStore
) -> None:
    granted(store)
    address = f"{redis_server.url}?namespace={store.address[1][10:-2]}&generation={store.generation()}"
    knowing = opened(address)
    granted(knowing, "k")
    emptied(redis_server, store)
    started_again = opened(address)

    with pytest.raises(StoreError, match="lost"):
        started_again.reserve(REQUEST)
    started_again.accept_loss(who="ana", why="seen", at_ms=1)

    assert isinstance(opened(address).reserve(REQUEST), Lease)
    for each in (knowing, started_again):
        each.close()


def test_holds_of_every_kind_are_charged_again_as_they_were(redis_server: RedisServer, store: RedisStore) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "soft": {"limit": None, "alert": 10},
        "rate": {"limit": 100, "per_ms": 60_000},
        "roll/2": {"limit": 100, "earlier": ("roll/1",), "expires_ms": 2**43},
        "big": {"limit": 10**15},
    }
    holds = tuple(
        Hold(ledger=key, unit=Unit.TOKENS, amount=30, budget=key, scope="s", written="w", **what)
        for key, what in kinds.items()
    )
    lease = granted(store, holds=holds)
    emptied(redis_server, store)
    for _ in range(2):
        settled(store, charge(lease, 5, 6, 7, 8))

    balances = {each.ledger: each for each in store.balances()}
    assert {"soft": 5, "roll/2": 7, "big": 8, "rate": 0} == {key: each.spent for key, each in balances.items()}
    assert 6 == balances["rate"].reserved
    assert (None, 10**15, 60_000) == (balances["soft"].limit, balances["big"].limit, balances["rate"].per_ms)


def test_what_is_not_there_and_was_not_lost_is_not_charged(store: RedisStore) -> None:
    lease = granted(store)
    store.settle(charge(lease, 7))

    store.settle(charge(replace(lease, id="never"), 7))
    store.settle(charge(replace(lease, id="elsewhere", generation=""), 7))
    with pytest.raises(ValueError, match="amounts"):
        store.settle(charge(replace(lease, id="gone"), 7, 8))

    assert {"run/a": (7, 0)} == spent_and_reserved(store)


def test_a_slice_that_was_lost_is_charged_what_was_granted_from_it(
    redis_server: RedisServer, store: RedisStore
) -> None:
    sliced = SlicedStore(store, share_permille=100, floor_permille=100, halts_ms=10**9)
    lease = granted(sliced)
    sliced.settle(charge(granted(sliced, "m"), 20))
    emptied(redis_server, store)

    sliced.settle(charge(lease, 7))
    sliced.give_back(0)
    sliced.give_back(0)

    assert {"run/a": (27, 0)} == spent_and_reserved(store)


def test_a_replica_that_was_behind_when_it_took_over_is_noticed_and_owes_nothing(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with private(tmp_path / "first") as first, private(tmp_path / "second") as second:
        second.client.replicaof("127.0.0.1", first.port)
        while second.client.info("replication")["master_link_status"] != "up":
            pass
        proxy = Proxy(first.port)
        store = RedisStore(proxy.url)
        under_way = granted(store, "both")
        first.client.wait(1, 5_000)
        second.client.replicaof("NO", "ONE")  # what comes now only the one before has
        behind = granted(store, "behind")
        store.settle(charge(granted(store, "over"), 20))
        last = granted(store, "last")
        proxy.switch(second.port)

        for each in (under_way, behind, last):
            settled(store, charge(each, 7))
        with pytest.raises(StoreError, match="accept_loss"):
            store.reserve(REQUEST)

        spent, reserved = spent_and_reserved(store)["run/a"]
        assert 0 == reserved
        assert 41 <= spent <= 41 + 7
        store.close()
        proxy.close()


def test_an_embedded_store_needs_no_lease_to_settle_by() -> None:
    store = MemoryStore()
    lease = store.reserve(REQUEST)
    assert isinstance(lease, Lease)

    store.settle(charge(lease, 7))

    assert ("", ()) == (lease.generation, lease.spent)
    assert {"run/a": (7, 0)} == spent_and_reserved(store)
