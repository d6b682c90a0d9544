"""The drivers: they perform what the path yields. Four thin loops over one set of rules (sync, async, and both streaming).

On an error a driver throws it into the flow and *performs the effects the flow then yields*; a driver that re-raised at once would lose the
settlement. The async loops shield those effects, so that a cancelled call still settles.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from governor.effects import NOW, AwaitLead, AwaitSlot, Extend, HaltedMeanwhile, InvokeModel, Sample, Summarise, Wait
from governor.ledger import Halted

if TYPE_CHECKING:
    from governor.calls import ModelResponse
    from governor.effects import Effect, Flow

__all__ = [
    "AsyncOpened",
    "Heartbeat",
    "Opened",
    "drive",
    "drive_async",
    "drive_stream",
    "drive_stream_async",
    "shielded",
]

T = TypeVar("T")
C_co = TypeVar("C_co", covariant=True)
C = TypeVar("C")

Perform = Callable[["Effect[Any]"], Any]
PerformAsync = Callable[["Effect[Any]"], Awaitable[Any]]

BEAT_MS = 30_000
"""A stream asks no less often whether its run was halted. Most calls are over by then and cost the store nothing more."""
_FRESH = (InvokeModel, Summarise, Sample, Wait, AwaitSlot, AwaitLead)
"""What begins another attempt, or waits for one: it may be cancelled like the first."""


class Opened(Protocol[C_co]):
    """A provider stream in progress: chunks, and after the last one the response they add up to."""

    def __iter__(self) -> Iterator[C_co]:
        """The chunks, metered as they pass."""
        ...

    def response(self) -> ModelResponse:
        """The merged response; only after exhaustion."""
        ...


class AsyncOpened(Protocol[C_co]):
    """The async twin of `Opened`."""

    def __aiter__(self) -> AsyncGenerator[C_co, None]:
        """The chunks, metered as they pass."""
        ...

    def response(self) -> ModelResponse:
        """The merged response; only after exhaustion."""
        ...


class Heartbeat:
    """Keeps the lease of a stream alive, and hears of a halt: due half the lease's life after the last beat, and every half minute.

    Says who has the latest chunk, too.
    """

    __slots__ = ("_due_ms", "_every_ms", "_lease", "_run", "_slot", "_ttl_ms", "needed")

    def __init__(self, call: InvokeModel) -> None:
        """Begin with the life that the lease was given."""
        self.needed = bool(call.lease)
        self._lease, self._ttl_ms, self._run = call.lease, call.ttl_ms, call.run
        self._every_ms = min(call.ttl_ms // 2, BEAT_MS)
        self._due_ms = call.sent_ms + self._every_ms
        self._slot = call.slot

    def handed(self, chunk: C) -> C:
        """The chunk, which is the reader's from now on."""
        if self._slot is not None:
            self._slot.handed += 1
            self._slot.reading = True
        return chunk

    def back(self) -> None:
        """The reader wants the next one."""
        if self._slot is not None:
            self._slot.reading = False

    def due(self, now_ms: int) -> Extend | None:
        """The extension that is due now; None when it is not yet. Not to be asked when nothing is held."""
        if now_ms < self._due_ms:
            return None
        self._due_ms = now_ms + self._every_ms
        return Extend(self._lease, self._ttl_ms, now_ms, self._run)

    @staticmethod
    def heard(answer: bool | Halted) -> None:
        """Raises HaltedMeanwhile when the stream is to be cut. A lease that is over cuts nothing: its answer is being paid for."""
        if isinstance(answer, Halted):
            raise HaltedMeanwhile(answer)


def drive(flow: Flow[T], perform: Perform) -> T:
    """Run a flow to its end. Raises what the flow raises."""
    try:
        effect = next(flow)
        while True:
            try:
                answer = perform(effect)
            except BaseException as error:  # noqa: BLE001 - the flow decides what an error means, GeneratorExit included
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        return end.value


async def drive_async(flow: Flow[T], perform: PerformAsync) -> T:
    """Run a flow to its end on the event loop. Effects that follow an error are shielded from cancellation."""
    failed = False
    try:
        effect = next(flow)
        while True:
            failed = failed and not isinstance(effect, _FRESH)
            try:
                answer = await (shielded(perform(effect)) if failed else perform(effect))
            except BaseException as error:  # noqa: BLE001 - as in drive
                failed = True
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        return end.value


def drive_stream(
    flow: Flow[ModelResponse], perform: Perform, open_stream: Callable[[InvokeModel], Opened[C]]
) -> Generator[C, None, ModelResponse]:
    """Run a flow whose model call streams: chunks go to the caller as they arrive, the settlement follows the last, or the break.

    A caller that stops early closes this generator; the flow then settles what was observed.
    """
    try:
        effect = next(flow)
        while True:
            try:
                if isinstance(effect, InvokeModel):
                    stream, beat = open_stream(effect), Heartbeat(effect)
                    begun = effect.first_chunk
                    with closing(cast("Generator[C]", iter(stream))) as chunks:
                        for chunk in chunks:
                            if begun is not None:
                                begun = perform(begun)
                            yield beat.handed(chunk)
                            beat.back()
                            if beat.needed and (extend := beat.due(perform(NOW))) is not None:
                                beat.heard(perform(extend))
                    answer: Any = stream.response()
                else:
                    answer = perform(effect)
            except BaseException as error:  # noqa: BLE001 - as in drive; GeneratorExit is how a reader breaks off
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        return end.value


async def drive_stream_async(
    flow: Flow[ModelResponse], perform: PerformAsync, open_stream: Callable[[InvokeModel], AsyncOpened[C]]
) -> AsyncGenerator[C, None]:
    """The async twin of `drive_stream`. Cancellation and an early close settle in a shielded section."""
    failed = False
    try:
        effect = next(flow)
        while True:
            failed = failed and not isinstance(effect, _FRESH)
            try:
                if isinstance(effect, InvokeModel):
                    stream, beat = open_stream(effect), Heartbeat(effect)
                    begun = effect.first_chunk
                    async with aclosing(
                        aiter(stream)
                    ) as chunks:  # else a broken-off provider stream waits for the collector
                        async for chunk in chunks:
                            if begun is not None:
                                begun = await perform(begun)
                            yield beat.handed(chunk)
                            beat.back()
                            if beat.needed and (extend := beat.due(await perform(NOW))) is not None:
                                beat.heard(await perform(extend))
                    answer: Any = stream.response()
                else:
                    answer = await (shielded(perform(effect)) if failed else perform(effect))
            except BaseException as error:  # noqa: BLE001 - as in drive
                failed = True
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration:
        return


async def shielded(work: Awaitable[T]) -> T:
    """Finish `work` even if this task is cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except BaseException:  # noqa: BLE001 - read from the task below
            break
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()
