"""Run state in Redis: what may wait is written along, what must not is written at once, and nothing is counted twice."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from governor.drive import drive, drive_async
from governor.ledger import Charge, ReserveRequest
from governor.pipeline import model_call, step_entry, step_exit
from governor.policy.load import load
from governor.runs import RunState
from governor.runtime import Runtime
from governor.testing import hold
from governor_redis import RedisStore
from tests.core.test_pipeline import GOOD, MICRO, STEP, asked
from tests.redis_server import RedisServer
from tests.stores.redis_proxy import Proxy

NAMES = count()
pytestmark = pytest.mark.redis
REQUEST = ReserveRequest(id="l", holds=(hold(amount=30),), ttl_ms=60_000, now_ms=0, run="r")
POLICY = {
    "governor": 1,
    "name": "p",
    "tiers": {"small": {"model": MICRO, "max_output_tokens": 500}},
    "routing": {"default": "small"},
    "budgets": [{"id": "run", "scope": "run", "limit": {"tokens": "100k", "usd": "5"}}],
}


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    made = Proxy(redis_server.port)
    yield made
    made.close()


def one_step(state: RunState) -> tuple[RunState, int]:
    return replace(state, steps=state.steps + 1), state.steps + 1


def read(store: RedisStore) -> int:
    return store.change("r", lambda state: (state, state.steps))


def warm(store: RedisStore) -> None:
    """Let the server have the scripts: whoever uses one first sends it in full."""
    store.reserve(replace(REQUEST, id="warm"))
    store.settle(Charge(lease="warm", amounts=(0,), now_ms=0))


def test_a_governed_model_call_is_two_round_trips(proxy: Proxy) -> None:
    store = RedisStore(proxy.url, namespace=f"runs-{next(NAMES)}")
    runtime = Runtime(load(POLICY), store=store)
    perform = partial(runtime.perform, span=INVALID_SPAN, invoke=lambda effect: GOOD)
    trips = list[int]()
    warm(store)
    drive(step_entry(STEP, runtime.controls), perform)
    for _ in range(3):
        before = proxy.trips
        drive(model_call(asked(), runtime.controls), perform)
        trips.append(proxy.trips - before)
    before = proxy.trips
    drive(step_exit(STEP, runtime.controls), perform)
    exit_trips = proxy.trips - before

    assert [2, 2, 2] == trips
    assert 1 == exit_trips
    fresh = RedisStore(proxy.url, namespace=store.address[1].removeprefix("{governor:").removesuffix("}:"))
    assert 3 == fresh.change(STEP.run.id, lambda state: (state, state.model_calls))
    for each in (store, fresh):
        each.close()


async def test_a_governed_model_call_on_a_loop_is_two_round_trips(proxy: Proxy) -> None:
    store = RedisStore(proxy.url, namespace=f"runs-{next(NAMES)}")
    runtime = Runtime(load(POLICY), store=store)

    async def answered(effect: Any) -> Any:
        return GOOD

    perform = partial(runtime.perform_async, span=INVALID_SPAN, invoke=answered)
    trips = list[int]()
    warm(store)
    await drive_async(step_entry(STEP, runtime.controls), perform)
    for _ in range(3):
        before = proxy.trips
        await drive_async(model_call(asked(), runtime.controls), perform)
        trips.append(proxy.trips - before)

    assert [2, 2, 2] == trips
    store.close()


def test_what_waits_is_written_with_the_runs_next_operation(redis_server: RedisServer) -> None:
    name = f"runs-{next(NAMES)}"
    store, other = (RedisStore(redis_server.url, namespace=name) for _ in range(2))
    store.change("r", one_step)
    assert 2 == store.change("r", one_step, later=True)
    assert 1 == read(other)
    store.reserve(REQUEST)
    assert 2 == read(other)
    store.change("r", one_step, later=True)
    store.settle(Charge(lease="l", amounts=(7,), now_ms=0, run="r"))
    assert 3 == read(other)
    store.change("r", one_step, later=True)
    assert 5 == store.change("r", one_step)
    assert 5 == read(other)
    store.change("r", one_step, later=True)
    store.close()
    assert 6 == read(other)
    other.close()


def test_what_waits_is_applied_again_to_what_another_process_wrote(redis_server: RedisServer) -> None:
    name = f"runs-{next(NAMES)}"
    store, other = (RedisStore(redis_server.url, namespace=name) for _ in range(2))
    store.change("r", one_step)
    store.change("r", one_step, later=True)
    other.change("r", lambda state: (replace(state, steps=state.steps + 100), None))
    store.reserve(REQUEST)

    assert 102 == read(store)
    assert 102 == read(other)
    for each in (store, other):
        each.close()


def test_a_process_that_knows_nothing_of_a_run_looks_before_it_answers(redis_server: RedisServer) -> None:
    name = f"runs-{next(NAMES)}"
    store, other = (RedisStore(redis_server.url, namespace=name) for _ in range(2))
    store.change("r", one_step)

    assert 2 == other.change("r", one_step, later=True)
    for each in (store, other):
        each.close()


async def test_tasks_of_one_run_lose_no_change_and_double_none(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, namespace=f"runs-{next(NAMES)}")

    async def branch(number: int) -> None:
        await store.achange("r", one_step, later=True)
        await store.areserve(replace(REQUEST, id=f"l{number}", holds=(hold(amount=1),)))
        await store.achange("r", one_step, later=True)
        await store.asettle(Charge(lease=f"l{number}", amounts=(1,), now_ms=0, run="r"))
        await store.achange("r", one_step)

    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(branch(number))

    assert 90 == await store.achange("r", lambda state: (state, state.steps))
    store.close()


@pytest.mark.parametrize("later", [False, True])
def test_a_change_whose_answer_never_came_is_made_once(proxy: Proxy, *, later: bool) -> None:
    store = RedisStore(proxy.url, namespace=f"runs-{next(NAMES)}")
    store.change("r", one_step)
    store.change("r", one_step, later=True)
    proxy.lose(1)
    store.change("r", one_step, later=later)
    store.reserve(REQUEST)

    assert 3 == read(store)
    store.close()


def test_runs_and_threads_are_forgotten_when_nobody_touches_them(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, namespace=f"runs-{next(NAMES)}", state_ttl_ms=60_000)
    store.change("r", one_step)
    store.keep("s", "h", "text")
    store.open_run("t", "r", resume=False)

    keys = [
        key
        for key in redis_server.client.keys("*")
        if store.address[1].encode() in key and (b"run:" in key or b"thread:" in key)
    ]
    assert 3 == len(keys)
    assert all(0 < redis_server.client.pttl(key) <= 60_000 for key in keys)
    store.close()
