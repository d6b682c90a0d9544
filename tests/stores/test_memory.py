"""The memory store keeps the contract, and stays within its bounds."""

from dataclasses import replace

from governor.ledger import Charge, Lease, LeaseState, ReserveRequest
from governor.runs import RunState
from governor.stores.contract import Store
from governor.stores.ledgers import KEEP_MS
from governor.stores.memory import MemoryStore
from governor.testing import START_MS, StoreConformance, hold

DAY_MS = 86_400_000


class TestMemoryStore(StoreConformance):
    def make_store(self) -> Store:
        return MemoryStore()


def at(now_ms: int, lease: str, ledger: str = "run/a", *, expires_ms: int | None = None) -> ReserveRequest:
    return ReserveRequest(id=lease, holds=(hold(ledger, expires_ms=expires_ms),), ttl_ms=1_000, now_ms=now_ms)


def test_the_run_used_longest_ago_is_forgotten_first() -> None:
    store = MemoryStore(max_runs=2)
    for run in ("a", "b", "a", "c"):
        store.change(run, lambda state: (replace(state, steps=state.steps + 1), None))
    store.keep("c", "h", "text")

    steps = {run: store.change(run, lambda state: (state, state.steps)) for run in ("c", "a")}

    assert {"a": 2, "c": 1} == steps
    assert RunState() == store.change("b", lambda state: (state, state))
    assert None is store.recall("c", "h")


def test_threads_are_bounded_like_runs() -> None:
    store = MemoryStore(max_runs=2)
    for thread in ("t1", "t2", "t3"):
        store.open_run(thread, f"run-{thread}", resume=False)

    assert "run-t3" == store.open_run("t3", "fresh", resume=True)
    assert "fresh" == store.open_run("t1", "fresh", resume=True)


def test_a_ledger_is_forgotten_when_its_window_is_over_and_nothing_holds_on_it() -> None:
    store = MemoryStore()
    ends = START_MS + DAY_MS
    store.reserve(at(START_MS, "l1", "day/1", expires_ms=ends))
    store.settle(Charge(lease="l1", amounts=(5,), now_ms=START_MS))
    store.reserve(at(ends - 500, "l2", "day/2", expires_ms=ends))

    store.reserve(at(ends, "l3", "day/3", expires_ms=ends + DAY_MS))

    assert ["day/2", "day/3"] == [balance.ledger for balance in store.balances()]


def test_a_ledger_that_is_used_again_lives_on() -> None:
    store = MemoryStore()
    store.reserve(at(START_MS, "l1", expires_ms=START_MS + 10_000))
    store.settle(Charge(lease="l1", amounts=(5,), now_ms=START_MS))
    store.reserve(at(START_MS + 9_000, "l2", expires_ms=START_MS + 19_000))
    store.release("l2", START_MS + 9_000)

    store.reserve(at(START_MS + 12_000, "l3", "other/o"))

    assert 5 == store.balances("run/")[0].spent


def test_an_ended_lease_is_remembered_until_its_ttl_is_over_and_then_its_id_is_new() -> None:
    store = MemoryStore()
    store.reserve(at(START_MS, "l"))
    store.settle(Charge(lease="l", amounts=(5,), now_ms=START_MS))

    within, after = (store.reserve(at(now, "l")) for now in (START_MS + 999, START_MS + 1_000))

    assert isinstance(within, Lease)
    assert isinstance(after, Lease)
    assert (LeaseState.SETTLED, LeaseState.DISPATCHED) == (within.state, after.state)


def test_a_forfeit_lease_is_corrected_within_a_day_and_then_stands() -> None:
    spent: list[int] = []
    for late in (KEEP_MS - 1, KEEP_MS):
        store = MemoryStore()
        store.reserve(at(START_MS, "lost"))
        store.reserve(at(START_MS + 1_000, "other", "other/o"))
        store.reserve(at(START_MS + 1_000 + late, "another", "other/o"))
        store.settle(Charge(lease="lost", amounts=(3,), now_ms=START_MS + 1_000 + late))
        spent.append(store.balances("run/")[0].spent)

    assert [3, 10] == spent


def test_a_busy_store_keeps_only_what_may_still_be_asked_for() -> None:
    store = MemoryStore()
    for number in range(5_000):
        now = START_MS + number * 10
        store.reserve(at(now, f"l{number}"))
        store.settle(Charge(lease=f"l{number}", amounts=(0,), now_ms=now))

    assert len(store._counters.entries) == len(store._counters._due) == 100
