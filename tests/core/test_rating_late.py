"""A judge that is slow: who waits for it, and what becomes of its call."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.trace import INVALID_SPAN

from governor.calls import ModelResponse
from governor.drive import drive, drive_async
from governor.effects import Summarise
from governor.pipeline import model_call
from governor.routing.judge import Rating
from governor.testing import FakeClock
from tests.controls.histories import user
from tests.core.rated import FEATURES, GOOD, Path, Slow, asked, spent


def test_a_slow_judge_is_not_waited_for_past_its_budget_and_serves_the_next_step() -> None:
    slow = Slow()
    path = Path(
        {"mode": "inline", "budget_ms": 1}, judge=slow, budgets=[{"id": "run", "scope": "run", "limit": {"usd": 1}}]
    )
    path.watch()

    response = drive(model_call(asked(), path.runtime.controls), path.perform)  # returns while the judge still thinks

    assert response is GOOD
    assert path.rating() is None
    assert path.estimator.estimate(FEATURES) is None
    assert slow.begun.wait(60)
    ((_, reserved),) = spent(path, "judge/run=run")
    assert reserved > 0

    slow.may.set()
    path.settled()

    assert Rating(logic_depth=3, math=2, ambiguity=0, precision=1) == path.rating()
    ((charged, reserved),) = spent(path, "judge/run=run")
    assert (True, 0) == (charged > 0, reserved)


def test_in_the_shadow_nobody_waits_at_all_and_the_rating_is_recorded() -> None:
    slow = Slow()
    path = Path(judge=slow)
    path.watch()

    assert drive(model_call(asked(), path.runtime.controls), path.perform) is GOOD

    assert slow.begun.wait(60)
    assert isinstance(path.runtime.clock, FakeClock)
    path.runtime.clock.advance(151)
    slow.may.set()
    path.settled()
    assert 3 == path.facts()["governor.judge.logic_depth"]
    assert path.facts()["governor.judge.in_time"] is False


def test_calls_side_by_side_with_one_step_ask_once() -> None:
    slow = Slow()
    path = Path(judge=slow)

    for _ in range(3):
        drive(model_call(asked(), path.runtime.controls), path.perform)
    assert slow.begun.wait(60)
    slow.may.set()
    path.settled()

    assert 1 == len(path.judged())


def test_a_judge_that_hangs_collects_no_threads() -> None:
    slow = Slow()
    path = Path({"when": "always"}, judge=slow)

    for number in range(20):
        drive(model_call(asked([user(f"prove {number}")]), path.runtime.controls), path.perform)

    assert len(path.runtime.asides._threads) <= 8
    slow.may.set()
    path.settled()


async def test_on_an_event_loop_a_slow_judge_is_not_waited_for_and_its_task_goes_on() -> None:
    path = Path({"mode": "inline", "budget_ms": 1}, budgets=[{"id": "run", "scope": "run", "limit": {"usd": 1}}])
    path.watch()
    may = asyncio.Event()

    async def invoke(effect: Any) -> ModelResponse:
        if isinstance(effect, Summarise):
            await may.wait()
        return path.noted(effect)

    async def perform(effect: Any) -> Any:
        return await path.runtime.perform_async(effect, INVALID_SPAN, invoke)

    response = await drive_async(model_call(asked(), path.runtime.controls), perform)

    assert response is GOOD
    assert path.rating() is None
    may.set()
    await asyncio.wait(set(path.runtime.asides._tasks))
    assert path.rating() is not None
    ((charged, reserved),) = spent(path, "judge/run=run")
    assert (True, 0) == (charged > 0, reserved)


async def test_a_loop_that_ends_settles_the_judge_that_it_breaks_off() -> None:
    path = Path(budgets=[{"id": "run", "scope": "run", "limit": {"usd": 1}}])
    begun = asyncio.Event()

    async def invoke(effect: Any) -> ModelResponse:
        if isinstance(effect, Summarise):
            effect.meter.dispatched = True
            begun.set()
            await asyncio.Event().wait()
        return path.noted(effect)

    async def perform(effect: Any) -> Any:
        return await path.runtime.perform_async(effect, INVALID_SPAN, invoke)

    await drive_async(model_call(asked(), path.runtime.controls), perform)
    await begun.wait()
    for task in tuple(path.runtime.asides._tasks):
        task.cancel()
        await asyncio.wait({task})

    ((charged, reserved),) = spent(path, "judge/run=run")
    assert (True, 0) == (charged > 0, reserved)
    assert path.rating() is None
