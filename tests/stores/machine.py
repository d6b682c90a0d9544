"""Any order of what a store can be asked for, beside a model: `machine(make_store)` is a state machine of Hypothesis.

A store may be late with leases whose time is over; what it makes of them is looked up, and only what the contract allows is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from governor.errors import LeaseConflict, StoreError
from governor.ledger import (
    Adjustment,
    AdjustmentKind,
    Charge,
    Hold,
    Lease,
    LeaseState,
    Refusal,
    ReserveRequest,
    Unit,
)
from governor.stores.contract import Store
from governor.stores.rates import EMPTY, drained
from governor.testing import START_MS, hold
from tests.stores.model import OPEN, Known, Model

__all__ = ["Elapse", "Ledgers", "machine"]

Elapse = Callable[[Store, int], None]
"""Lets so many milliseconds pass by the store's own clock, for a store that has one."""

LIMITS = {"org/o": 300, "tenant/t": 200, "run/a": 100, "run/b": 100, "log/l": None}
RATE, ROLLING = "rate/m", "roll"
LEDGERS = (*LIMITS, RATE)
TTL_MS, SLICE_MS, SLICES = 1_000, 1_500, 3
REST = 1_000_000
"""Stands for as much as fits."""
SCOPES = ("all", "tenant=t", "run=a")
PATHS = [
    ("org/o", "tenant/t", "run/a"),
    ("org/o", "run/b", "log/l"),
    ("run/a", "run/a"),
    ("org/o", RATE),
    (RATE, RATE, ROLLING),
    (ROLLING, "run/a"),
    (ROLLING,),
    (),
]


