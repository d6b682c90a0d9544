"""The memory store keeps the contract, and stays within its bounds."""

from dataclasses import replace

from governor.ledger import Charge, Lease, ReserveRequest
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


def test_an_ended_lease_is_remembered_for_a_day_and_then_its_id_is_new() -> None:
    store = MemoryStore()
    store.reserve(at(START_MS, "l"))
    store.settle(Charge(lease="l", amounts=(5,), now_ms=START_MS))
    store.reserve(at(START_MS + KEEP_MS, "other", "other/o"))
    store.reserve(at(START_MS + KEEP_MS, "l"))
    assert (5, 0) == (store.balances("run/")[0].spent, store.balances("run/")[0].reserved)

    store.reserve(at(START_MS + KEEP_MS + 1_000, "another", "other/o"))
    again = store.reserve(at(START_MS + KEEP_MS + 1_000, "l"))

    assert isinstance(again, Lease)
    assert (5, 10) == (store.balances("run/")[0].spent, store.balances("run/")[0].reserved)
