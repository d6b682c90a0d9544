"""Processes that grant from slices of a shared store: the limit is the limit, and nobody is turned away while there is room."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from governor.errors import StoreError
from governor.ledger import (
    Adjustment,
    AdjustmentKind,
    Charge,
    Halted,
    Hold,
    Lease,
    LeaseState,
    Refusal,
    ReserveRequest,
    Shortfall,
)
from governor.runs import RunState
from governor.stores.memory import MemoryStore
from governor.stores.slices import SLICE_TTL_MS, SlicedStore
from governor.testing import START_MS, hold, spent_and_reserved

TTL_MS = 10_000


class Lost(MemoryStore):
    """Answers only while it is there, and counts how often it was asked for money."""

    lost = False
    asked = 0

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        self.asked += 1
        self._there()
        return super().reserve(request)

    def settle(self, charge: Charge) -> None:
        self.asked += 1
        self._there()
        super().settle(charge)

    def change(self, run: str, apply: object, *, later: bool = False) -> object:
        self._there()
        return super().change(run, apply, later=later)  # pyright: ignore[reportArgumentType] - any function will do here

    def keep(self, run: str, handle: str, text: str) -> None:
        self._there()
        super().keep(run, handle, text)

    def halts(self) -> list[Halted]:
        self._there()
        return list(super().halts())

    def _there(self) -> None:
        if self.lost:
            message = "the store is gone"
            raise StoreError(message)


def request(lease: str, *holds: Hold, now: int = START_MS) -> ReserveRequest:
    return ReserveRequest(id=lease, holds=holds, ttl_ms=TTL_MS, now_ms=now, payload=lease, scopes=("all", "tenant=t"))


class Processes(RuleBasedStateMachine):
    """Two processes that grant from slices of one store, and what their calls may have cost."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.now, self.count = MemoryStore(), START_MS, 0
        self.stores = [self.started(), self.started()]
        self.calls: list[tuple[int, str, tuple[Hold, ...]]] = []
        self.true: dict[str, int] = {}

    def started(self) -> SlicedStore:
        return SlicedStore(self.inner, share_permille=100, floor_permille=200)

    @rule(
        process=st.integers(0, 1),
        amount=st.integers(0, 120),
        path=st.sampled_from([("org/o", "run/a"), ("org/o",), ("org/o", "run/b"), ("run/a", "run/a")]),
    )
    def reserve(self, process: int, amount: int, path: tuple[str, ...]) -> None:
        holds = tuple(hold(ledger, amount, 1_000) for ledger in path)
        self.count += 1
        if isinstance(self.stores[process].reserve(request(f"l{self.count}", *holds, now=self.now)), Lease):
            self.calls.append((process, f"l{self.count}", holds))
            for each in holds:
                self.true[each.ledger] = self.true.get(each.ledger, 0) + amount

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), settled=st.booleans())
    def end(self, data: st.DataObject, settled: bool) -> None:
        process, lease, holds = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        used = holds[0].amount // 2 if settled else 0
        if settled:
            self.stores[process].settle(Charge(lease=lease, amounts=(used,) * len(holds), now_ms=self.now))
        else:
            self.stores[process].release(lease, self.now)
        if self.now < START_MS + TTL_MS:  # later it may have been forfeit before
            for each in holds:
                self.true[each.ledger] -= each.amount - used

    @rule(process=st.integers(0, 1))
    def die(self, process: int) -> None:
        """What it had granted may have been billed."""
        self.stores[process] = self.started()
        self.calls = [call for call in self.calls if call[0] != process]

    @rule(ms=st.integers(0, TTL_MS))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @invariant()
    def the_store_knows_of_everything_and_keeps_to_the_limit(self) -> None:
        for balance in self.inner.balances():
            assert balance.spent + balance.reserved <= 1_000
            if self.now < START_MS + TTL_MS:
                assert self.true.get(balance.ledger, 0) <= balance.spent + balance.reserved


