"""The scripts count as the dictionaries of one process do, to the unit, whatever is asked in whatever order."""

import struct
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import LeaseConflict, StoreError
from governor.ledger import Adjustment, AdjustmentKind, Charge, Halted, Hold, Lease, LeaseState, ReserveRequest, Unit
from governor.stores.counters import Counters
from governor.testing import START_MS, hold
from governor_redis import RedisStore
from governor_redis.packing import LONGEST_PERIOD_MS
from tests.redis_server import RedisServer

NAMES = count()
pytestmark = pytest.mark.redis


def fresh(redis_server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(redis_server.url, namespace=f"ledgers-{next(NAMES)}", **options)


def still(monkeypatch: pytest.MonkeyPatch, clock: list[int]) -> None:
    """Let every script take its time from `clock` instead of the server."""
    from governor_redis import server as module

    text = module.script

    def told(name: str) -> str:
        told_time = f"local clock = {{'{clock[0] // 1000}', '{clock[0] % 1000 * 1000}'}}"
        return text(name).replace("local clock = redis.call('TIME')", told_time)

    def call(self: Any, call: Any) -> Any:
        return self.command("EVAL", told(call.name), len(call.keys), *call.keys, *call.args)

    monkeypatch.setattr(module.Server, "call", call)


LEDGERS = ("budget", "other", "rate", "slow")
AMOUNTS = st.integers(0, 60)


def wanted(ledger: str, amount: int, limit: int, ends: int | None) -> Hold:
    per = {"rate": 700, "slow": 86_400_000}.get(ledger)
    earlier = ("other",) if ledger == "budget" else ()
    return replace(hold(ledger, amount, limit, expires_ms=ends), per_ms=per, earlier=earlier, unit=Unit.TOKENS)


LIMITS = st.sampled_from((40, 100, 101))
ENDS = st.sampled_from((None, None, START_MS + 2_000, START_MS + 100_000_000))
HOLDS = st.lists(st.builds(wanted, st.sampled_from(LEDGERS), AMOUNTS, LIMITS, ENDS), min_size=1, max_size=4)
STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 12), HOLDS, st.booleans()),
    st.tuples(st.just("settle"), st.integers(0, 12), st.lists(AMOUNTS, min_size=4, max_size=4)),
    st.tuples(st.just("release"), st.integers(0, 12)),
    st.tuples(st.just("dispatch"), st.integers(0, 12)),
    st.tuples(st.just("extend"), st.integers(0, 12), st.integers(0, 3_000)),
    st.tuples(st.just("elapse"), st.sampled_from((1, 7, 90, 350, 1_000, 2_500, 90_000_000))),
    st.tuples(
        st.just("adjust"), st.sampled_from(("grant", "reset", "halt", "resume")), st.sampled_from((*LEDGERS, "all"))
    ),
)


def done(target: Any, step: tuple[Any, ...], now: int, sizes: dict[str, int]) -> object:
    """One step on a store or on counters; errors are answers too."""
    what, *rest = step
    lease = f"l{rest[0]}"
    try:
        if what == "reserve":
            request = ReserveRequest(
                id=lease, holds=tuple(rest[1]), ttl_ms=1_000, now_ms=now, dispatched=rest[2], scopes=("all",)
            )
            return target.reserve(request)
        if what == "settle":
            return target.settle(Charge(lease=lease, amounts=tuple(rest[1][: sizes.get(lease, 1)]), now_ms=now))
        if what == "adjust":
            change = Adjustment(
                id=str(now), kind=AdjustmentKind(rest[0]), subject=rest[1], amount=30, who="w", why="y", at_ms=now
            )
            return target.adjust(change)
        return getattr(target, what)(lease, *rest[1:], now)
    except (StoreError, ValueError) as error:
        return type(error)


def buckets(redis_server: RedisServer, store: RedisStore) -> dict[str, object]:
    """Every rate's bucket as the scripts keep it, in the terms of `rates.Bucket`."""
    answers: dict[str, object] = {}
    for key, raw in redis_server.client.hgetall(store._flows.ledgers).items():
        if len(raw) > 64:
            per = int(struct.unpack_from("<d", raw, 40)[0])
            units, rest, at, taken, lows = (int(each) for each in struct.unpack_from("<5d", raw, 64))
            numbers = [int(each) for each in struct.unpack_from(f"<{3 * lows}d", raw, 104)]
            triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
            answers[key.decode()] = (units * per + rest, at, taken, tuple((n, u * per + r) for n, u, r in triples))
    return answers


