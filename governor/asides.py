"""Flows that run beside a call: in a thread of their own, or a task. The call waits for one as long as it says, and no longer.

They go on after that, and after the call. A process that ends waits a moment for those under way, so that what they were charged is
settled; whatever is still under way then is charged by its lease's end.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.effects import Effect
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from governor.effects import Flow

__all__ = ["Aside", "Asides"]

_log = logging.getLogger("governor")
MOST = 8
"""At once in a process. A judge that hangs must not collect threads; one more question is then not asked."""
_AT_EXIT_S = 5.0


@cheap
@dataclass(frozen=True, slots=True)
class Aside(Effect[bool]):
    """Run a flow beside the call under way, and wait so many milliseconds for its end. Past that, and past the call, it goes on alone.

    False when it has not ended, or too many are under way to begin it.
    """

    flow: Callable[[], Flow[None]]
    wait_ms: int
    after: bool = False
    """Whether the call has its answer already: a caller that blocks runs it to its end itself, and only an event loop goes on beside it."""


class Asides:
    """What is under way beside the calls of one runtime."""

    def __init__(self, most: int = MOST) -> None:
        """Nothing is under way."""
        self._room = threading.BoundedSemaphore(most)
        self._threads: set[threading.Thread] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._awaited = False

    def run(self, work: Callable[[], None], wait_ms: int) -> bool:
        """Begin, and wait so many milliseconds for its end. False when that was not enough, or too many are under way already.

        Where waiting would block an event loop it is not waited for.
        """
        if not self._room.acquire(blocking=False):
            return False
        done, context = threading.Event(), contextvars.copy_context()

        def at_work() -> None:
            try:
                context.run(_logged, work)
            finally:
                self._threads.discard(thread)
                self._room.release()
                done.set()

        thread = threading.Thread(target=at_work, name="governor-aside", daemon=True)
        if not self._awaited:
            self._awaited = True
            atexit.register(_ended, self._threads)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter ends: what is beside a call never fails it
            self._threads.discard(thread)
            self._room.release()
            _log.warning("a call beside a call was not made: %s", error)
            return False
        if wait_ms and not _in_a_loop():
            done.wait(wait_ms / 1_000)
        return done.is_set()

    async def run_async(self, work: Callable[[], Awaitable[None]], wait_ms: int) -> bool:
        """The async twin of `run`. A call that is cancelled while it waits leaves the other to go on."""
        for left in [each for each in self._tasks if each.get_loop().is_closed()]:
            self._over(left)  # its loop ended before it did: nothing calls back any more
        if not self._room.acquire(blocking=False):
            return False
        task = asyncio.create_task(_alogged(work))
        self._tasks.add(task)
        task.add_done_callback(self._over)
        if wait_ms:
            await asyncio.wait({task}, timeout=wait_ms / 1_000)
        return task.done()

    def _over(self, task: asyncio.Task[None]) -> None:
        if task in self._tasks:
            self._tasks.discard(task)
            self._room.release()


def _logged(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - nobody waits who could be told
        _log.warning("a call beside a call ended with %s: %s", type(error).__name__, error)


async def _alogged(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - as in `_logged`
        _log.warning("a call beside a call ended with %s: %s", type(error).__name__, error)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _ended(threads: set[threading.Thread]) -> None:
    """Let those under way end, for a moment in all."""
    for thread in tuple(threads):
        thread.join(_AT_EXIT_S / MOST)