TestProcesses = Processes.TestCase


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans()), min_size=1, max_size=40))
def test_one_process_is_refused_only_when_the_limit_is_used_up(calls: list[tuple[int, bool]]) -> None:
    """Except for what a slice with calls under way keeps when not even these calls would fit twice."""
    store = SlicedStore(MemoryStore())
    used = under_way = 0
    for number, (amount, ends) in enumerate(calls):
        answer = store.reserve(request(f"l{number}", hold("org/o", amount, 1_000), hold("run/a", amount, 2_000)))
        if isinstance(answer, Lease):
            used += amount
            under_way += 0 if ends else amount
            if ends:
                store.settle(Charge(lease=f"l{number}", amounts=(amount, amount), now_ms=START_MS))
        else:
            assert used + amount > 1_000 - min(10, under_way)


def test_a_refusal_says_what_the_ledger_really_holds() -> None:
    store = SlicedStore(MemoryStore())
    store.reserve(request("a", hold("org/o", 700, 1_000)))
    store.settle(Charge(lease="a", amounts=(650,), now_ms=START_MS))

    short = store.reserve(request("b", hold("org/o", 400, 1_000)))

    assert Shortfall(hold=replace(hold("org/o", 400, 1_000)), spent=650, reserved=0) == short


def test_calls_are_granted_without_asking_the_store() -> None:
    inner = Lost()
    store = SlicedStore(inner, share_permille=100, floor_permille=200)
    for number in range(100):
        assert isinstance(store.reserve(request(f"l{number}", hold("org/o", 1, 10_000))), Lease)
        store.settle(Charge(lease=f"l{number}", amounts=(1,), now_ms=START_MS))

    assert 1 == inner.asked
    store.close()
    assert {"org/o": (100, 0)} == spent_and_reserved(inner)


def test_a_process_that_died_loses_its_slice_and_no_more() -> None:
    inner = MemoryStore()
    store = SlicedStore(inner, share_permille=100, floor_permille=200)
    store.reserve(request("l", hold("org/o", 3, 1_000)))

    later = START_MS + SLICE_TTL_MS + TTL_MS
    inner.reserve(request("other", hold("other/o", 0), now=later))

    assert {"org/o": (100, 0)} == spent_and_reserved(inner)


def test_a_slice_is_returned_when_its_last_call_ends() -> None:
    inner = MemoryStore()
    store = SlicedStore(inner, share_permille=100, floor_permille=200)
    store.reserve(request("l", hold("org/o", 3, 1_000)))
    store.give_back(START_MS)
    assert {"org/o": (0, 100)} == spent_and_reserved(inner)

    store.settle(Charge(lease="l", amounts=(2,), now_ms=START_MS))

    assert {"org/o": (2, 0)} == spent_and_reserved(inner)


def test_a_call_that_was_never_settled_is_charged_and_corrected_once() -> None:
    inner = MemoryStore()
    store = SlicedStore(inner, share_permille=100, floor_permille=200)
    store.reserve(request("lost", hold("org/o", 30, 1_000)))
    later = START_MS + TTL_MS
    store.reserve(request("next", hold("org/o", 0, 1_000), now=later))
    for _ in range(2):
        store.settle(Charge(lease="lost", amounts=(12,), now_ms=later))
    store.settle(Charge(lease="next", amounts=(0,), now_ms=later))
    store.give_back(later)

    assert {"org/o": (12, 0)} == spent_and_reserved(inner)


@pytest.mark.parametrize("heartbeat", [True, False])
def test_a_call_that_is_remembered_for_long_keeps_no_others_from_being_forgotten(heartbeat: bool) -> None:
    """One that goes on by its heartbeats, or was never settled and may be corrected for a day."""
    store, part, late = SlicedStore(MemoryStore()), hold(amount=10, limit=10_000), START_MS + 3 * TTL_MS
    store.reserve(request("first", part))
    if heartbeat:
        store.extend("first", 10 * TTL_MS, START_MS)
    store.reserve(request("done", part, now=START_MS + TTL_MS))
    store.settle(Charge(lease="done", amounts=(4,), now_ms=START_MS + TTL_MS))

    again = store.reserve(request("done", part, now=late))

    assert isinstance(again, Lease)
    assert again.state is LeaseState.DISPATCHED
    store.settle(Charge(lease="done", amounts=(5,), now_ms=late))
    store.settle(Charge(lease="first", amounts=(1,), now_ms=late))
    store.give_back(late)
    assert {"run/a": (10, 0)} == spent_and_reserved(store)


