"""Performs what the flows ask: blocking, or on an event loop, where a cancelled task's operation goes on without it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from governor.errors import StoreError
from governor.ledger import Lease
from governor.stores.contract import Store
from governor.stores.off_loop import OffLoop
from governor_redis.lanes import Lane, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor_redis.flows import Flow, Flows
    from governor_redis.server import Call, Server

__all__ = ["Driven"]

T = TypeVar("T")


class Driven(Store):
    """What drives flows: one server, one connection for each event loop."""

    def __init__(self, server: Server, flows: Flows) -> None:
        """Opens nothing."""
        self._server, self._flows = server, flows
        self._lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, Lane] = WeakKeyDictionary()
        self._lock, self._pid = Lock(), os.getpid()
        self._off_loop = OffLoop(self)
        self._detached: set[asyncio.Task[None]] = set()

    async def aside(self, call: Callable[[], T]) -> T:
        """In a thread: the server may keep it waiting."""
        return await self._off_loop.aside(call)

    def _here(self) -> Flows:
        """The operations, of this process: a forked child begins anew."""
        if self._pid != os.getpid():
            self._lock, self._pid = Lock(), os.getpid()
            self._lanes = WeakKeyDictionary()
            self._detached = set()
            self._server.forked()
            self._flows.forked()
        return self._flows

    def _drive(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    reply = (
                        step.result(self._server.timeout_s * 4) if isinstance(step, Future) else self._server.call(step)
                    )
                except BaseException as error:  # noqa: BLE001 - the flow frees what it holds, whatever ended it
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
        except StopIteration as end:
            return end.value

    async def _adrive(self, flow: Flow[T], *, droppable: bool = False) -> T:
        if self._server.connections is None:
            return await self.aside(lambda: self._drive(flow))
        try:
            return await self._go_on(flow, next(flow), droppable=droppable)
        except StopIteration as end:  # nothing had to be asked
            return end.value

    async def _go_on(self, flow: Flow[T], step: Call | Future[None], *, droppable: bool = False) -> T:
        """Perform `step` and what follows. When it is cancelled after something was sent, the rest goes on without it."""
        while True:
            sent: Sent | None = None
            reply: Any = None
            try:
                if isinstance(step, Future):
                    reply = await asyncio.shield(asyncio.wrap_future(step))
                else:
                    sent = self._lane().submit(step, droppable=droppable)
                    reply = await sent.answer
            except asyncio.CancelledError:
                if sent is None or (droppable and not sent.sent):
                    flow.close()
                else:
                    sent.abandon(partial(self._detach, flow))
                raise
            except StoreError as error:
                failure: StoreError | None = error
            else:
                failure = None
            try:
                step = flow.throw(failure) if failure else flow.send(reply)
            except StopIteration as end:
                return end.value

    def _detach(self, flow: Flow[Any], reply: Any, failure: StoreError | None) -> None:
        """Go on with a flow whose task was cancelled; a lease that nobody will learn of is given back."""

        async def rest() -> None:
            try:
                step = flow.throw(failure) if failure else flow.send(reply)
                answer = await self._go_on(flow, step)
            except StopIteration as end:
                answer = end.value
            except (StoreError, ValueError):
                return  # nobody waits for it, and its lease ends by itself
            if isinstance(answer, tuple) and answer[1] and isinstance(answer[0], Lease):
                await self._adrive(self._flows.release(answer[0].id))

        task = asyncio.get_running_loop().create_task(rest())
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)

    def _lane(self) -> Lane:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            with self._lock:
                lane = self._lanes[loop] = Lane(self._server)
        return lane
