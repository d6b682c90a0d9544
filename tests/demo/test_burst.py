"""The tenant's budget of the demo: the same figures wherever its ledger is kept."""

from importlib.metadata import entry_points

import pytest

from examples.support_desk.burst import run_burst
from tests.redis_server import RedisServer
from tests.stores.places import lacking

NAMED = entry_points(group="governor.stores", name="redis")


def test_ten_of_fifty_are_answered_and_the_budget_holds_to_the_nano_dollar() -> None:
    burst = run_burst()

    assert (10, 40) == (burst.answered, burst.refused)
    assert burst.nano_usd <= burst.budget_nano_usd


@pytest.mark.redis
@pytest.mark.skipif(bool(lacking("redis")) or not NAMED, reason="governor_redis is not installed")
def test_on_redis_it_is_the_same(redis_server: RedisServer) -> None:
    burst = run_burst(store=redis_server.url)

    assert (10, 40) == (burst.answered, burst.refused)
    assert burst.nano_usd <= burst.budget_nano_usd