def test_the_same_id_is_the_same_lease() -> None:
    store = SlicedStore(MemoryStore())
    wanted = request("l", hold("org/o", 600, 1_000))
    assert store.reserve(wanted) == store.reserve(wanted)
    with pytest.raises(StoreError, match="another call"):
        store.reserve(replace(wanted, payload="other"))


def test_a_halt_is_seen_when_what_is_known_of_halts_is_old() -> None:
    inner = MemoryStore()
    store = SlicedStore(inner, halts_ms=500)
    store.reserve(request("a", hold("org/o", 1, 10_000)))
    halt = Adjustment(id="1", kind=AdjustmentKind.HALT, subject="tenant=t", who="ann", why="runs wild", at_ms=START_MS)
    inner.adjust(halt)

    answers = [store.reserve(request(f"l{ms}", hold("org/o", 1, 10_000), now=START_MS + ms)) for ms in (499, 500)]

    assert [Lease, Halted] == [type(answer) for answer in answers]


def test_while_the_store_is_lost_calls_go_on_as_long_as_the_slice_lasts() -> None:
    inner = Lost()
    store = SlicedStore(inner, share_permille=100, floor_permille=200)
    store.reserve(request("first", hold("org/o", 10, 1_000)))
    inner.lost = True
    for number in range(9):
        assert isinstance(store.reserve(request(f"l{number}", hold("org/o", 10, 1_000))), Lease)

    with pytest.raises(StoreError):
        store.reserve(request("one more", hold("org/o", 10, 1_000)))


def test_what_a_run_would_write_is_written_when_the_store_is_back() -> None:
    inner = Lost()
    store = SlicedStore(inner)
    step = lambda state: (replace(state, steps=state.steps + 1), state.steps)  # noqa: E731 - a change, named
    assert 0 == store.change("r", step)
    inner.lost = True
    assert [1, 2] == [store.change("r", step) for _ in range(2)]
    store.keep("r", "h", "text")
    assert "text" == store.recall("r", "h")
    inner.lost = False
    assert 3 == store.change("r", step)

    assert RunState(steps=4) == inner.change("r", lambda state: (state, state))
    assert "text" == inner.recall("r", "h")


def test_of_fifty_tasks_exactly_the_ten_that_fit_are_admitted() -> None:
    store = SlicedStore(MemoryStore())

    async def all_of_them() -> list[Lease | Refusal]:
        return await asyncio.gather(*(store.areserve(request(f"l{n}", hold("org/o", 10, 100))) for n in range(50)))

    assert 10 == sum(isinstance(answer, Lease) for answer in asyncio.run(all_of_them()))


@pytest.mark.parametrize(("share", "floor"), [(0, 100), (200, 100), (10, 1_001)])
def test_shares_that_make_no_sense_are_refused(share: int, floor: int) -> None:
    with pytest.raises(ValueError, match="need 0 < share <= floor <= 1000"):
        SlicedStore(MemoryStore(), share_permille=share, floor_permille=floor)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_rates_are_the_stores_own(amounts: list[int]) -> None:
    sliced, plain = SlicedStore(MemoryStore()), MemoryStore()
    rate = replace(hold("rate/r", 1, 100), per_ms=1_000)
    for number, amount in enumerate(amounts):
        wanted = request(f"l{number}", replace(rate, amount=amount), hold("org/o", 1, 1_000))
        assert type(plain.reserve(wanted)) is type(sliced.reserve(wanted))
