"""Answers that are lost, scripts that are forgotten, tasks that are cancelled, servers that come back empty."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis

from governor.errors import StoreError
from governor.ledger import Adjustment, AdjustmentKind, Charge, Lease, LeaseState, ReserveRequest
from governor.runs import RunState
from governor.testing import hold, spent_and_reserved
from governor_redis import RedisStore
from governor_redis.lanes import Sent
from tests.redis_server import RedisServer, private
from tests.stores.redis_proxy import Proxy

NAMES = count()
pytestmark = pytest.mark.redis
REQUEST = ReserveRequest(id="l", holds=(hold(amount=30),), ttl_ms=60_000, now_ms=0, payload="p")
CHARGE = Charge(lease="l", amounts=(7,), now_ms=0)
GRANT = Adjustment(id="g", kind=AdjustmentKind.GRANT, subject="run/a", amount=5, who="w", why="y", at_ms=0)


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    made = Proxy(redis_server.port)
    yield made
    made.close()


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[RedisServer]:
    with private(tmp_path, aof="always") as server:
        yield server


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[RedisServer]:
    with private(tmp_path) as server:
        yield server


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RedisServer]:
    with private(tmp_path, cluster=True) as server:
        yield server


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    made = RedisStore(redis_server.url, namespace=f"trouble-{next(NAMES)}")
    yield made
    made.close()


def one_step(state: RunState) -> tuple[RunState, int]:
    return replace(state, steps=state.steps + 1), state.steps + 1


@pytest.mark.parametrize("waiting", [False, True])
def test_every_script_may_be_run_twice(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, *, waiting: bool
) -> None:
    from governor_redis.server import Server

    store, once = RedisStore(redis_server.url, namespace=f"twice-{next(NAMES)}"), Server.call

    def twice(self: Any, call: Any) -> Any:
        once(self, call)
        return once(self, call)

    monkeypatch.setattr(Server, "call", twice)
    store.change("r", one_step)
    for lease in ("l", "m"):
        store.change("r", one_step, later=waiting)
        assert isinstance(store.reserve(replace(REQUEST, id=lease, run="r", dispatched=False)), Lease)
        store.dispatch(lease, 0)
        store.extend(lease, 70_000, 0)
    store.adjust(GRANT)
    store.change("r", one_step, later=waiting)
    store.settle(replace(CHARGE, run="r"))
    store.release("m", 0)
    store.keep("r", "h", "text")

    assert {"run/a": (7, 0)} == spent_and_reserved(store)
    assert [5] == [each.granted for each in store.balances()]
    assert 1 == len(store.audit())
    assert 4 == store.change("r", lambda state: (state, state.steps))
    store.close()


def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_counted_twice(proxy: Proxy) -> None:
    store = RedisStore(proxy.url, namespace=f"lost-{next(NAMES)}")
    store.reserve(replace(REQUEST, id="first"))
    store.release("first", 0)
    for each in (
        lambda: store.reserve(REQUEST),
        lambda: store.settle(CHARGE),
        lambda: store.adjust(GRANT),
        lambda: store.change("r", one_step),
    ):
        proxy.lose(1)
        each()
        assert 0 == proxy.drop

    assert {"run/a": (7, 0)} == spent_and_reserved(store)
    assert 1 == store.change("r", lambda state: (state, state.steps))
    store.close()


async def test_an_answer_that_is_lost_on_a_loop_is_asked_for_again(proxy: Proxy) -> None:
    store = RedisStore(proxy.url, namespace=f"lost-{next(NAMES)}")
    await store.areserve(replace(REQUEST, id="first"))
    await store.arelease("first", 0)
    proxy.lose(1)
    async with asyncio.TaskGroup() as tasks:
        for each in range(3):
            tasks.create_task(store.areserve(replace(REQUEST, id=f"l{each}")))
    proxy.lose(1)
    await store.asettle(replace(CHARGE, lease="l0"))

    assert 0 == proxy.drop
    assert {"run/a": (7, 60)} == spent_and_reserved(store)
    store.close()


async def test_an_answer_lost_behind_one_whose_script_was_forgotten_leaves_nobody_waiting(
    proxy: Proxy, redis_server: RedisServer
) -> None:
    store = RedisStore(proxy.url, namespace=f"lost-{next(NAMES)}")
    await store.areserve(REQUEST)
    redis_server.client.script_flush()
    proxy.truncate = 20
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for each in range(3):
            tasks.create_task(store.areserve(replace(REQUEST, id=f"l{each}")))

    assert 0 == proxy.truncate
    assert {"run/a": (0, 90)} == spent_and_reserved(store)
    store.close()


async def test_scripts_that_the_server_forgot_are_sent_again(redis_server: RedisServer, store: RedisStore) -> None:
    store.reserve(replace(REQUEST, id="a"))
    await store.areserve(replace(REQUEST, id="b"))
    redis_server.client.script_flush()
    store.reserve(replace(REQUEST, id="c"))
    redis_server.client.script_flush()
    await store.asettle(replace(CHARGE, lease="c"))

    assert {"run/a": (7, 60)} == spent_and_reserved(store)


def test_a_server_that_does_not_answer_is_an_error_in_time_and_it_goes_on_afterwards(proxy: Proxy) -> None:
    store = RedisStore(proxy.url, namespace=f"mute-{next(NAMES)}", timeout_s=0.1)
    store.reserve(REQUEST)
    proxy.silent = True

    with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        store.settle(CHARGE)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        asyncio.run(store.asettle(CHARGE))
    proxy.silent = False
    store.settle(CHARGE)

    assert {"run/a": (7, 0)} == spent_and_reserved(store)
    store.close()


def test_no_server_is_an_error_that_says_what_to_look_for() -> None:
    store = RedisStore("redis://127.0.0.1:1/0")

    with pytest.raises(StoreError, match="Is redis-server running"):
        store.reserve(REQUEST)
    with pytest.raises(StoreError, match="Is redis-server running"):
        asyncio.run(store.areserve(REQUEST))


async def test_a_cancelled_reservation_is_given_back_and_takes_nobody_along(proxy: Proxy) -> None:
    store = RedisStore(proxy.url, namespace=f"cancel-{next(NAMES)}")
    await store.areserve(replace(REQUEST, id="warm", holds=(hold(amount=1, limit=10_000),)))
    tasks = [
        asyncio.create_task(store.areserve(replace(REQUEST, id=f"l{each}", holds=(hold(amount=10, limit=10_000),))))
        for each in range(20)
    ]
    for _ in range(3):  # some have been sent by now, none is answered
        await asyncio.sleep(0)
    for each in tasks[::2]:
        each.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*store._detached)

    assert 10 == sum(isinstance(each, Lease) for each in answers)
    assert {"run/a": (0, 101)} == spent_and_reserved(store)
    assert all(record.state is LeaseState.DISPATCHED for record in store.leases())
    store.close()


@pytest.fixture
def cancelled_when_answered(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Task[Any]]:
    """Tasks to be cancelled when their answer has come in and before they run again."""
    tasks, answered = list[asyncio.Task[Any]](), Sent.answered

    def then_cancelled(sent: Sent, reply: object, error: StoreError | None = None) -> None:
        answered(sent, reply, error)
        while tasks:
            tasks.pop().cancel()

    monkeypatch.setattr(Sent, "answered", then_cancelled)
    return tasks


async def test_a_reservation_that_is_cancelled_as_its_answer_comes_is_given_back(
    store: RedisStore, cancelled_when_answered: list[asyncio.Task[Any]]
) -> None:
    task = asyncio.create_task(store.areserve(REQUEST))
    cancelled_when_answered.append(task)

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.gather(*store._detached)

    assert {} == spent_and_reserved(store)
    assert [] == list(store.leases())


async def test_a_change_that_is_cancelled_as_its_answer_comes_is_made_and_blocks_nobody(
    store: RedisStore, cancelled_when_answered: list[asyncio.Task[Any]]
) -> None:
    task = asyncio.create_task(store.achange("r", lambda state: (replace(state, steps=state.steps + 1), None)))
    cancelled_when_answered.append(task)

    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        steps = await store.achange("r", lambda state: (state, state.steps))

    assert 1 == steps


async def test_a_cancelled_change_is_made_and_blocks_nobody(store: RedisStore) -> None:
    await store.achange("r", one_step)
    task = asyncio.create_task(store.achange("r", one_step))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert 3 == await store.achange("r", one_step)


def test_every_loop_has_a_connection_that_is_closed_with_it(redis_server: RedisServer, store: RedisStore) -> None:
    async def use(lease: str) -> None:
        await store.areserve(replace(REQUEST, id=lease))

    asyncio.run(use("a"))
    assert {"run/a": (0, 30)} == spent_and_reserved(store)
    before = redis_server.client.info("clients")["connected_clients"]  # of other tests too
    asyncio.run(use("b"))

    assert {"run/a": (0, 60)} == spent_and_reserved(store)
    assert before >= redis_server.client.info("clients")["connected_clients"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of threads that other tests left, from Python 3.12 on
def test_a_forked_child_is_a_process_of_its_own(store: RedisStore) -> None:
    store.reserve(REQUEST)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.settle(CHARGE)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)

    assert 0 == status
    assert {"run/a": (7, 0)} == spent_and_reserved(store)


def test_a_restart_with_an_append_only_file_loses_nothing(durable: RedisServer) -> None:
    store = RedisStore(durable.url)
    store.reserve(REQUEST)
    store.change("r", one_step)
    durable.kill()
    durable.start()

    store.settle(CHARGE)
    assert {"run/a": (7, 0)} == spent_and_reserved(store)
    assert 2 == store.change("r", one_step)
    assert isinstance(store.reserve(replace(REQUEST, id="m")), Lease)
    store.close()


def test_a_server_that_comes_back_empty_is_noticed_and_hard_budgets_refuse(lone: RedisServer) -> None:
    store, other = RedisStore(lone.url), RedisStore(lone.url)
    store.reserve(REQUEST)
    other.reserve(replace(REQUEST, id="o"))
    store.change("r", one_step)
    lone.kill()
    lone.start()

    with pytest.raises(StoreError, match="lost what governor had written"):
        store.reserve(REQUEST)
    for each in (store, other, RedisStore(lone.url)):
        with pytest.raises(StoreError, match="accept_loss"):
            each.reserve(replace(REQUEST, id="n"))
    assert isinstance(store.reserve(replace(REQUEST, id="soft", holds=(hold(limit=None),))), Lease)
    assert 2 == store.change("r", one_step)
    store.accept_loss(who="ana", why="restored by hand", at_ms=1)
    assert isinstance(other.reserve(replace(REQUEST, id="n")), Lease)
    assert ["store"] == [each.subject for each in store.audit()]
    store.close()
    other.close()


def test_a_replica_that_was_behind_is_noticed_by_whoever_wrote_what_it_lacks(
    redis_server: RedisServer, store: RedisStore
) -> None:
    store.reserve(REQUEST)
    keys = [key for key in redis_server.client.keys("*") if key.decode().startswith(store._flows.prefix)]
    behind = {key: redis_server.client.dump(key) for key in keys}
    store.settle(CHARGE)
    for key, value in behind.items():
        redis_server.client.restore(key, 0, value, replace=True)

    with pytest.raises(StoreError, match="stale replica"):
        store.reserve(replace(REQUEST, id="m"))


def test_a_freeze_ends_by_itself(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, namespace=f"thaw-{next(NAMES)}", loss_ms=1)
    store.reserve(REQUEST)
    redis_server.client.delete(
        *[key for key in redis_server.client.keys("*") if key.decode().startswith(store._flows.prefix)]
    )
    with pytest.raises(StoreError, match="lost"):
        store.reserve(REQUEST)
    while isinstance(_answer(store), StoreError):
        pass

    assert {"run/a": (0, 30)} == spent_and_reserved(store)
    store.close()


def _answer(store: RedisStore) -> object:
    try:
        return store.reserve(REQUEST)
    except StoreError as error:
        return error


def test_a_server_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
    from governor_redis import server as module

    monkeypatch.setattr(module, "OLDEST", (99, 0))
    with pytest.raises(StoreError, match="or later"):
        RedisStore(redis_server.url).reserve(REQUEST)


def test_every_key_is_declared_and_in_one_slot_of_a_cluster(node: RedisServer) -> None:
    node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    while node.client.cluster("info")["cluster_state"] != "ok":
        pass
    with redis.RedisCluster.from_url(node.url) as cluster:
        for number, client in enumerate((node.url, cluster)):
            store = RedisStore(client, namespace=f"c{number}", loss_ms=1)
            store.change("r", one_step)
            store.change("r", one_step, later=True)
            store.reserve(replace(REQUEST, run="r", dispatched=False))
            store.dispatch("l", 0)
            asyncio.run(store.aextend("l", 70_000, 0))
            store.adjust(GRANT)
            store.settle(replace(CHARGE, run="r"))
            store.open_run("t", "r", resume=False)
            store.open_run("t", "r2", resume=False)
            assert 1 == len(store.halts()) + len(store.audit())
            assert [] == store.leases()
            assert {"run/a": (7, 0)} == spent_and_reserved(store)
            store.close()
