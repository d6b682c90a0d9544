"""A stream whose run is halted while it is read: cut at the next heartbeat, charged for what arrived, and its run stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from governor.calls import ModelResponse
from governor.drive import BEAT_MS, drive_stream, drive_stream_async
from governor.errors import RunStopped
from governor.ledger import Adjustment, AdjustmentKind
from governor.pipeline import model_call
from tests.core.lossy import Lossy, Path
from tests.core.test_pipeline import GOOD, asked

PIECES = 8
TWINS = pytest.mark.parametrize("alone", [False, True], ids=["sync", "async"])


class Stream:
    """A provider that takes half a beat for each piece; at some pieces something happens meanwhile."""

    def __init__(self, path: Path, meter: Any, at: dict[int, Any]) -> None:
        self.path, self.meter, self.at = path, meter, at
        self.closed = False

    def pieces(self) -> Iterator[str]:
        self.meter.dispatched = True
        clock: Any = self.path.runtime.clock
        for number in range(PIECES):
            self.meter.output_tokens += 5
            clock.advance(BEAT_MS // 2)
            self.at.get(number, int)()
            yield str(number)

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self.pieces()
        finally:
            self.closed = True

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        try:
            for piece in self.pieces():
                yield piece
        finally:
            self.closed = True

    def response(self) -> ModelResponse:
        return GOOD


def read(path: Path, at: dict[int, Any], got: list[str], *, alone: bool) -> Stream:
    """Read a whole stream; `got` has what came through, whatever became of it."""
    opened: list[Stream] = []

    def open_stream(effect: Any) -> Any:
        opened.append(Stream(path, effect.meter, at))
        return opened[0]

    flow = model_call(asked(), path.runtime.controls)

    async def none(effect: Any) -> Any:
        return effect

    async def whole() -> None:
        take = got.append  # one by one: what came through counts, also when the stream is cut
        chunks = drive_stream_async(
            flow, lambda each: path.runtime.perform_async(each, INVALID_SPAN, none), open_stream
        )
        async with aclosing(chunks):
            async for piece in chunks:
                take(piece)

    try:
        if alone:
            asyncio.run(whole())
        else:
            got.extend(drive_stream(flow, path.runtime.performer(INVALID_SPAN, lambda each: each), open_stream))
    finally:
        assert opened[0].closed
    return opened[0]


def halts(path: Path, scope: str) -> Any:
    change = Adjustment(id=scope, kind=AdjustmentKind.HALT, subject=scope, who="ana", why="runaway", at_ms=0)
    return lambda: path.store.adjust(change)


@TWINS
@pytest.mark.parametrize("scope", ["all", f"run={asked().step.run.id}"])
def test_a_stream_is_cut_when_its_run_is_halted_and_what_arrived_is_charged(scope: str, *, alone: bool) -> None:
    path, got = Path(Lossy(), alone=alone), list[str]()

    with pytest.raises(RunStopped) as caught:
        read(path, {2: halts(path, scope)}, got, alone=alone)

    spent, reserved = path.spent()
    assert ("halted", scope) == (caught.value.reason.code, caught.value.reason.rule)
    assert ["0", "1", "2", "3"][: len(got)] == got
    assert 2 <= len(got) < PIECES
    assert 0 == reserved
    assert 0 < spent
    with pytest.raises(RunStopped) as again:
        path.model()
    assert "halted" == again.value.reason.code


@TWINS
def test_a_halt_of_others_cuts_no_stream(*, alone: bool) -> None:
    path, got = Path(Lossy(), alone=alone), list[str]()

    read(path, {0: halts(path, "run=another")}, got, alone=alone)

    assert PIECES == len(got)
    assert (110, 0) == path.spent()


@TWINS
def test_a_store_that_is_lost_while_a_stream_is_read_cuts_nothing(*, alone: bool) -> None:
    path, got = Path(Lossy(), alone=alone), list[str]()

    def gone() -> None:
        path.store.lost = lambda _: True

    def back() -> None:
        path.store.lost = lambda _: False

    read(path, {0: gone, PIECES - 1: back}, got, alone=alone)

    assert PIECES == len(got)
    assert "extend" in path.trace.lost
    assert (110, 0) == path.spent()


def test_the_store_is_asked_at_heartbeats_alone() -> None:
    path, got = Path(Lossy()), list[str]()
    path.model()
    whole = path.store.asked
    read(path, {}, got, alone=False)

    beats = PIECES // 2
    assert whole + beats * 2 == path.store.asked - whole
