"""Talking to the server, blocking: one pool of connections that callers wait for, and errors that say what to do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from hashlib import sha1
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from redis.backoff import ExponentialBackoff
from redis.connection import parse_url
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from governor.errors import StoreError
from governor_redis.packing import script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["RETRIES", "Call", "Seen", "Server", "pool_of", "refused_version", "sha", "unanswered"]

RETRIES = 2
"""How often a command is sent again after its connection broke or its answer did not come. Every script may run more than once."""
IDLE_S = 12 * 3_600
"""After so long without a word the server may have forgotten this process: nothing is concluded from that then."""


class Call(NamedTuple):
    """One script call."""

    name: str
    keys: Sequence[str]
    args: Sequence[Any]


def sha(name: str) -> str:
    """What the server calls a script."""
    known = _shas.get(name)
    if known is None:
        known = _shas[name] = sha1(script(name).encode(), usedforsecurity=False).hexdigest()
    return known


_shas: dict[str, str] = {}


@dataclass(slots=True)
class Seen:
    """What this process knows of the server: enough to notice that the server lost something."""

    process: str
    epoch: bytes = b""
    own: float = 0.0
    at_s: float = field(default_factory=time.monotonic)

    def known(self) -> float:
        """Number of this process's latest write, 0 when that was too long ago."""
        return self.own if time.monotonic() - self.at_s < IDLE_S else 0.0

    def learn(self, epoch: bytes, own: float) -> None:
        """Take note of an answer. Answers may come in another order than they were given."""
        if epoch:
            self.epoch, self.own = epoch, own
        else:
            self.own = max(self.own, own)
        self.at_s = time.monotonic()


def unanswered(error: BaseException, where: str) -> StoreError:
    """The store's error for redis-py's, with what to do."""
    text = str(error)
    remedies = {
        "OOM": "Give the server more memory (`maxmemory`), with `maxmemory-policy noeviction`.",
        "READONLY": "This is a replica: name the primary.",
        "MISCONF": "The server cannot write to its disk.",
        "NOAUTH": "Put the password into the URL.",
        "WRONGPASS": "Put the right password into the URL.",
        "NOPERM": "The user needs EVALSHA, EVAL and the keys of this namespace.",
        "LOADING": "The server is reading its data: try again soon.",
        "CROSSSLOT": "The namespace's keys are not in one slot.",
    }
    remedy = next((remedies[word] for word in remedies if word in text), "Is redis-server running there, and reachable?")
    return StoreError(f"Redis at {where}: {text or type(error).__name__}. {remedy}")


def refused_version(version: str, where: str) -> StoreError | None:
    """The error for a server that is too old."""
    try:
        known = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return None
    return StoreError(f"Redis at {where} is {version}: governor needs 7.0 or later.") if known < (7, 0) else None


def pool_of(client: str | redis.Redis, options: Mapping[str, Any]) -> tuple[type[Any], dict[str, Any]] | None:
    """Class and arguments of the connections to make, or None for a client whose own connections have to be used."""
    if isinstance(client, str):
        try:
            arguments = dict(parse_url(client))
        except ValueError as error:
            raise StoreError(f"{client.split('@')[-1]}: {error}") from error
        kind = arguments.pop("connection_class", redis.Connection)
    else:
        pool = getattr(client, "connection_pool", None)
        if type(pool) not in (redis.ConnectionPool, redis.BlockingConnectionPool):
            return None
        arguments, kind = dict(pool.connection_kwargs), pool.connection_class
    arguments.pop("retry", None)
    return kind, {**arguments, **options, "decode_responses": False}


class Server:
    """The blocking side of one store."""

    def __init__(self, client: str | redis.Redis, *, timeout_s: float, connections: int) -> None:
        """Connects to nothing yet. `timeout_s`: for a connection, for a command, and for a free connection of `connections`."""
        options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        self.connections = pool_of(client, options)
        self.timeout_s = timeout_s
        if self.connections:
            kind, arguments = self.connections
            retry = Retry(ExponentialBackoff(cap=0.1, base=0.01), RETRIES)
            pool = redis.BlockingConnectionPool(
                max_connections=connections, timeout=timeout_s, connection_class=kind, retry=retry, **arguments
            )
            self.client: Any = redis.Redis(connection_pool=pool)
            self.where = str(arguments.get("path") or f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}")
        else:
            self.client, self.where = client, type(client).__name__
        self._checked = False

    def call(self, call: Call) -> Any:
        """Make one script call. Raises StoreError."""
        try:
            if not self._checked:
                self._check()
            try:
                return self.client.execute_command("EVALSHA", sha(call.name), len(call.keys), *call.keys, *call.args)
            except NoScriptError:
                return self.client.execute_command("EVAL", script(call.name), len(call.keys), *call.keys, *call.args)
        except (RedisError, OSError) as error:
            raise unanswered(error, self.where) from error

    def command(self, *parts: Any) -> Any:
        """Make one plain command. Raises StoreError."""
        try:
            if not self._checked:
                self._check()
            return self.client.execute_command(*parts)
        except (RedisError, OSError) as error:
            raise unanswered(error, self.where) from error

    def close(self) -> None:
        """Close the connections that this store made."""
        if self.connections:
            self.client.connection_pool.disconnect()

    def _check(self) -> None:
        info = self.client.info("server")
        facts = info if "redis_version" in info else next(iter(info.values()))  # of a cluster: one of its nodes
        refusal = refused_version(str(facts["redis_version"]), self.where)
        if refusal:
            raise refusal
        self._checked = True

