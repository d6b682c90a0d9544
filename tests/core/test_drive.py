"""The drivers perform what a flow yields, and on a failure they perform what the flow yields *then*."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from governor.calls import ModelResponse
from governor.drive import drive, drive_async, drive_stream, drive_stream_async
from governor.effects import Effect, Extend, Flow, InvokeModel, Now, Release, Settle, ask
from governor.ledger import Charge, Hold, ReserveRequest, Unit
from governor.meter import Meter
from governor.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

INVOKE = InvokeModel(None, Meter())  # type: ignore[arg-type] # the drivers never look inside a request
SETTLE = Settle(Charge(lease="lease", amounts=(), now_ms=0))


class Chunks:
    """A provider stream of fixed chunks that may fail after some of them."""

    def __init__(self, chunks: list[str], error: BaseException | None = None) -> None:
        self.chunks, self.error, self.closed = chunks, error, False

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self.chunks
            if self.error:
                raise self.error
        finally:
            self.closed = True

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        try:
            for chunk in self.chunks:
                yield chunk
        finally:
            self.closed = True

    def response(self) -> ModelResponse:
        return ModelResponse(text="".join(self.chunks))


def paid_call(log: list[str]) -> Flow[ModelResponse]:
    """The skeleton of the path: dispatch, and settle whatever happens."""
    yield from ask(Now())
    try:
        response = yield from ask(INVOKE)
    except BaseException as error:
        log.append(type(error).__name__)
        yield from ask(Release("lease", 0))
        raise
    yield from ask(SETTLE)
    return response


def performer(log: list[str], failing: dict[type, BaseException] | None = None) -> Callable[[Effect[Any]], Any]:
    def perform(effect: Effect[Any]) -> Any:
        error = (failing or {}).get(type(effect))
        if error is not None:
            raise error
        log.append(type(effect).__name__)
        return ModelResponse(text="ok") if isinstance(effect, InvokeModel) else 1

    return perform


def test_a_flow_receives_each_answer_and_returns_its_value() -> None:
    log: list[str] = []

    response = drive(paid_call(log), performer(log))

    assert response.text == "ok"
    assert log == ["Now", "InvokeModel", "Settle"]


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), GeneratorExit()])
def test_a_failed_call_is_settled_before_its_error_goes_on(error: BaseException) -> None:
    log: list[str] = []

    with pytest.raises(type(error)):
        drive(paid_call(log), performer(log, {InvokeModel: error}))

    assert log == ["Now", type(error).__name__, "Release"]


def test_a_failing_effect_outside_the_call_reaches_the_caller() -> None:
    log: list[str] = []

    with pytest.raises(OSError, match="store"):
        drive(paid_call(log), performer(log, {Now: OSError("store")}))

    assert log == []


def test_stream_chunks_pass_one_by_one_and_the_settlement_follows_the_last() -> None:
    log: list[str] = []
    seen: list[str] = []

    for chunk in drive_stream(paid_call(log), performer(log), lambda _: Chunks(["a", "b"])):
        seen.append(chunk)
        assert log == ["Now"]

    assert seen == ["a", "b"]
    assert log == ["Now", "Settle"]


def test_a_reader_that_breaks_off_a_stream_still_settles_and_closes_the_provider_stream() -> None:
    log: list[str] = []
    chunks = Chunks(["a", "b"])
    stream = drive_stream(paid_call(log), performer(log), lambda _: chunks)

    next(stream)
    stream.close()

    assert log == ["Now", "GeneratorExit", "Release"]
    assert chunks.closed


def test_a_stream_that_fails_midway_settles_and_raises_the_providers_error() -> None:
    log: list[str] = []
    stream = drive_stream(paid_call(log), performer(log), lambda _: Chunks(["a"], ConnectionError("reset")))

    assert next(stream) == "a"
    with pytest.raises(ConnectionError, match="reset"):
        next(stream)

    assert log == ["Now", "ConnectionError", "Release"]


@pytest.mark.anyio
async def test_the_async_driver_takes_the_same_steps_as_the_sync_one() -> None:
    log: list[str] = []
    perform = performer(log)

    async def perform_async(effect: Effect[Any]) -> Any:
        return perform(effect)

    response = await drive_async(paid_call(log), perform_async)

    assert response.text == "ok"
    assert log == ["Now", "InvokeModel", "Settle"]


@pytest.mark.anyio
async def test_a_cancelled_call_settles_even_when_it_is_cancelled_again_meanwhile() -> None:
    log: list[str] = []
    called, settling, may_settle = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def perform(effect: Effect[Any]) -> Any:
        if isinstance(effect, InvokeModel):
            called.set()
            await asyncio.Event().wait()
        if isinstance(effect, Release):
            settling.set()
            await may_settle.wait()
        log.append(type(effect).__name__)
        return 1

    task = asyncio.ensure_future(drive_async(paid_call(log), perform))
    await called.wait()
    task.cancel()
    await settling.wait()
    task.cancel()
    may_settle.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert log == ["Now", "CancelledError", "Release"]


@pytest.mark.anyio
async def test_an_async_stream_that_is_closed_early_settles() -> None:
    log: list[str] = []
    perform = performer(log)

    async def perform_async(effect: Effect[Any]) -> Any:
        return perform(effect)

    provider = Chunks(["a", "b"])
    stream = drive_stream_async(paid_call(log), perform_async, lambda _: provider)
    assert await anext(stream) == "a"
    await stream.aclose()

    assert provider.closed
    assert log == ["Now", "GeneratorExit", "Release"]


@pytest.mark.anyio
async def test_an_async_stream_read_to_its_end_settles_once() -> None:
    log: list[str] = []
    perform = performer(log)

    async def perform_async(effect: Effect[Any]) -> Any:
        return perform(effect)

    chunks = [chunk async for chunk in drive_stream_async(paid_call(log), perform_async, lambda _: Chunks(["a", "b"]))]

    assert chunks == ["a", "b"]
    assert log == ["Now", "Settle"]


def stubborn_call() -> Flow[ModelResponse]:
    """A path that asks once more after a failure."""
    try:
        return (yield from ask(INVOKE))
    except ConnectionError:
        yield from ask(Release("lease", 0))
    return (yield from ask(INVOKE))


@pytest.mark.anyio
async def test_a_second_attempt_is_made_by_every_driver_and_its_chunks_reach_the_reader() -> None:
    def attempts() -> Iterator[Chunks]:
        yield Chunks([], ConnectionError())
        yield Chunks(["a", "b"])

    class Async(Chunks):
        async def __aiter__(self) -> AsyncGenerator[str, None]:
            if self.error:
                raise self.error
            for chunk in self.chunks:
                yield chunk

    log: list[str] = []
    perform = performer(log)

    async def perform_async(effect: Effect[Any]) -> Any:
        return perform(effect)

    blocking, waiting = attempts(), (Async(each.chunks, each.error) for each in attempts())

    assert ["a", "b"] == list(drive_stream(stubborn_call(), perform, lambda _: next(blocking)))
    assert ["a", "b"] == [
        chunk async for chunk in drive_stream_async(stubborn_call(), perform_async, lambda _: next(waiting))
    ]
    assert ["Release", "Release"] == log


@pytest.mark.anyio
async def test_a_second_attempt_can_be_cancelled() -> None:
    log: list[str] = []
    under_way, tries = asyncio.Event(), iter([1, 2])

    async def perform(effect: Effect[Any]) -> Any:
        log.append(type(effect).__name__)
        if isinstance(effect, InvokeModel):
            if next(tries) == 1:
                raise ConnectionError
            under_way.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(drive_async(stubborn_call(), perform))
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)

    assert ["InvokeModel", "Release", "InvokeModel"] == log


# --- a stream keeps its lease alive


def held_call() -> Flow[ModelResponse]:
    return (yield from ask(InvokeModel(cast("Any", None), Meter(), "lease", 1_000, 0)))


def test_a_stream_extends_its_lease_at_half_its_life_and_not_before() -> None:
    times = iter([0, 499, 500, 700, 999, 1_000])
    beats: list[Extend] = []

    def perform(effect: Effect[Any]) -> Any:
        if isinstance(effect, Extend):
            beats.append(effect)
            return True
        return next(times)

    assert 6 == len(list(drive_stream(held_call(), perform, lambda _: Chunks(["x"] * 6))))
    assert [Extend("lease", 1_000, 500), Extend("lease", 1_000, 1_000)] == beats


async def test_an_async_stream_extends_its_lease_too() -> None:
    times = iter([499, 500])
    beats: list[Extend] = []

    async def perform(effect: Effect[Any]) -> Any:
        if isinstance(effect, Extend):
            beats.append(effect)
            return True
        return next(times)

    assert ["a", "b"] == [
        chunk async for chunk in drive_stream_async(held_call(), perform, lambda _: Chunks(["a", "b"]))
    ]
    assert [Extend("lease", 1_000, 500)] == beats


def test_a_stream_outlives_the_life_that_its_lease_was_given() -> None:
    store, now = MemoryStore(), 0
    hold = Hold(ledger="l", unit=Unit.NANO_USD, amount=80, limit=100, budget="b", scope="run=r", written="100")
    request = ReserveRequest(id="lease", holds=(hold,), ttl_ms=1_000, now_ms=0)

    def perform(effect: Effect[Any]) -> Any:
        nonlocal now
        if isinstance(effect, Extend):
            return store.extend(effect.lease, effect.ttl_ms, effect.now_ms)
        now += 400
        return now

    store.reserve(request)
    assert 10 == len(list(drive_stream(held_call(), perform, lambda _: Chunks(["x"] * 10))))

    store.reserve(replace(request, id="other", now_ms=now))  # every reservation sweeps what is overdue
    (balance,) = store.balances()
    assert (0, 80) == (balance.spent, balance.reserved)
