"""Talking to the server, blocking: one pool of connections that callers wait for, and errors that say what to do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from hashlib import sha1
from importlib import import_module
from importlib.util import find_spec
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from governor.errors import StoreError
from governor_redis.packing import script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["RETRIES", "Call", "Seen", "Server", "packed", "pool_of", "sha", "unanswered"]

RETRIES = 2
"""How often a command is sent again after its connection broke or its answer did not come. Every script may run more than once."""
OLDEST = (7, 0)
"""Of Redis: scripts may ask for the time and then write."""
IDLE_S = 12 * 3_600
"""After so long without a word the server may have forgotten this process: nothing is concluded from that then."""


_Pool: Any = redis.ConnectionPool  # its from_url has no types


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
    remedy = next(
        (remedies[word] for word in remedies if word in text), "Is redis-server running there, and reachable?"
    )
    return StoreError(f"Redis at {where}: {text or type(error).__name__}. {remedy}")


def _refused_version(version: str, where: str) -> StoreError | None:
    """The error for a server that is too old."""
    try:
        known = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return None
    return StoreError(f"Redis at {where} is {version}: governor needs 7.0 or later.") if known < OLDEST else None


def pool_of(
    client: str | redis.Redis | redis.RedisCluster, options: Mapping[str, Any]
) -> tuple[type[Any], dict[str, Any]] | None:
    """Class and arguments of the connections to make, or None for a client whose own connections have to be used."""
    if isinstance(client, str):
        try:
            made = _Pool.from_url(client)
        except ValueError as error:
            raise StoreError(f"{client.split('@')[-1]}: {error}") from error
    else:
        made = getattr(client, "connection_pool", None)
        if type(made) not in (redis.ConnectionPool, redis.BlockingConnectionPool):
            return None
    pool: Any = made
    arguments: dict[str, Any] = dict(pool.connection_kwargs)
    arguments.pop("retry", None)
    return pool.connection_class, {**arguments, **options, "decode_responses": False}


class Server:
    """The blocking side of one store."""

    def __init__(self, client: str | redis.Redis | redis.RedisCluster, *, timeout_s: float, connections: int) -> None:
        """Connects to nothing yet. `timeout_s`: for a connection, for a command, and for a free one of so many `connections`."""
        options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        self.connections = pool_of(client, options)
        self.timeout_s, self._most = timeout_s, connections
        self._client = client
        if self.connections:
            _, arguments = self.connections
            self.where = str(
                arguments.get("path") or f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}"
            )
        else:
            self.where = type(client).__name__
        self._checked = False
        self.forked()

    def forked(self) -> None:
        """In a forked child: leave the parent's connections alone."""
        self._idle: list[Any] = []
        self._free = BoundedSemaphore(self._most)

    def call(self, call: Call) -> Any:
        """Make one script call. Raises StoreError."""
        try:
            return self._answer("EVALSHA", sha(call.name), len(call.keys), *call.keys, *call.args)
        except NoScriptError:
            return self.command("EVAL", script(call.name), len(call.keys), *call.keys, *call.args)

    def command(self, *parts: Any) -> Any:
        """Make one plain command. Raises StoreError."""
        try:
            return self._answer(*parts)
        except NoScriptError as error:
            raise unanswered(error, self.where) from error

    def close(self) -> None:
        """Close the connections that this store made."""
        while self._idle:
            self._idle.pop().disconnect()

    def _answer(self, *parts: Any) -> Any:
        try:
            if self.connections is None:
                return self._through_client(parts)
            return self._through_own(packed(parts))
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            raise unanswered(error, self.where) from error

    def _through_client(self, parts: Sequence[Any]) -> Any:
        client: Any = self._client
        if not self._checked:
            info = client.info("server")
            facts = info if "redis_version" in info else next(iter(info.values()))  # of a cluster: one of its nodes
            self._check(str(facts["redis_version"]))
        return client.execute_command(*parts)

    def _through_own(self, command: bytes) -> Any:
        """Send and read on a connection that is nobody else's meanwhile; again on a new one when it breaks. Callers wait for a free one."""
        if not self._free.acquire(timeout=self.timeout_s):
            raise StoreError(
                f"Redis at {self.where}: none of {self._most} connections got free. Allow for more `connections`."
            )
        try:
            for attempt in range(RETRIES + 1):
                try:
                    return self._once(command)
                except (redis.ConnectionError, redis.TimeoutError):
                    if attempt == RETRIES:
                        raise
            raise AssertionError  # the loop above returns or raises
        finally:
            self._free.release()

    def _once(self, command: bytes) -> Any:
        try:
            connection: Any = self._idle.pop()
        except IndexError:  # asked for, not looked at before: another thread may take the last one in between
            connection = self._connected()
        try:
            connection.send_packed_command([command], check_health=False)
            reply = connection.read_response(disable_decoding=True)
        except ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:  # an answer may still come: it must not be taken for the next one's
            connection.disconnect()
            raise
        self._idle.append(connection)
        return reply

    def _connected(self) -> Any:
        kind, arguments = self.connections or (redis.Connection, {})
        connection: Any = kind(retry=Retry(NoBackoff(), 0), **arguments)
        connection.connect()
        if not self._checked:
            connection.send_command("INFO", "server")
            try:
                self.check_info(connection.read_response(disable_decoding=True))
            except BaseException:
                connection.disconnect()
                raise
        return connection

    def check_info(self, info: bytes) -> None:
        """Raises StoreError for a server that is too old."""
        facts = dict(line.split(":", 1) for line in bytes(info).decode().splitlines() if ":" in line)
        self._check(facts.get("redis_version", ""))

    def _check(self, version: str) -> None:
        refusal = _refused_version(version, self.where)
        if refusal:
            raise refusal
        self._checked = True


def _packed_by_hand(parts: Sequence[Any]) -> bytes:
    pieces = [f"*{len(parts)}\r\n".encode()]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)


def packed(parts: Sequence[Any]) -> bytes:
    """A command on the wire."""
    return _pack(tuple(parts))


_hiredis: Any = import_module("hiredis") if find_spec("hiredis") else None
_pack: Callable[[tuple[Any, ...]], bytes] = _hiredis.pack_command if _hiredis else _packed_by_hand
