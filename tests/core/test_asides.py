"""What is under way beside calls: bounded, and its places come back however it ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from governor.asides import Asides


async def never() -> None:
    await asyncio.Event().wait()


async def soon() -> None:
    return None


def test_places_of_a_loop_that_was_closed_come_back() -> None:
    asides = Asides(2)
    for _ in range(5):
        loop = asyncio.new_event_loop()
        assert not loop.run_until_complete(asides.run_async(never, 0))
        loop.close()

    assert asyncio.run(asides.run_async(soon, 60_000))


def test_where_no_thread_can_be_started_nothing_is_made_and_no_call_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asides = Asides(1)

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        assert not asides.run(lambda: None, 0)
        assert not asides.run(lambda: None, 0)

    assert "can't start new thread" in caplog.text
    assert asides.run(lambda: None, 60_000)
