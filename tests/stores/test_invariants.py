"""Any order of reserve, settle, release, repetition and time leaves every store where a plain model says it should be.

Invariants held after every step: spent + reserved stays within the limit but for recorded debt (I1), reserved is the sum of
live leases and spent the sum of settled and forfeited ones (I2, I13), one lease per id whatever is repeated (I4), nothing stays
reserved past its ttl (I5), what was released was never charged (I6), and what fits is never refused (I9).
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from governor.ledger import Charge, Hold, Lease, LeaseState, Refusal, ReserveRequest, Shortfall
from governor.stores.contract import Store
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS, hold

LIMITS = {"org/o": 300, "tenant/t": 200, "run/a": 100, "run/b": 100, "log/l": None}
TTL_MS = 1_000


@dataclass
class Known:
    """What the model knows of one lease."""

    holds: tuple[Hold, ...]
    due_ms: int
    state: LeaseState = LeaseState.DISPATCHED
    charged: tuple[int, ...] = ()


@dataclass
class Model:
    """Ledgers as sums over leases: nothing is counted up or down, so that nothing can be counted twice."""

    leases: dict[str, Known] = field(default_factory=dict)

    def balance(self, ledger: str) -> tuple[int, int]:
        spent = reserved = 0
        for lease in self.leases.values():
            for position, each in enumerate(lease.holds):
                if each.ledger != ledger:
                    continue
                if lease.state is LeaseState.DISPATCHED:
                    reserved += each.amount
                elif lease.state is LeaseState.FORFEIT:
                    spent += each.amount
                elif lease.state is LeaseState.SETTLED:
                    spent += lease.charged[position]
        return spent, reserved

    def expire(self, now_ms: int) -> None:
        for lease in self.leases.values():
            if lease.state is LeaseState.DISPATCHED and lease.due_ms <= now_ms:
                lease.state = LeaseState.FORFEIT


class Ledgers(RuleBasedStateMachine):
    """One store beside the model."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.model = store, Model()
        self.now_ms, self.debt = START_MS, False

    def request(self, lease: str, holds: tuple[Hold, ...]) -> ReserveRequest:
        return ReserveRequest(id=lease, holds=holds, ttl_ms=TTL_MS, now_ms=self.now_ms)

    @rule(
        amount=st.integers(0, 60),
        path=st.sampled_from([("org/o", "tenant/t", "run/a"), ("org/o", "run/b", "log/l"), ("run/a", "run/a"), ()]),
    )
    def reserve(self, amount: int, path: tuple[str, ...]) -> None:
        holds = tuple(hold(ledger, amount, LIMITS[ledger]) for ledger in path)
        lease = f"l{len(self.model.leases)}"
        self.model.expire(self.now_ms)
        expected: Lease | Refusal = Lease(id=lease, holds=holds)
        taken: dict[str, int] = {}
        for each in holds:
            spent, reserved = self.model.balance(each.ledger)
            reserved += taken.get(each.ledger, 0)
            if each.limit is not None and spent + reserved + each.amount > each.limit:
                expected = Shortfall(hold=each, spent=spent, reserved=reserved)
                break
            taken[each.ledger] = taken.get(each.ledger, 0) + each.amount

        assert expected == self.store.reserve(self.request(lease, holds))

        if isinstance(expected, Lease):
            self.model.leases[lease] = Known(holds, self.now_ms + TTL_MS)

    def remembered(self) -> list[str]:
        """Leases whose ids must still be known: what has ended is forgotten after its ttl."""
        self.model.expire(self.now_ms)
        return sorted(
            lease
            for lease, known in self.model.leases.items()
            if known.state in (LeaseState.DISPATCHED, LeaseState.FORFEIT) or known.due_ms > self.now_ms
        )

    @precondition(lambda self: self.remembered())
    @rule(data=st.data())
    def reserve_again(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.remembered()))
        known = self.model.leases[lease]

        again = self.store.reserve(self.request(lease, known.holds))

        assert Lease(id=lease, holds=known.holds, state=known.state) == again

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), times=st.integers(1, 2))
    def settle(self, data: st.DataObject, times: int) -> None:
        lease = data.draw(st.sampled_from(sorted(self.model.leases)))
        known = self.model.leases[lease]
        amounts = tuple(data.draw(st.integers(0, each.amount + 5)) for each in known.holds)
        for _ in range(times):
            self.store.settle(Charge(lease=lease, amounts=amounts, now_ms=self.now_ms))
        if known.state in (LeaseState.DISPATCHED, LeaseState.FORFEIT):
            known.state, known.charged = LeaseState.SETTLED, amounts
            self.debt |= any(amount > each.amount for amount, each in zip(amounts, known.holds, strict=True))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), times=st.integers(1, 2))
    def release(self, data: st.DataObject, times: int) -> None:
        lease = data.draw(st.sampled_from(sorted(self.model.leases)))
        for _ in range(times):
            self.store.release(lease, self.now_ms)
        known = self.model.leases[lease]
        if known.state is LeaseState.DISPATCHED:
            known.state = LeaseState.RELEASED

    @rule(ms=st.integers(0, TTL_MS))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.model.expire(self.now_ms)
        self.store.reserve(self.request(f"tick{self.now_ms}", ()))

    @invariant()
    def the_store_is_where_the_model_is(self) -> None:
        seen = {balance.ledger: (balance.spent, balance.reserved) for balance in self.store.balances()}
        expected = {ledger: self.model.balance(ledger) for ledger in LIMITS}
        assert expected == {ledger: seen.get(ledger, (0, 0)) for ledger in LIMITS}

    @invariant()
    def only_debt_passes_a_limit(self) -> None:
        for balance in self.store.balances():
            if balance.limit is not None and not self.debt:
                assert balance.spent + balance.reserved <= balance.limit

    def teardown(self) -> None:
        self.store.close()


