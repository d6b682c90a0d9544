"""A call for which a rate has no room waits its turn, is refused, or goes to a lower tier; on every driver, without sleeping."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from governor.calls import ModelResponse, RunRef, StepRef
from governor.drive import drive, drive_async, drive_stream, drive_stream_async
from governor.errors import CallDenied, RunStopped
from governor.ledger import Adjustment, AdjustmentKind
from governor.pipeline import model_call
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import START_MS, FakeClock, FakeIds
from tests.core.test_pipeline import GOOD, MICRO, SONNET, STEP, asked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

WAIT = {"tier": "frontier", "requests_per_minute": 6, "when_full": "wait 20s"}


class Answer:
    """A provider's stream of one chunk."""

    def __iter__(self) -> Iterator[str]:
        yield "fine"

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        yield "fine"

    def response(self) -> ModelResponse:
        return GOOD


class Desk:
    """A runtime whose sleep advances its clock, and the tiers that were asked."""

    def __init__(self, *rates: dict[str, Any], **policy: Any) -> None:
        tiers = {
            "frontier": {"model": SONNET, "max_output_tokens": 500},
            "small": {"model": MICRO, "max_output_tokens": 500},
        }
        whole = {
            "governor": 1,
            "name": "p",
            "tiers": tiers,
            "routing": {"default": "frontier"},
            "rates": rates,
            **policy,
        }
        self.clock, self.slept, self.store, self.tiers = FakeClock(), list[int](), MemoryStore(), list[str | None]()
        self.runtime = Runtime(
            load(whole),
            store=self.store,
            clock=self.clock,
            new_id=FakeIds(),
            sleep=self.sleep,
            sleep_async=self.sleep_async,
        )
        self.while_waiting = self.clock.advance

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds * 1_000))
        self.while_waiting(self.slept[-1])

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)

    def flow(self, **call: Any) -> Any:
        return model_call(asked(**call), self.runtime.controls)

    def invoke(self, effect: Any) -> ModelResponse:
        self.tiers.append(effect.request.tier)
        return GOOD

    async def invoke_async(self, effect: Any) -> ModelResponse:
        return self.invoke(effect)

    def call(self, **call: Any) -> ModelResponse:
        perform = partial(self.runtime.perform, span=INVALID_SPAN, invoke=self.invoke)
        return drive(self.flow(**call), perform)

    async def acall(self, **call: Any) -> ModelResponse:
        perform = partial(self.runtime.perform_async, span=INVALID_SPAN, invoke=self.invoke_async)
        return await drive_async(self.flow(**call), perform)

    def stream(self) -> list[str]:
        perform = partial(self.runtime.perform, span=INVALID_SPAN, invoke=self.invoke)
        return list(drive_stream(self.flow(streaming=True), perform, lambda _: Answer()))

    async def astream(self) -> list[str]:
        perform = partial(self.runtime.perform_async, span=INVALID_SPAN, invoke=self.invoke_async)
        return [chunk async for chunk in drive_stream_async(self.flow(streaming=True), perform, lambda _: Answer())]


def reason(caught: pytest.ExceptionInfo[Any]) -> tuple[str, str]:
    return caught.value.reason.code, caught.value.reason.rule


@pytest.mark.parametrize("how", ["call", "acall", "stream", "astream"])
def test_a_call_waits_for_as_long_as_the_rate_needs_on_every_driver(how: str) -> None:
    desk = Desk(WAIT)
    for _ in range(6):
        desk.call()

    if how.startswith("a"):
        asyncio.run(getattr(desk, how)())
    else:
        getattr(desk, how)()

    assert 10_000 == sum(desk.slept)
    assert max(desk.slept) <= 1_000


def test_a_call_whose_turn_would_come_too_late_is_refused_at_once() -> None:
    desk = Desk(WAIT | {"when_full": "wait 9s"})
    for _ in range(6):
        desk.call()

    with pytest.raises(CallDenied) as caught:
        desk.call()

    assert ("rate.full", "rates.frontier") == reason(caught)
    assert [] == desk.slept


