"""Calls that begin together with one long prefix: the first writes it, the others read it, and nobody waits for longer than was said."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN

from governor.calls import Message, ModelCall, ModelResponse
from governor.drive import drive, drive_async, drive_stream
from governor.effects import AwaitLead, Decided, TakeLead
from governor.pipeline import model_call
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from governor.usage import Usage
from governor.values import replace
from governor.warming import Leads
from tests.controls.histories import SONNET, STEP, history, system, user, words
from tests.core.test_pipeline import budget

ANSWER = ModelResponse(text="fine", usage=Usage(input=100, output=10), finish="stop")
LONG = words(4_000)


class Fleet:
    """A runtime whose provider answers each call when it is told to."""

    def __init__(self, *, stagger: str = "5s", ttl: str = "5m") -> None:
        tiers = {"frontier": {"model": str(SONNET), "max_output_tokens": 500}}
        whole: dict[str, Any] = {
            "governor": 1,
            "name": "p",
            "tiers": tiers,
            "routing": {"default": "frontier"},
            "context": {"cache": {"ttl": ttl, "stagger": stagger}},
            **budget(usd=50),
        }
        self.clock = FakeClock()
        self.runtime = Runtime(load(whole), store=MemoryStore(), clock=self.clock, new_id=FakeIds())
        self.gates: dict[int, asyncio.Future[ModelResponse]] = {}
        self.effects: list[Any] = []
        self.hurries = False
        """Whether the time that a call is ready to wait is over at once."""

    def call(self, number: int, text: str = LONG) -> ModelCall:
        messages: list[Message] = [system(text), user(f"branch {number}", key=f"u{number}")]
        return ModelCall(
            step=replace(STEP, ns=f"agent:{number}"),
            ordinal=0,
            history=history(messages),
            model=SONNET,
            lane=f"l{number}",
        )

    async def made(self, number: int, text: str = LONG) -> ModelResponse:
        async def invoke(effect: Any) -> ModelResponse:
            effect.meter.dispatched = True
            self.gates[number] = asyncio.get_running_loop().create_future()
            return await self.gates[number]

        async def perform(effect: Any) -> Any:
            self.effects.append(effect)
            if self.hurries and isinstance(effect, AwaitLead):
                self.clock.advance(effect.ms)
                self.runtime.leads.give_up(effect.ticket)
                return False
            return await self.runtime.perform_async(effect, INVALID_SPAN, invoke)

        return await drive_async(model_call(self.call(number, text), self.runtime.controls), perform)

    def begin(self, *numbers: int) -> list[asyncio.Task[ModelResponse]]:
        return [asyncio.ensure_future(self.made(number)) for number in numbers]

    @property
    def sent(self) -> list[int]:
        return sorted(self.gates)

    def told(self) -> list[Any]:
        decisions = [effect.decision for effect in self.effects if isinstance(effect, Decided)]
        return [each.reason for each in decisions if each.reason and each.reason.code == "cache.stagger"]


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_the_others_are_sent_when_the_first_is_answered() -> None:
    fleet = Fleet()
    tasks = fleet.begin(0, 1, 2, 3)
    await settle()
    assert [0] == fleet.sent

    fleet.clock.advance(700)
    fleet.gates[0].set_result(ANSWER)
    await settle()
    assert [0, 1, 2, 3] == fleet.sent
    for number in (1, 2, 3):
        fleet.gates[number].set_result(ANSWER)
    await asyncio.gather(*tasks)

    reasons = fleet.told()
    assert 3 == len(reasons)
    assert {700} == {reason.evidence["waited_ms"] for reason in reasons}
    assert all(reason.evidence["saved_nano_usd"] > 5_000_000 for reason in reasons)


@pytest.mark.anyio
async def test_while_the_prefix_can_be_read_nobody_waits_for_it() -> None:
    fleet = Fleet()
    (first,) = fleet.begin(0)
    await settle()
    fleet.gates[0].set_result(ANSWER)
    await first

    tasks = fleet.begin(1, 2)
    await settle()

    assert [0, 1, 2] == fleet.sent
    fleet.gates[1].set_result(ANSWER)
    fleet.gates[2].set_result(ANSWER)
    await asyncio.gather(*tasks)
    assert [] == fleet.told()


@pytest.mark.anyio
async def test_when_the_first_fails_the_next_goes_ahead_and_the_rest_wait_for_that_one() -> None:
    fleet = Fleet()
    tasks = fleet.begin(0, 1, 2)
    await settle()

    fleet.gates[0].set_exception(ValueError("refused"))
    await settle()
    assert 2 == len(fleet.sent)
    fleet.gates[fleet.sent[-1]].set_result(ANSWER)
    await settle()

    assert [0, 1, 2] == fleet.sent
    for number in (1, 2):
        if not fleet.gates[number].done():
            fleet.gates[number].set_result(ANSWER)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [True, False, False] == [isinstance(each, ValueError) for each in results]


@pytest.mark.anyio
async def test_a_first_call_that_is_cancelled_holds_nobody() -> None:
    fleet = Fleet()
    tasks = fleet.begin(0, 1)
    await settle()

    tasks[0].cancel()
    await settle()

    assert [0, 1] == fleet.sent
    fleet.gates[1].set_result(ANSWER)
    assert ANSWER == await tasks[1]


@pytest.mark.anyio
async def test_a_call_that_waits_and_is_cancelled_leaves_nothing_behind() -> None:
    fleet = Fleet()
    tasks = fleet.begin(0, 1, 2)
    await settle()

    tasks[1].cancel()
    await settle()
    fleet.gates[0].set_result(ANSWER)
    await settle()

    assert [0, 2] == fleet.sent
    fleet.gates[2].set_result(ANSWER)
    await asyncio.gather(tasks[0], tasks[2])
    assert 0 == fleet.runtime.store.balances()[0].reserved


@pytest.mark.anyio
async def test_patience_ends_where_the_policy_says() -> None:
    fleet = Fleet(stagger="2s")
    fleet.hurries = True
    tasks = fleet.begin(0, 1)
    await settle()
    assert [0, 1] == fleet.sent

    for number in (0, 1):
        fleet.gates[number].set_result(ANSWER)
    await asyncio.gather(*tasks)
    (reason,) = fleet.told()
    assert (2_000, 0) == (reason.evidence["waited_ms"], reason.evidence["saved_nano_usd"])


@pytest.mark.parametrize(
    ("policy", "text"),
    [({"stagger": "off"}, LONG), ({"ttl": "off"}, LONG), ({}, words(500))],
    ids=["off", "none", "short"],
)
@pytest.mark.anyio
async def test_nobody_waits_where_nothing_is_saved(policy: dict[str, str], text: str) -> None:
    fleet = Fleet(**policy)
    tasks = [asyncio.ensure_future(fleet.made(number, text)) for number in range(3)]
    await settle()

    assert [0, 1, 2] == fleet.sent
    assert not [effect for effect in fleet.effects if isinstance(effect, (TakeLead, AwaitLead))]
    for gate in fleet.gates.values():
        gate.set_result(ANSWER)
    await asyncio.gather(*tasks)


@pytest.mark.anyio
async def test_another_prefix_waits_for_nobody() -> None:
    fleet = Fleet()
    tasks = [asyncio.ensure_future(fleet.made(number, words(4_000, number))) for number in range(3)]
    await settle()

    assert [0, 1, 2] == fleet.sent
    for gate in fleet.gates.values():
        gate.set_result(ANSWER)
    await asyncio.gather(*tasks)


def test_threads_wait_as_tasks_do() -> None:
    fleet, order = Fleet(), list[int]()
    sent, answer = threading.Event(), threading.Event()

    def one(number: int) -> None:
        def invoke(effect: Any) -> ModelResponse:
            effect.meter.dispatched = True
            order.append(number)
            sent.set()
            assert answer.wait(10)
            return ANSWER

        drive(
            model_call(fleet.call(number), fleet.runtime.controls),
            lambda effect: fleet.runtime.perform(effect, INVALID_SPAN, invoke),
        )

    first = threading.Thread(target=one, args=(0,))
    first.start()
    assert sent.wait(10)
    others = [threading.Thread(target=one, args=(number,)) for number in (1, 2)]
    for each in others:
        each.start()
    waiting = fleet.runtime.leads
    while sum(len(prefix.waiting) for prefix in waiting._prefixes.values()) < 2:
        threading.Event().wait(0.001)
    assert [0] == order
    answer.set()
    for each in (first, *others):
        each.join(10)

    assert [0, 1, 2] == sorted(order)


def test_the_first_chunk_of_a_stream_is_enough() -> None:
    fleet = Fleet()

    class Chunks:
        def __iter__(self) -> Any:
            yield from ("one", "two")

        def response(self) -> ModelResponse:
            return ANSWER

    def perform(effect: Any) -> Any:
        return fleet.runtime.perform(effect, INVALID_SPAN, lambda _: None)

    stream = drive_stream(model_call(fleet.call(0), fleet.runtime.controls), perform, lambda _: Chunks())
    assert "one" == next(stream)

    (key,) = fleet.runtime.leads._prefixes
    assert not fleet.runtime.leads.take(key, fleet.clock(), 5_000).waits
    assert ["two"] == list(stream)


@given(
    st.lists(st.tuples(st.sampled_from(["take", "done", "fail", "give_up", "later"]), st.integers(0, 5)), max_size=40)
)
def test_one_call_writes_a_prefix_at_a_time_and_nobody_waits_for_none(acts: list[tuple[str, int]]) -> None:
    leads, now = Leads(), 0
    tickets = [leads.take("k", now, 1_000)]
    for act, which in acts:
        ticket = tickets[which % len(tickets)]
        if act == "take":
            tickets.append(leads.take("k", now, 1_000))
        elif act in ("done", "fail"):
            leads.done(ticket, now, lives_ms=5_000 if act == "done" else 0)
        elif act == "give_up":
            leads.give_up(ticket)
        else:
            now += 700
        writers = [each for each in tickets if each is leads._prefixes["k"].writer]
        assert len(writers) <= 1
        assert writers or not any(each.waits for each in tickets)