def machine(make_store: Callable[[], Store]) -> type[RuleBasedStateMachine]:
    class OneStore(Ledgers):
        def __init__(self) -> None:
            super().__init__(make_store())

    return OneStore


def test_the_memory_store_follows_the_model() -> None:
    run_state_machine_as_test(machine(MemoryStore), settings=settings(stateful_step_count=40))


def test_the_sqlite_store_follows_the_model() -> None:
    with tempfile.TemporaryDirectory() as folder:
        numbers = count()
        run_state_machine_as_test(
            machine(lambda: SqliteStore(Path(folder) / f"{next(numbers)}.db")),
            settings=settings(stateful_step_count=30, max_examples=settings().max_examples // 2),
        )


def _no_limit(store: MemoryStore) -> None:
    real = store.reserve
    store.reserve = lambda request: real(
        ReserveRequest(
            id=request.id,
            holds=tuple(hold(each.ledger, each.amount, None) for each in request.holds),
            ttl_ms=request.ttl_ms,
            now_ms=request.now_ms,
        )
    )


def _forgets_ids(store: MemoryStore) -> None:
    real = store.reserve

    def reserve(request: ReserveRequest) -> Lease | Refusal:
        store._counters.entries.pop(request.id, None)
        return real(request)

    store.reserve = reserve


def _settles_twice(store: MemoryStore) -> None:
    real = store.settle

    def settle(charge: Charge) -> None:
        entry = store._counters.entries.get(charge.lease)
        if entry and entry.state is LeaseState.SETTLED:
            entry.state = LeaseState.FORFEIT
        real(charge)

    store.settle = settle


def _refunds_the_forfeit(store: MemoryStore) -> None:
    real = store.release

    def release(lease: str, now_ms: int) -> None:
        entry = store._counters.entries.get(lease)
        if entry and entry.state is LeaseState.FORFEIT:
            for each in entry.holds:
                store._counters.ledgers[each.ledger].spent -= each.amount
            entry.state = LeaseState.RELEASED
        real(lease, now_ms)

    store.release = release


def _caps_the_charge(store: MemoryStore) -> None:
    real = store.settle

    def settle(charge: Charge) -> None:
        entry = store._counters.entries.get(charge.lease)
        held = (each.amount for each in entry.holds) if entry else charge.amounts
        capped = tuple(min(amount, most) for amount, most in zip(charge.amounts, held, strict=True))
        real(Charge(lease=charge.lease, amounts=capped, now_ms=charge.now_ms))

    store.settle = settle


def _never_expires(store: MemoryStore) -> None:
    store._counters.sweep = lambda now_ms: None


def _holds_in_part(store: MemoryStore) -> None:
    real = store.reserve

    def reserve(request: ReserveRequest) -> Lease | Refusal:
        answer = real(request)
        if isinstance(answer, Shortfall) and request.holds:
            store._counters._take(request.holds[0], request.now_ms)
        return answer

    store.reserve = reserve


@pytest.mark.parametrize(
    "spoil",
    [
        _no_limit,
        _forgets_ids,
        _settles_twice,
        _refunds_the_forfeit,
        _caps_the_charge,
        _never_expires,
        _holds_in_part,
    ],
)
def test_a_spoilt_store_is_found_out(spoil: Callable[[MemoryStore], None]) -> None:
    def spoilt() -> Store:
        store = MemoryStore()
        spoil(store)
        return store

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine(spoilt),
            settings=settings(stateful_step_count=40, report_multiple_bugs=False, phases=[Phase.generate]),
        )