def test_a_refused_call_does_not_end_its_run() -> None:
    desk = Desk(WAIT | {"when_full": "shed"})
    for _ in range(6):
        desk.call()
    with pytest.raises(CallDenied):
        desk.call()

    desk.clock.advance(10_000)

    assert GOOD == desk.call()


def test_those_who_wait_are_let_in_in_the_order_in_which_they_came() -> None:
    desk = Desk(WAIT | {"when_full": "wait 60s"})
    order = list[int]()

    async def one(number: int) -> None:
        await desk.acall(step=StepRef(run=RunRef(id=f"r{number}"), node="agent", path="agent", ns=f"agent:{number}"))
        order.append(number)

    async def all_of_them() -> None:
        await asyncio.wait([asyncio.ensure_future(one(number)) for number in range(9)])

    asyncio.run(all_of_them())

    assert list(range(9)) == order


def test_a_halt_ends_the_wait() -> None:
    desk = Desk(WAIT)
    for _ in range(6):
        desk.call()

    def halt(ms: int) -> None:
        desk.clock.advance(ms)
        desk.store.adjust(
            Adjustment(id="h", kind=AdjustmentKind.HALT, subject="run=run", who="eve", why="test", at_ms=desk.clock())
        )

    desk.while_waiting = halt
    with pytest.raises(RunStopped) as caught:
        desk.call()

    assert ("halted", "run=run") == reason(caught)
    assert [1_000] == desk.slept


def test_nobody_waits_beyond_the_time_of_the_run() -> None:
    desk = Desk(WAIT, limits={"time": "9s"})
    desk.store.change("run", lambda state: (desk.runtime.controls.limits.enter(state, STEP, START_MS)[0], None))
    for _ in range(6):
        desk.call()

    with pytest.raises(CallDenied):
        desk.call()

    assert [] == desk.slept


def test_a_sync_call_on_an_event_loop_is_refused_rather_than_blocking_it() -> None:
    desk = Desk(WAIT)

    async def on_the_loop() -> None:
        for _ in range(7):
            desk.call()

    with pytest.raises(CallDenied):
        asyncio.run(on_the_loop())
    assert [] == desk.slept


def test_a_call_that_waits_can_be_cancelled_and_holds_nothing() -> None:
    desk = Desk(WAIT, budgets=[{"id": "b", "scope": "run", "limit": {"calls": 50}}])

    async def cancelled() -> None:
        for _ in range(6):
            await desk.acall()
        desk.runtime.sleep_async = lambda _: asyncio.Event().wait()  # type: ignore[assignment] # it never ends
        task = asyncio.ensure_future(desk.acall())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())

    assert [(6, 0)] == [(each.spent, each.reserved) for each in desk.store.balances("b/")]


def test_a_lower_tier_answers_when_the_policy_says_so() -> None:
    desk = Desk(WAIT | {"when_full": "lower_tier"})

    for _ in range(8):
        desk.call()

    assert [*["frontier"] * 6, "small", "small"] == desk.tiers


def test_a_locked_tier_is_not_lowered() -> None:
    lock = {"id": "l", "when": {"node": "agent"}, "tier": "frontier", "lock": True}
    desk = Desk(WAIT | {"when_full": "lower_tier"}, routing={"rules": [lock]})
    for _ in range(6):
        desk.call()

    with pytest.raises(CallDenied) as caught:
        desk.call()

    assert ("rate.full", "rates.frontier") == reason(caught)


def test_a_used_up_budget_is_told_before_a_rate_without_room() -> None:
    desk = Desk(WAIT, budgets=[{"id": "b", "scope": "run", "limit": {"model_calls": 6}}])
    for _ in range(6):
        desk.call()

    with pytest.raises(RunStopped) as caught:
        desk.call()

    assert ("budget.exhausted", "b") == reason(caught)


def test_what_a_rate_held_and_was_not_used_is_given_back() -> None:
    desk = Desk({"tier": "frontier", "tokens_per_minute": 1_000})

    for _ in range(3):  # each holds 577 and takes 100 + 5 * 10
        desk.call()

    assert 3 * 150 == desk.store.balances("rates.frontier/")[0].reserved
