"""One connection for each event loop: what its tasks ask while answers are under way goes out together, as soon as they are in.

Nothing waits for company: a single task's call leaves at once. A task that is cancelled neither takes others' calls along nor loses its
own: what was sent is answered to whoever left a callback, what was not sent and need not be is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from redis import asyncio as aredis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from governor.errors import StoreError
from governor_redis.packing import script
from governor_redis.server import RETRIES, Call, packed, sha, unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor_redis.server import Server

__all__ = ["Lane", "Sent"]

MOST = 128
"""Calls that leave together: their answers are read before the next leave."""
_KINDS: dict[type[Any], type[Any]] = {
    redis.Connection: aredis.Connection,
    redis.SSLConnection: aredis.SSLConnection,
    redis.UnixDomainSocketConnection: aredis.UnixDomainSocketConnection,
}


@dataclass(slots=True, eq=False)
class Sent:
    """A call of a task."""

    call: Call
    answer: asyncio.Future[Any]
    droppable: bool
    """Whether it may be dropped when its task is cancelled before it was sent."""
    sent: bool = False
    reply: tuple[Any, StoreError | None] | None = None
    """What came in."""
    abandoned: Callable[[Any, StoreError | None], None] | None = None
    """Takes the answer of a call whose task is gone."""
    unknown: bool = False
    """Whether the server does not have the script."""

    def answered(self, reply: Any, error: StoreError | None = None) -> None:
        """Hand the answer over."""
        self.reply = reply, error
        if self.answer.done():
            if self.abandoned:
                self.abandoned(reply, error)
        elif error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(reply)

    def abandon(self, to: Callable[[Any, StoreError | None], None]) -> None:
        """Have `to` take the answer: at once where it came in just as its task was cancelled."""
        if self.reply is not None:
            to(*self.reply)
        else:
            self.abandoned = to


class Lane:
    """The connection of one event loop."""

    def __init__(self, server: Server) -> None:
        """To be made while its loop is running. It connects with its first call."""
        self._server = server
        self._waiting: list[Sent] = []
        self._pump: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._ends: AsyncGenerator[None, None] | None = None
        self.loop = asyncio.get_running_loop()

    def submit(self, call: Call, *, droppable: bool = False) -> Sent:
        """Put a call in the next batch."""
        sent = Sent(call, self.loop.create_future(), droppable)
        self._waiting.append(sent)
        if self._pump is None or self._pump.done():
            self._pump = self.loop.create_task(self._work())
        return sent

    async def close(self) -> None:
        """Close the connection; a later call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            batch = [each for each in batch if not (each.droppable and each.answer.cancelled())]
            for each in batch:
                each.sent = True
            await self._exchange(batch)

    async def _exchange(self, batch: list[Sent]) -> None:
        """Send, read, and send again what has no answer when the connection breaks. Everything is answered in the end."""
        left = batch
        for attempt in range(RETRIES + 1):
            try:
                async with asyncio.timeout(self._server.timeout_s):
                    connection = self._connection or await self._connect()
                    while left:
                        left = await self._round(connection, left)
                return
            except (RedisError, OSError, StoreError, asyncio.CancelledError) as error:
                await self.close()
                if attempt < RETRIES and isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError)):
                    continue
                failed = error if isinstance(error, StoreError) else unanswered(error, self._server.where)
                for each in left:
                    each.answered(None, failed)
                if isinstance(error, asyncio.CancelledError):
                    raise
                return

    async def _round(self, connection: Any, calls: list[Sent]) -> list[Sent]:
        """One way there and back. Takes the answered ones out of `calls`; answers those whose script has to be sent in full."""
        await connection.send_packed_command(b"".join([_packed(each) for each in calls]), check_health=False)
        unknown: list[Sent] = []
        try:
            while calls:
                each = calls[0]
                try:
                    reply = await connection.read_response(disable_decoding=True)
                except NoScriptError:
                    each.unknown = True
                    unknown.append(each)
                except ResponseError as error:
                    each.answered(None, unanswered(error, self._server.where))
                else:
                    each.answered(reply)
                del calls[0]
        except BaseException:
            calls += unknown  # they have no answer either
            raise
        return unknown

    async def _connect(self) -> Any:
        connections = self._server.connections
        if connections is None:
            message = "this client's connections are not ours to make"
            raise StoreError(message)
        kind, arguments = connections
        connection = _KINDS.get(kind, aredis.Connection)(**{**arguments, "socket_timeout": None})
        try:
            await connection.connect()
            await connection.send_command("INFO", "server")
            self._server.check_info(await connection.read_response(disable_decoding=True))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        if self._ends is None:
            self._ends = self._until_the_loop_ends()
            await anext(self._ends)
        return connection

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        """A loop closes the asynchronous generators that are left when it ends: the one hook that every runner calls."""
        try:
            yield
        finally:
            await self.close()


def _packed(sent: Sent) -> bytes:
    call = sent.call
    how: Sequence[Any] = ("EVAL", script(call.name)) if sent.unknown else ("EVALSHA", sha(call.name))
    return packed((*how, len(call.keys), *call.keys, *call.args))
