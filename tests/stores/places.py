"""Stores by the address that another process, or a command line, can be given: `memory:`, `sqlite:/file` or `sqlite:////file`, `redis://host:port/0`."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from governor.stores.contract import Store

__all__ = ["lacking", "opened"]


def opened(address: str) -> Store:
    """The store at `address`."""
    kind, _, rest = address.partition(":")
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        return SqliteStore(rest.removeprefix("//"))
    store: Store = importlib.import_module("governor_redis").RedisStore(address)
    return store


def lacking(kind: str) -> str:
    """Why a kind of store cannot be used here; empty when it can."""
    if kind == "redis" and importlib.util.find_spec("governor_redis") is None:
        return "governor_redis is not here"
    return ""
