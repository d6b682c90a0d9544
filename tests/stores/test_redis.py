"""The Redis store keeps the contract."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from governor.stores.contract import Store
from governor.testing import StoreConformance
from governor_redis import RedisStore
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

    def make_store(self) -> Store:
        return RedisStore(self.server.url, namespace=f"conformance-{next(NAMES)}")

    def elapse(self, ms: int) -> None:
        time.sleep((ms + 2) / 1_000)
        super().elapse(ms)
