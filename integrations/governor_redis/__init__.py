"""The fleet's store: ledgers and run state of any number of processes and machines in one Redis (7.0 or later, Cluster included).

store = RedisStore("redis://localhost:6379/0", namespace="acme")

What it keeps survives a crash of the server as far as the server writes it down. With `appendfsync everysec` a crash of the machine
loses at most the last second of ledgers, with `always` nothing, without AOF everything. Whatever was lost is noticed by the next
operation of any process that had written it: hard budgets then refuse until the leases of before have run out (`loss_ms`), or until a
person says that the loss is accepted (`RedisStore.accept_loss`). A server that was emptied while no process was alive looks like a new one.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("redis") is None:
    message = "governor_redis needs redis: pip install 'langgraph-governor[redis]'"
    raise ImportError(message)

from governor_redis.store import RedisStore, opened

__all__ = ["RedisStore", "opened"]
