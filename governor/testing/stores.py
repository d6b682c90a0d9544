"""What every store must pass, as a class of tests to inherit.

class TestMyStore(StoreConformance):
    def make_store(self) -> Store:
        return MyStore(...)
"""

# ruff: noqa: S101, D102, SIM300 - these are tests: they assert, expected first, and their names are their sentences

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from governor.ledger import Charge, Lease, LeaseState, ReserveRequest
from governor.loop_state import LoopState
from governor.runs import Cut, Escrow, EscrowPart, Lane, Question, RouteState, RunState, Stopped
from governor.testing.base import hold
from governor.testing.escrow import EscrowConformance
from governor.testing.fakes import START_MS
from governor.testing.leases import LeaseConformance
from governor.testing.ledgers import LedgerConformance
from governor.testing.operations import OperationsConformance, halted
from governor.testing.windows import WindowConformance

__all__ = ["FULL_STATE", "StoreConformance"]


class StoreConformance(
    LedgerConformance, LeaseConformance, EscrowConformance, WindowConformance, OperationsConformance
):
    """What every store must do. Subclass it, say how to make an empty store, and let pytest find it."""

    # --- run state

    def read(self, run: str) -> RunState:
        """The state of `run`, unchanged."""
        return self.store.change(run, lambda state: (state, state))

    def test_a_run_starts_with_a_fresh_state(self) -> None:
        assert RunState() == self.read("r")

    def test_a_change_is_kept_and_answers_its_second_part(self) -> None:
        assert "answer" == self.store.change("r", lambda state: (replace(state, steps=3), "answer"))
        assert RunState(steps=3) == self.read("r")
        assert RunState() == self.read("other")

    def test_a_change_that_raises_changes_nothing(self) -> None:
        self.store.change("r", _one_step)

        def broken(state: RunState) -> tuple[RunState, None]:
            raise LookupError(state.steps)

        with suppress(LookupError):
            self.store.change("r", broken)
        assert RunState(steps=1) == self.read("r")
        self.store.change("r", _one_step)
        assert RunState(steps=2) == self.read("r")

    def test_every_part_of_a_state_is_kept(self) -> None:
        self.store.change("r", lambda _: (FULL_STATE, None))
        assert FULL_STATE == self.read("r")

    # --- recall and runs of a thread

    def test_a_kept_text_is_recalled_by_run_and_handle(self) -> None:
        text = "line one\nZeile zwei – é 日本 \x00 end"
        self.store.keep("r", "h1", text)
        assert text == self.store.recall("r", "h1")
        assert None is self.store.recall("r", "h2")
        assert None is self.store.recall("other", "h1")
        self.store.keep("r", "h1", "newer")
        assert "newer" == self.store.recall("r", "h1")

    def test_a_resume_continues_the_latest_run_of_its_thread(self) -> None:
        assert "r1" == self.store.open_run("t", "r1", resume=False)
        assert "r1" == self.store.open_run("t", "r2", resume=True)
        assert "r3" == self.store.open_run("t", "r3", resume=False)
        assert "r3" == self.store.open_run("t", "r4", resume=True)

    def test_a_resume_of_an_unknown_thread_is_a_fresh_run_and_remembered(self) -> None:
        assert "r1" == self.store.open_run("t", "r1", resume=True)
        assert "r1" == self.store.open_run("t", "r2", resume=True)
        assert "r3" == self.store.open_run("other", "r3", resume=True)

    def test_the_latest_run_of_a_thread_is_known_and_asking_changes_nothing(self) -> None:
        assert None is self.store.latest_run("t")
        self.store.open_run("t", "r1", resume=False)
        self.store.open_run("t", "r2", resume=False)
        assert "r2" == self.store.latest_run("t")
        assert "r2" == self.store.open_run("t", "r3", resume=True)

    def test_a_threads_next_run_begins_with_its_lanes_and_nothing_else(self) -> None:
        self.store.open_run("t", "r1", resume=False)
        left = RunState(lanes={"agent": Lane(rent=7, calls=3)}, steps=5, model_calls=3)
        self.store.change("r1", lambda _: (left, None))

        self.store.open_run("t", "r2", resume=False)

        assert RunState(lanes=left.lanes) == self.store.change("r2", lambda state: (state, state))

    def test_without_a_thread_every_run_is_fresh(self) -> None:
        assert "r1" == self.store.open_run(None, "r1", resume=False)
        assert "r2" == self.store.open_run(None, "r2", resume=True)

    # --- the async twins

    def test_the_async_twins_do_the_same(self) -> None:
        async def use() -> tuple[object, ...]:
            store, now = self.store, self.now_ms
            request = ReserveRequest(id="l1", holds=(hold(amount=30),), ttl_ms=self.ttl_ms, now_ms=now)
            lease = await store.areserve(request)
            await store.asettle(Charge(lease="l1", amounts=(7,), now_ms=now))
            await store.areserve(replace(request, id="l2"))
            await store.arelease("l2", now)
            await store.akeep("r", "h", "text")
            steps = await store.achange("r", lambda state: (replace(state, steps=4), state.steps))
            return lease, steps, await store.arecall("r", "h")

        assert (Lease(id="l1", holds=(hold(amount=30),)), 0, "text") == asyncio.run(use())
        assert {"run/a": (7, 0)} == self.balances()
        assert 4 == self.read("r").steps

    def test_the_async_twins_of_waiting_calls_do_the_same(self) -> None:
        waiting = Lease(id="l", holds=(hold(amount=30),), state=LeaseState.RESERVED)
        assert (waiting, (True, True), ["l"], False, []) == asyncio.run(self.waiting_async())
        assert {"run/a": (7, 0)} == self.balances()

    def test_the_async_twins_of_operations_do_the_same(self) -> None:
        halts = [halted("all"), halted("tenant=t")]
        assert (halts[1], halts, ["all", "halt/tenant=t/0"], 1) == asyncio.run(self.operating_async())

    def test_threads_that_change_one_run_lose_no_change(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.store.change, ["r"] * 80, [_one_step] * 80))
        assert 80 == self.read("r").steps


def _one_step(state: RunState) -> tuple[RunState, None]:
    return replace(state, steps=state.steps + 1), None


FULL_STATE = RunState(
    loop=LoopState(note="mind the gap é", finished=7),
    route=RouteState(tier="top", until_call=7, escalations=1, signals=("loop",)),
    lanes={"n/m": Lane(cuts=(Cut(first="k", text="t\n", tokens=3, at_call=2),), rent=9, previous_last="k", model="m")},
    steps=3,
    open_steps=("n:1",),
    escrows={"n:1": Escrow(lease="e", amounts={"b/run=r/life/usd": 10**12}, opened=1)},
    parts={"": EscrowPart(checkpoint="c", closed=1, decided_at=1, amounts={"b/run=r/life/usd": 5})},
    tools_used=("search",),
    approvals={"digest": START_MS},
    rejected={"digest": ("rule", "n:1", "c1")},
    used=(("n:1", "c1", "digest"),),
    question=Question(id="q", kind="budget", rule="b", ledger="b/run=r/life/usd", asked_ms=START_MS),
    grants={"b/run=r/life/usd": 10**12},
    policy="sha256:0",
    fans={"": ("checkpoint", 3, 2)},
    stopped=Stopped(code="c", rule="r", text="t", limit="1", seen="2", remedy="m", where="n/m", ledger="l"),
    started_ms=START_MS,
)
"""A state with something in every part."""