class Ledgers(RuleBasedStateMachine):
    """One store beside the model."""

    elapse: Elapse | None = None

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.model = store, Model()
        self.now_ms, self.count, self.over = START_MS, 0, False
        self.last_due_ms = START_MS

    def hold(self, ledger: str, amount: int) -> Hold:
        if ledger == RATE:
            return replace(hold(RATE, amount, 120), unit=Unit.TOKENS, per_ms=2_000)
        if ledger == ROLLING:
            at = self.now_ms // SLICE_MS
            return replace(hold(f"roll/{at}", amount, 100), earlier=tuple(f"roll/{at - n}" for n in (2, 1)))
        return replace(hold(ledger, amount, LIMITS[ledger]), alert=70 if LIMITS[ledger] is None else None)

    def request(self, lease: str, holds: tuple[Hold, ...], ttl_ms: int = TTL_MS) -> ReserveRequest:
        self.last_due_ms = max(self.last_due_ms, self.now_ms + ttl_ms)
        return ReserveRequest(id=lease, holds=holds, ttl_ms=ttl_ms, now_ms=self.now_ms)

    def rest(self, path: tuple[str, ...]) -> int:
        """The largest amount that every hold of a call on `path` still has room for."""
        rooms = [60]
        for each in (self.hold(ledger, 0) for ledger in path if LIMITS.get(ledger, 1)):
            window = (each.ledger, *each.earlier)
            weight = sum(self.model.balance(*window)) - self.model.granted(*window)
            if each.per_ms:
                level = drained(self.model.rates.get(RATE, EMPTY), each.limit or 0, self.now_ms)
                weight = -(-level // each.per_ms)
            rooms.append(
                ((each.limit or 0) - weight) // path.count(each.budget if each.budget == ROLLING else each.ledger)
            )
        return max(0, min(rooms))

    def look(self) -> None:
        """Let the store end what is over, and see what it made of it: a call that may have been billed is never given back."""
        self.count += 1
        self.store.reserve(self.request(f"look{self.count}", ()))
        self.store.dispatch("nobody", self.now_ms)
        if all(known.state not in OPEN or known.due_ms > self.now_ms for known in self.model.leases.values()):
            return
        seen = {record.id: record.state for record in self.store.leases()}
        for lease, known in self.model.leases.items():
            if known.state not in OPEN or known.due_ms > self.now_ms:
                continue
            if known.state is LeaseState.RESERVED:
                assert seen.get(lease) is None
                self.model.end(lease, LeaseState.RELEASED, (0,) * len(known.holds), self.now_ms)
            elif seen[lease] is not LeaseState.DISPATCHED:
                assert seen[lease] is LeaseState.FORFEIT
                known.state = LeaseState.FORFEIT

    @rule(
        amount=st.integers(0, 60) | st.sampled_from([REST, REST, REST + 1]),
        path=st.sampled_from(PATHS),
        dispatched=st.booleans(),
        ttl_ms=st.sampled_from([TTL_MS, TTL_MS, TTL_MS // 4]),
        scopes=st.sampled_from([(), SCOPES[:2], SCOPES[::2], SCOPES]),
        draws=st.booleans(),
    )
    def reserve(
        self, amount: int, path: tuple[str, ...], dispatched: bool, ttl_ms: int, scopes: tuple[str, ...], draws: bool
    ) -> None:
        self.look()
        escrow = self.escrow() if draws else ""
        amount = self.rest(path) + amount - REST if amount >= REST else amount
        holds, lease = tuple(self.hold(ledger, amount) for ledger in path), f"l{len(self.model.leases)}"
        state = LeaseState.DISPATCHED if dispatched else LeaseState.RESERVED
        halted = next((self.model.halts[scope] for scope in scopes if scope in self.model.halts), None)
        parts, left = self.model.parts(holds, self.now_ms, escrow), self.model.kept(escrow, self.now_ms)
        expected: Lease | Refusal = (
            halted
            or self.model.shortfall(holds, self.now_ms, escrow)
            or Lease(id=lease, holds=holds, state=state, passed=self.model.passed(holds, parts, left))
        )
        used = self.model.tightest(holds, parts, left)

        answer = self.store.reserve(
            replace(
                self.request(lease, holds, ttl_ms),
                dispatched=dispatched,
                payload=f"p{lease}",
                scopes=scopes,
                run="r",
                escrow=escrow,
            )
        )

        assert expected == answer
        if isinstance(answer, Lease):
            assert used == (answer.used_permille, answer.tightest)
            known = Known(holds, self.now_ms + ttl_ms, state, f"p{lease}", "r")
            self.model.take(lease, known, self.now_ms)
            if escrow:
                known.escrow, known.drawn = escrow, parts
                self.model.move(escrow, holds, tuple(-part for part in parts))
                self.model.leases[escrow].due_ms = max(self.model.leases[escrow].due_ms, known.due_ms)

    def escrow(self) -> str:
        """The latest lease whose call has not begun."""
        waiting = [lease for lease, known in self.model.leases.items() if known.state is LeaseState.RESERVED]
        return waiting[-1] if waiting else ""

    def remembered(self) -> list[str]:
        """Leases whose ids must still be known: what has ended is forgotten after its ttl."""
        return sorted(
            lease
            for lease, known in self.model.leases.items()
            if known.state is LeaseState.FORFEIT or known.due_ms > self.now_ms
        )

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), same=st.booleans())
    def reserve_again(self, data: st.DataObject, same: bool) -> None:
        self.look()
        lease = data.draw(st.sampled_from([*self.remembered(), ""]))
        if not lease:
            return
        known = self.model.leases[lease]
        request = replace(self.request(lease, known.holds), payload=known.payload if same else "other", scopes=SCOPES)
        try:
            answer: object = self.store.reserve(request)
        except LeaseConflict:
            answer = LeaseConflict

        expected = Lease(id=lease, holds=known.holds, state=known.state)
        assert (expected if same else LeaseConflict) == answer

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.model.leases)))
        known = self.model.leases[lease]
        alive = known.state in OPEN and known.due_ms > self.now_ms

        assert alive == self.store.dispatch(lease, self.now_ms)

        if alive:
            known.state = LeaseState.DISPATCHED

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), ttl_ms=st.integers(1, 2 * TTL_MS))
    def extend(self, data: st.DataObject, ttl_ms: int) -> None:
        lease = data.draw(st.sampled_from(sorted(self.model.leases)))
        known = self.model.leases[lease]
        alive = known.state in OPEN and known.due_ms > self.now_ms

        assert alive == self.store.extend(lease, ttl_ms, self.now_ms)

        if alive:
            known.due_ms = max(known.due_ms, self.now_ms + ttl_ms)
            self.last_due_ms = max(self.last_due_ms, known.due_ms)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), times=st.integers(1, 2))
    def settle(self, data: st.DataObject, times: int) -> None:
        self.look()
        lease = data.draw(st.sampled_from(sorted(self.model.leases)))
        known = self.model.leases[lease]
        amounts = tuple(data.draw(st.integers(0, each.amount + 5)) for each in known.holds)
        for _ in range(times):
            self.store.settle(Charge(lease=lease, amounts=amounts, now_ms=self.now_ms))
        if known.state in (*OPEN, LeaseState.FORFEIT):
            self.model.end(lease, LeaseState.SETTLED, amounts, self.now_ms)
            self.over |= any(amount > each.amount for amount, each in zip(amounts, known.holds, strict=True))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), times=st.integers(1, 2))
    def release(self, data: st.DataObject, times: int) -> None:
        self.look()
        lease = data.draw(st.sampled_from(sorted(self.model.leases)))
        for _ in range(times):
            self.store.release(lease, self.now_ms)
        known = self.model.leases[lease]
        if known.state in OPEN:
            self.model.end(lease, LeaseState.RELEASED, (0,) * len(known.holds), self.now_ms)

    @rule(
        kind=st.sampled_from(AdjustmentKind),
        ledger=st.sampled_from(LEDGERS),
        scope=st.sampled_from(SCOPES),
        amount=st.integers(-40, 60),
        key=st.integers(0, 15),
    )
    def adjust(self, kind: AdjustmentKind, ledger: str, scope: str, amount: int, key: int) -> None:
        self.look()
        of_ledger = kind in (AdjustmentKind.GRANT, AdjustmentKind.RESET)
        change = Adjustment(
            id=f"{key}",
            kind=kind,
            subject=ledger if of_ledger else scope,
            amount=amount,
            who="ann",
            why=f"{key}",
            at_ms=START_MS,
        )
        try:
            self.store.adjust(change)
        except StoreError:
            assert of_ledger
            assert change.id not in self.model.adjustments
            assert not self.model.knows(ledger)
            return
        assert change.id in self.model.adjustments or not of_ledger or self.model.knows(ledger)
        self.over |= kind is AdjustmentKind.GRANT and amount < 0
        self.model.adjust(change)

    @rule(ms=st.integers(1, TTL_MS))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        if self.elapse:
            self.elapse(self.store, ms)
        self.look()

    @rule()
    def everything_ends(self) -> None:
        """Once the time of every lease is over nothing is reserved any more, whoever was killed."""
        if self.last_due_ms > self.now_ms:
            self.time_passes(self.last_due_ms - self.now_ms)
        self.look()
        assert not any(balance.reserved for balance in self.store.balances() if not balance.per_ms)

    @invariant()
    def the_store_is_where_the_model_is(self) -> None:
        balances = self.store.balances()
        keys = sorted({hold.ledger for lease in self.model.leases.values() for hold in lease.holds})
        seen = {each.ledger: (each.spent, each.reserved, each.granted) for each in balances if not each.per_ms}
        assert {key: (*self.model.balance(key), self.model.granted(key)) for key in keys if key != RATE} == seen
        rates = {each.ledger: each.reserved for each in balances if each.per_ms}
        assert {key: -(-bucket.level // 2_000) for key, bucket in self.model.rates.items()} == {
            key: level for key, level in rates.items() if level or key in self.model.rates
        }

    @invariant()
    def operators_find_what_they_did(self) -> None:
        assert [self.model.halts[scope] for scope in sorted(self.model.halts)] == list(self.store.halts())
        assert list(self.model.adjustments.values())[::-1] == list(self.store.audit())
        halted = next((self.model.halts[scope] for scope in SCOPES if scope in self.model.halts), None)
        assert halted == self.store.halted(SCOPES)

    @invariant()
    def leases_that_may_still_cost_are_listed(self) -> None:
        listed = {each.id: (each.run, each.holds, each.due_ms) for each in self.store.leases() if each.state in OPEN}
        for lease, known in self.model.leases.items():
            if known.state in OPEN and known.due_ms > self.now_ms:
                assert (known.run, known.holds, known.due_ms) == listed[lease]

    @invariant()
    def only_debt_passes_a_limit(self) -> None:
        """Over any window as long as the rolling one, too."""
        if self.over:
            return
        balances = {each.ledger: each for each in self.store.balances()}
        for each in balances.values():
            if each.limit is not None and not each.per_ms:
                assert each.spent + each.reserved <= each.limit + each.granted
        for at in (int(key.removeprefix("roll/")) for key in balances if key.startswith("roll/")):
            window = [balances[key] for n in range(SLICES) if (key := f"roll/{at + n}") in balances]
            assert sum(each.spent + each.reserved for each in window) <= 100

    def teardown(self) -> None:
        self.store.close()


RULES = frozenset(
    {
        "adjust",
        "dispatch",
        "everything_ends",
        "extend",
        "release",
        "reserve",
        "reserve_again",
        "settle",
        "time_passes",
    }
)
"""What a machine does: the names of its rules."""


def machine(
    make_store: Callable[[], Store], elapse: Elapse | None = None, *, only: Sequence[str] = ()
) -> type[RuleBasedStateMachine]:
    """The state machine of one kind of store. With a clock of its own the store is told by `elapse` when time passes.

    `only`: names of the rules that are used; all of them without it.
    """

    class OneStore(Ledgers):
        def __init__(self) -> None:
            super().__init__(make_store())
            self.elapse = elapse

    for name in RULES.difference(only) if only else ():
        setattr(OneStore, name, None)  # what is no rule here is no rule of the machine either
    return OneStore
