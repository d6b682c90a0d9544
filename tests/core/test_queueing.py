"""A rung with `fan_out` in the path: surplus model calls wait, hold nothing meanwhile, and get their turn whatever the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN

from governor.calls import ModelResponse
from governor.drive import drive, drive_async, drive_stream
from governor.effects import AwaitSlot, Decided
from governor.errors import RunStopped
from governor.ledger import Adjustment, AdjustmentKind
from governor.pipeline import model_call
from governor.runs import Stopped
from governor.slots import LOOK_MS
from governor.testing import FakeClock
from governor.values import replace
from tests.core.test_pipeline import GOOD, STEP, Path, asked, budget


def narrow(width: int, *, at: str = "1%", calls: int = 100, **policy: Any) -> Path:
    """A path whose second model call already goes by a rung with `fan_out`."""
    return Path(**budget(model_calls=calls), ladder=[{"at": at, "do": {"fan_out": width}}], **policy)


class Provider:
    """Answers when it is told to; knows how many calls it had at once."""

    def __init__(self, path: Path) -> None:
        self.path, self.now, self.most, self.order = path, 0, 0, list[int]()
        self.gates: dict[int, asyncio.Future[ModelResponse]] = {}

    async def call(self, number: int) -> ModelResponse:
        async def invoke(effect: Any) -> ModelResponse:
            effect.meter.dispatched = True
            self.now, self.most = self.now + 1, max(self.most, self.now + 1)
            self.order.append(number)
            self.gates[number] = asyncio.get_running_loop().create_future()
            try:
                return await self.gates[number]
            finally:
                self.now -= 1
                del self.gates[number]

        async def perform(effect: Any) -> Any:
            self.path.effects.append(effect)
            return await self.path.runtime.perform_async(effect, INVALID_SPAN, invoke)

        return await drive_async(model_call(asked(), self.path.runtime.controls), perform)

    def begin(self, count: int) -> list[asyncio.Task[ModelResponse]]:
        return [asyncio.ensure_future(self.call(number)) for number in range(count)]


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def codes(path: Path) -> list[str]:
    decided = [effect.decision for effect in path.effects if isinstance(effect, Decided)]
    return [each.reason.code for each in decided if each.reason]


@pytest.mark.anyio
async def test_surplus_calls_wait_without_holding_anything_and_go_one_after_the_other() -> None:
    path = narrow(2)
    provider = Provider(path)
    tasks = provider.begin(6)

    await settled()
    assert [0, 1] == provider.order
    assert 2 == path.balance("model_calls").reserved
    for number in range(6):
        provider.gates[number].set_result(GOOD)
        await settled()

    assert ["fine"] * 6 == [task.result().text for task in tasks]
    assert (list(range(6)), 2) == (provider.order, provider.most)
    assert (6, 0) == (path.balance("model_calls").spent, path.balance("model_calls").reserved)


@pytest.mark.anyio
async def test_a_wait_that_really_happened_is_in_the_trace_with_its_length_and_its_rung() -> None:
    path = narrow(1)
    clock = path.runtime.clock = FakeClock()
    provider = Provider(path)
    tasks = provider.begin(2)
    await settled()
    clock.advance(250)
    for number in range(2):
        provider.gates[number].set_result(GOOD)
        await settled()
    await asyncio.gather(*tasks)

    (said,) = [
        effect.decision.reason
        for effect in path.effects
        if isinstance(effect, Decided) and effect.decision.reason and effect.decision.reason.code == "ladder.waited"
    ]
    assert ("1", "250 ms", 250, "1%") == (said.limit, said.seen, said.evidence["waited_ms"], said.evidence["at"])


def test_calls_one_after_the_other_never_wait() -> None:
    path = narrow(1)
    for _ in range(5):
        path.model(GOOD)

    assert "AwaitSlot" not in path.names()
    assert "ladder.waited" not in codes(path)


def test_without_such_a_rung_nobody_takes_a_place() -> None:
    path = Path(**budget(model_calls=10), ladder=[{"at": "1%", "do": "compact"}])
    for _ in range(3):
        path.model(GOOD)

    assert not {"TakeSlot", "AwaitSlot", "FreeSlot"} & set(path.names())


@pytest.mark.anyio
async def test_who_does_not_fit_beside_the_others_waits_for_them_and_then_fits() -> None:
    path = narrow(1, at="90%", calls=2)
    provider = Provider(path)
    tasks = provider.begin(3)
    await settled()
    assert [0, 1] == provider.order
    provider.gates[0].cancel()  # nothing is known of what it cost, so it is charged
    provider.gates[1].set_exception(_unbilled(path))
    await settled()
    provider.gates[2].set_result(GOOD)
    await settled()

    assert "fine" == tasks[2].result().text
    assert 2 == provider.most
    await asyncio.gather(*tasks, return_exceptions=True)


def _unbilled(path: Path) -> Exception:
    """A failure that the provider is known not to bill: the next InvokeModel's meter says so."""
    path.requests()[-1].meter.rejected = True
    return ValueError("no such field")


