"""The Redis store keeps the contract."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import governor_redis.server
from governor.stores.contract import Store
from governor.testing import StoreConformance
from governor_redis import RedisStore, lanes, packing
from tests.stores.redis_server import RedisServer

NAMES = count()
pytestmark = pytest.mark.redis


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    started = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    yield started
    started.kill()


class TestRedisStore(StoreConformance):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def on(cls, server: RedisServer) -> None:
        cls.server = server

    ttl_ms = 400
    """Nothing may expire while a busy machine is at it, and every wait is for real."""

    def make_store(self) -> Store:
        return RedisStore(self.server.url, namespace=f"conformance-{next(NAMES)}")

    def elapse(self, ms: int) -> None:
        time.sleep((ms + 2) / 1_000)
        super().elapse(ms)


class TestRedisStoreToldTheTime(StoreConformance):
    """The same with scripts that are told the time, so that hours pass at once."""

    TOLD = """local clock = redis.call('TIME')
    do
      local told = redis.call('GET', 'told')
      clock = {string.sub(told, 1, -4), string.sub(told, -3) .. '000'}
    end"""

    @pytest.fixture(autouse=True)
    def told(self, monkeypatch: pytest.MonkeyPatch, server: RedisServer) -> None:
        text = packing.script
        for module in (governor_redis.server, lanes):
            monkeypatch.setattr(
                module, "script", lambda name: text(name).replace("local clock = redis.call('TIME')", self.TOLD)
            )
        monkeypatch.setattr(governor_redis.server, "_shas", {})

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def on(cls, server: RedisServer) -> None:
        cls.server = server

    def make_store(self) -> Store:
        self.server.client.set("told", self.now_ms)
        return RedisStore(self.server.url, namespace=f"conformance-{next(NAMES)}")

    def elapse(self, ms: int) -> None:
        super().elapse(ms)
        self.server.client.set("told", self.now_ms)
