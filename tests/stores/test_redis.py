"""The Redis store keeps the contract."""

from itertools import count

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import governor_redis.server
from governor.errors import ConfigurationError
from governor.ledger import Charge, Lease, Refusal, ReserveRequest, Unit
from governor.stores.contract import Store
from governor.testing import START_MS, StoreConformance, hold, spent_and_reserved
from governor_redis import RedisStore, lanes, opened, packing
from governor_redis.server import packed
from tests.redis_server import RedisServer
from tests.stores.test_invariants import machine

NAMES = count()
pytestmark = pytest.mark.redis


TOLD = """local clock = redis.call('TIME')
do
  local told = redis.call('GET', 'told')
  clock = {string.sub(told, 1, -4), string.sub(told, -3) .. '000'}
end"""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts are told the time, so that hours pass at once; what they do with it is theirs."""
    text = packing.script
    for module in (governor_redis.server, lanes):
        monkeypatch.setattr(module, "script", lambda name: text(name).replace("local clock = redis.call('TIME')", TOLD))
    monkeypatch.setattr(governor_redis.server, "_shas", {})


@pytest.mark.usefixtures("told")
class TestRedisStore(StoreConformance):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def on(cls, redis_server: RedisServer) -> None:
        cls.server = redis_server

    def make_store(self) -> Store:
        self.server.client.set("told", self.now_ms)
        return RedisStore(self.server.url, namespace=f"conformance-{next(NAMES)}")

    def elapse(self, ms: int) -> None:
        super().elapse(ms)
        self.server.client.set("told", self.now_ms)


class TakesTheWord(RedisStore):
    """For the model, which says with each request what time it is."""

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        self._server.command("SET", "told", request.now_ms)
        return super().reserve(request)

    def settle(self, charge: Charge) -> None:
        self._server.command("SET", "told", charge.now_ms)
        super().settle(charge)

    def release(self, lease: str, now_ms: int) -> None:
        self._server.command("SET", "told", now_ms)
        super().release(lease, now_ms)


@pytest.mark.usefixtures("told")
def test_the_redis_store_follows_the_model(redis_server: RedisServer) -> None:
    run_state_machine_as_test(
        machine(lambda: TakesTheWord(redis_server.url, namespace=f"model-{next(NAMES)}")),
        settings=settings(stateful_step_count=40),
    )


def test_without_hiredis_the_same_bytes_are_sent(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ("EVALSHA", b"\x00\r\n", "é", 7, 9_000_000_000_000_000, Unit.TOKENS, "")

    assert governor_redis.server._packed_by_hand(parts) == packed(parts)
    monkeypatch.setattr(governor_redis.server, "_pack", governor_redis.server._packed_by_hand)
    store = RedisStore(redis_server.url, namespace=f"plain-{next(NAMES)}")
    store.reserve(ReserveRequest(id="l", holds=(hold(amount=30),), ttl_ms=60_000, now_ms=0))
    assert {"run/a": (0, 30)} == spent_and_reserved(store)
    store.close()


def test_a_store_is_found_by_its_address_and_namespace(redis_server: RedisServer) -> None:
    store, same, other = (
        opened(f"{redis_server.url}?{query}")
        for query in ("namespace=a&socket_timeout=3", "namespace=a", "namespace=b")
    )

    assert store.same_as(same)
    assert not store.same_as(other)
    store.keep("r", "h", "text")
    assert "text" == same.recall("r", "h")
    assert None is other.recall("r", "h")
    with pytest.raises(ConfigurationError, match="braces"):
        opened(f"{redis_server.url}?namespace=%7B")
    for each in (store, same):
        each.close()


def test_time_is_the_servers_and_what_requests_say_of_it_is_ignored(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, namespace=f"time-{next(NAMES)}")
    store.reserve(ReserveRequest(id="lost", holds=(hold(amount=30),), ttl_ms=1, now_ms=START_MS))
    seconds, _ = redis_server.client.time()
    while (30, 0) != spent_and_reserved(store)["run/a"]:
        store.reserve(ReserveRequest(id="l", holds=(hold("other/o", 0),), ttl_ms=60_000, now_ms=0))

    (balance, _) = sorted(store.balances(), key=lambda each: each.ledger, reverse=True)
    assert 5_000 >= abs(balance.opened_ms - seconds * 1_000)
    store.close()