@given(steps=st.lists(STEPS, max_size=40))
def test_the_scripts_answer_and_count_as_one_process_does(
    redis_server: RedisServer, steps: list[tuple[Any, ...]]
) -> None:
    clock, counters, sizes = [START_MS], Counters(), dict[str, int]()
    with pytest.MonkeyPatch.context() as monkeypatch:
        still(monkeypatch, clock)
        store = fresh(redis_server)
        for step in steps:
            clock[0] += 3 if step[0] != "elapse" else step[1]
            if step[0] == "elapse":
                continue
            expected, answer = (done(each, step, clock[0], sizes) for each in (counters, store))
            if step[0] == "reserve" and isinstance(answer, Lease) and f"l{step[1]}" not in sizes:
                sizes[f"l{step[1]}"] = len(answer.holds)

            assert expected == answer
            assert list(counters.balances("")) == list(store.balances())
            assert sorted(counters.leases(""), key=lambda each: each.id) == sorted(
                store.leases(), key=lambda each: each.id
            )
        expected_buckets = {
            key: (each.bucket.level, each.bucket.at_ms, each.bucket.taken, each.bucket.lows)
            for key, each in counters.ledgers.items()
            if each.bucket.taken
        }
        found = {key: each for key, each in buckets(redis_server, store).items() if each[2]}  # type: ignore[index] # a tuple of four
        store.close()

    assert expected_buckets == found


def test_numbers_near_the_top_are_counted_to_the_unit(redis_server: RedisServer) -> None:
    store, top = fresh(redis_server), 9_000_000_000_000_000
    request = ReserveRequest(id="l", holds=(hold(amount=top - 3, limit=top),), ttl_ms=60_000, now_ms=0)
    store.reserve(request)
    store.settle(Charge(lease="l", amounts=(top - 1,), now_ms=0))

    (balance,) = store.balances()
    refused = store.reserve(replace(request, id="m", holds=(hold(amount=2, limit=top),)))

    assert top - 1 == balance.spent
    assert not isinstance(refused, Lease)
    with pytest.raises(ValueError, match="amounts are"):
        store.reserve(replace(request, id="n", holds=(hold(amount=top + 1, limit=None),)))
    with pytest.raises(ValueError, match="amounts are"):
        store.settle(Charge(lease="l", amounts=(top + 1,), now_ms=0))
    with pytest.raises(ValueError, match="exactly"):
        store.reserve(replace(request, id="n", holds=(hold(amount=1, limit=top + 1),)))
    with pytest.raises(ValueError, match="rolling window"):
        store.reserve(replace(request, id="n", holds=(replace(hold(), per_ms=LONGEST_PERIOD_MS + 1),)))
    store.close()


def test_a_ledger_without_a_limit_refuses_before_it_counts_wrongly(redis_server: RedisServer) -> None:
    store, top = fresh(redis_server), 9_000_000_000_000_000
    request = ReserveRequest(id="l", holds=(hold(amount=top, limit=None),), ttl_ms=60_000, now_ms=0)
    store.reserve(request)

    with pytest.raises(StoreError, match="Reset it"):
        store.reserve(replace(request, id="m"))
    store.close()


def test_the_same_id_with_another_payload_is_a_conflict(redis_server: RedisServer) -> None:
    store = fresh(redis_server)
    request = ReserveRequest(id="l", holds=(hold(),), ttl_ms=60_000, now_ms=0, payload="a")
    store.reserve(request)

    with pytest.raises(LeaseConflict):
        store.reserve(replace(request, payload="b"))
    assert LeaseState.DISPATCHED is store.reserve(request).state  # type: ignore[union-attr] # a lease, or the test fails
    store.close()


def test_operators_changes_are_made_once_seen_and_remembered(redis_server: RedisServer) -> None:
    store = fresh(redis_server)
    request = ReserveRequest(id="l", holds=(hold(),), ttl_ms=60_000, now_ms=0, scopes=("all", "tenant=t"))
    halt = Adjustment(id="1", kind=AdjustmentKind.HALT, subject="tenant=t", who="ana", why="runaway", at_ms=5)
    for _ in range(2):
        store.adjust(halt)

    halted = Halted(scope="tenant=t", who="ana", why="runaway", at_ms=5)
    assert halted == store.reserve(request)
    assert halted == store.halted(("all", "tenant=t"))
    assert [halted] == store.halts()
    store.adjust(replace(halt, id="2", kind=AdjustmentKind.RESUME))
    assert isinstance(store.reserve(request), Lease)
    grant = Adjustment(id="3", kind=AdjustmentKind.GRANT, subject="run/a", amount=50, who="ana", why="more", at_ms=6)
    for _ in range(2):
        store.adjust(grant)
    assert [50] == [each.granted for each in store.balances("run/")]
    assert ["3", "2", "1"] == [each.id for each in store.audit()]
    assert ["3"] == [each.id for each in store.audit(1)]
    with pytest.raises(StoreError, match="no ledger"):
        store.adjust(replace(grant, id="4", subject="nobody"))
    store.close()
