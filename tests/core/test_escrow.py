"""Slices of a budget that branches have reserved, whatever branches and others do, in any order, and whoever is killed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN

from governor.calls import RunRef, StepRef
from governor.drive import drive
from governor.ledger import Charge, Hold, Lease, ReserveRequest
from governor.pipeline import run_exit, step_entry, step_exit
from governor.plans import ToolQuote
from governor.policy import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS

if TYPE_CHECKING:
    from governor.stores.contract import Store

RUN = RunRef(id="r", scopes={"tenant": "t"}, policy_hash="h")
OTHER = RunRef(id="other", scopes={"tenant": "t"}, policy_hash="h")
POOL = "b/tenant=t/life/calls"
TTL_MS = 15 * 60_000


class Fan:
    """A run whose superstep has `width` branches, and somebody else who counts on the same budget."""

    def __init__(self, store: Store, limit: int, width: int) -> None:
        self.store, self.width, self.now_ms, self.calls = store, width, START_MS, 0
        budget = {"id": "b", "scope": "tenant", "limit": {"calls": limit}, "split": "escrow"}
        policy = load({"governor": 1, "name": "p", "identity": {"tenant": "config.tenant"}, "budgets": [budget]})
        self.runtime = Runtime(policy, store=store, clock=lambda: self.now_ms)

    def do(self, flow: Any) -> None:
        drive(flow, self.runtime.performer(INVALID_SPAN, lambda effect: effect))

    def step(self, number: int) -> StepRef:
        return StepRef(run=RUN, node="a", path="a", ns=f"a:{number}", superstep=("c", 1), sent=self.width)

    def begin(self, number: int) -> None:
        self.do(step_entry(self.step(number), self.runtime.controls))

    def end(self, number: int) -> None:
        self.do(step_exit(self.step(number), self.runtime.controls))

    def call(self, number: int | None, amount: int, charged: int | None) -> bool:
        """A call of a branch, or of somebody else (None); never settled when `charged` is None. Whether it was granted."""
        self.calls += 1
        at = StepRef(run=OTHER, node="x", path="x", ns="x:1") if number is None else self.step(number)
        state = self.store.change(at.run.id, lambda state: (state, state))
        shares, whole = self.runtime.controls.shares, self.hold(amount)
        quote = shares.added(ToolQuote(holds=(whole,), fee=0), at, state, self.now_ms)
        request = ReserveRequest(
            id=f"c{self.calls}",
            holds=quote.holds,
            ttl_ms=TTL_MS,
            now_ms=self.now_ms,
            escrow=shares.escrow(at, state),
        )
        lease = self.store.reserve(request)
        if isinstance(lease, Lease) and charged is not None:
            amounts = tuple(min(charged, hold.amount) for hold in quote.holds)
            self.store.settle(Charge(lease=lease.id, amounts=amounts, now_ms=self.now_ms))
        return isinstance(lease, Lease)

    def hold(self, amount: int) -> Hold:
        line = self.runtime.controls.budget.escrowed(self.step(0), self.now_ms, {}, keeps=False)[0]
        return Hold(
            ledger=line.ledger,
            unit=line.unit,
            amount=amount,
            limit=line.limit,
            budget=line.budget,
            scope=line.scope,
            written=line.written,
        )

    def weights(self) -> dict[str, tuple[int, int]]:
        return {each.ledger: (each.spent, each.reserved) for each in self.store.balances()}


def make(kind: str) -> Store:
    return MemoryStore() if kind == "memory" else SqliteStore(Path(tempfile.mkdtemp()) / "g.db")


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "call", "call", "call", "lost", "other", "end", "killed"]),
        st.integers(0, 3),
        st.integers(0, 12),
        st.integers(0, 12),
    ),
    max_size=30,
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(deadline=None, max_examples=60)
@given(limit=st.integers(0, 40), width=st.integers(2, 4), events=EVENTS)
def test_slices_never_pass_the_budget_are_counted_once_and_are_given_back(
    kind: str, limit: int, width: int, events: list[tuple[str, int, int, int]]
) -> None:
    fan = Fan(make(kind), limit + 1, width)
    try:
        for what, which, amount, charged in events:
            branch = which % width
            if what == "begin":
                fan.begin(branch)
            elif what == "end":
                fan.end(branch)
            elif what == "killed":
                fan.now_ms += TTL_MS + 1
                fan.call(None, 0, 0)
            else:
                fan.call(None if what == "other" else branch, amount, None if what == "lost" else charged)
            found = fan.weights()
            spent, reserved = found.get(POOL, (0, 0))
            branches = {key: weight for key, weight in found.items() if key != POOL}
            assert spent + reserved <= limit + 1
            assert sum(each[0] for each in branches.values()) <= spent
            assert sum(each[1] for each in branches.values()) <= reserved
        fan.do(run_exit(RUN, fan.runtime.controls))
        fan.now_ms += TTL_MS + 1  # calls that nobody settled
        for _ in range(2):
            fan.call(None, 0, 0)
        assert all(reserved == 0 for _, reserved in fan.weights().values())
    finally:
        fan.store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_branch_whose_worker_was_killed_leaves_what_it_had_reserved_to_others_after_its_time(kind: str) -> None:
    fan = Fan(make(kind), 10, 2)
    fan.begin(0)
    fan.call(0, 2, 2)
    before = fan.call(None, 6, 6)
    fan.now_ms += TTL_MS + 1
    after = fan.call(None, 8, 8)

    assert (False, True) == (before, after)
    assert (10, 0) == fan.weights()[POOL]
    fan.store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_branch_that_is_run_again_finds_its_slice(kind: str) -> None:
    fan = Fan(make(kind), 10, 2)
    for _ in range(3):
        fan.begin(0)
        fan.call(0, 1, 1)

    assert (3, 2) == fan.weights()[POOL]
    assert 1 == sum(lease.state == "reserved" for lease in fan.store.leases())
    fan.store.close()