@pytest.mark.anyio
async def test_a_call_that_is_cancelled_while_it_waits_or_works_gives_its_place_to_the_next() -> None:
    path = narrow(1)
    provider = Provider(path)
    tasks = provider.begin(4)
    await settled()

    tasks[1].cancel()
    tasks[0].cancel()
    await settled()
    assert [0, 2] == provider.order
    provider.gates[2].set_exception(RuntimeError("boom"))
    await settled()
    provider.gates[3].set_result(GOOD)

    assert "fine" == (await tasks[3]).text
    failed = await asyncio.gather(*tasks[:3], return_exceptions=True)
    assert [asyncio.CancelledError, asyncio.CancelledError, RuntimeError] == [type(each) for each in failed]
    assert 0 == path.balance("model_calls").reserved


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.lists(st.sampled_from(["fine", "fails", "cancelled"]), min_size=1, max_size=12), st.data())
def test_never_more_than_so_many_calls_at_once_and_in_the_end_all_are_done(
    width: int, ends: list[str], data: st.DataObject
) -> None:
    path = narrow(width)
    provider = Provider(path)

    async def run() -> None:
        tasks = provider.begin(len(ends))
        await settled()
        while not all(task.done() for task in tasks):
            assert provider.gates, "calls wait though none is under way"
            number = data.draw(st.sampled_from(sorted(provider.gates)))
            if ends[number] == "fine":
                provider.gates[number].set_result(GOOD)
            elif ends[number] == "fails":
                provider.gates[number].set_exception(RuntimeError("boom"))
            else:
                tasks[number].cancel()
            await settled()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())

    assert list(range(len(ends))) == provider.order
    assert provider.most == min(width, len(ends))
    assert 0 == path.balance("model_calls").reserved
    assert {} == path.runtime.slots._runs  # no place is lost


# --- driven by hand: what a call does that waits


def waiting(path: Path) -> Any:
    """A flow that waits for its place, with a call before it that never ends."""
    path.model(GOOD)
    path.runtime.slots.take("run", 1, path.runtime.clock())
    flow = model_call(asked(), path.runtime.controls)
    effect = next(flow)
    while not isinstance(effect, AwaitSlot):
        effect = flow.send(path.perform(_never, effect))
    return flow


def _never(effect: Any) -> Any:
    pytest.fail(f"{type(effect).__name__} of a call that waits")


def on(path: Path, flow: Any, answer: Any) -> Any:
    """The next wait of the flow, or what it raises."""
    effect = flow.send(answer)
    while not isinstance(effect, AwaitSlot):
        effect = flow.send(path.perform(_never, effect))
    return effect


def test_a_halt_is_heard_by_who_waits() -> None:
    path = narrow(1)
    flow = waiting(path)
    assert LOOK_MS == on(path, flow, False).ms
    path.runtime.store.adjust(
        Adjustment(id="h", kind=AdjustmentKind.HALT, subject="all", who="ann", why="stop", at_ms=0)
    )

    with pytest.raises(RunStopped):
        on(path, flow, False)
    assert "FreeSlot" == path.names()[-1]


def test_a_run_that_was_stopped_or_is_out_of_time_makes_no_call_that_waited() -> None:
    stopped, late = narrow(1), narrow(1, limits={"time": "1m"})
    flow = waiting(stopped)
    stopped.runtime.store.change(
        "run", lambda state: (replace(state, stopped=Stopped(code="c", rule="r", text="t")), None)
    )
    with pytest.raises(RunStopped):
        on(stopped, flow, False)

    clock = late.runtime.clock = FakeClock()
    flow = waiting(late)
    late.runtime.store.change("run", lambda state: (replace(state, started_ms=clock()), None))
    on(late, flow, False)
    clock.advance(60_001)
    with pytest.raises(RunStopped) as caught:
        on(late, flow, False)
    assert "limits.time" == caught.value.reason.code


def test_a_blocking_call_on_an_event_loop_does_not_block_it() -> None:
    path = narrow(1)
    path.model(GOOD)
    path.runtime.slots.take("run", 1, 0)

    async def blocking() -> ModelResponse:
        return path.model(GOOD)

    assert "fine" == asyncio.run(blocking()).text


class Words:
    """A provider's stream of two chunks."""

    def __iter__(self) -> Iterator[str]:
        yield from ("fi", "ne")

    def response(self) -> ModelResponse:
        return GOOD


def test_a_call_that_is_made_while_a_stream_is_read_gets_the_place_of_the_stream() -> None:
    path = narrow(1)
    clock = path.runtime.clock = FakeClock()
    path.model(GOOD)
    stream = drive_stream(
        model_call(asked(step=STEP), path.runtime.controls), partial(path.perform, _never), lambda _: Words()
    )
    assert "fi" == next(stream)
    looks: list[bool] = []

    def invoke(effect: Any) -> ModelResponse:
        return GOOD

    def perform(effect: Any) -> Any:
        if not isinstance(effect, AwaitSlot):
            return path.perform(invoke, effect)
        clock.advance(effect.ms)
        looks.append(path.runtime.slots.look(effect.slot, clock()))
        return looks[-1]

    assert "fine" == drive(model_call(asked(), path.runtime.controls), perform).text
    assert [False, True] == looks
    assert ["ne"] == list(stream)
