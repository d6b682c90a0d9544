"""The Redis store keeps the contract."""

from itertools import count

import pytest

import governor_redis.server
from governor.ledger import ReserveRequest
from governor.stores.contract import Store
from governor.testing import START_MS, StoreConformance, hold, spent_and_reserved
from governor_redis import RedisStore, lanes, packing
from tests.redis_server import RedisServer

NAMES = count()
pytestmark = pytest.mark.redis


class TestRedisStore(StoreConformance):
    """Its scripts are told the time, so that hours pass at once; what they do with it is theirs."""

    TOLD = """local clock = redis.call('TIME')
    do
      local told = redis.call('GET', 'told')
      clock = {string.sub(told, 1, -4), string.sub(told, -3) .. '000'}
    end"""

    @pytest.fixture(autouse=True)
    def told(self, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
        text = packing.script
        for module in (governor_redis.server, lanes):
            monkeypatch.setattr(
                module, "script", lambda name: text(name).replace("local clock = redis.call('TIME')", self.TOLD)
            )
        monkeypatch.setattr(governor_redis.server, "_shas", {})

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


def test_time_is_the_servers_and_what_requests_say_of_it_is_ignored(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, namespace=f"time-{next(NAMES)}")
    store.reserve(ReserveRequest(id="lost", holds=(hold(amount=30),), ttl_ms=1, now_ms=START_MS))
    seconds, _ = redis_server.client.time()
    while (30, 0) != spent_and_reserved(store)["run/a"]:
        store.reserve(ReserveRequest(id="l", holds=(hold("other/o", 0),), ttl_ms=60_000, now_ms=0))

    (balance, _) = sorted(store.balances(), key=lambda each: each.ledger, reverse=True)
    assert 5_000 >= abs(balance.opened_ms - seconds * 1_000)
    store.close()
