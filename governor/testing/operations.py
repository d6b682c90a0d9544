"""What every store must do for operators: halts, grants, resets, and a trail of all of them."""

# ruff: noqa: S101, D102, SIM300 - these are tests: they assert, expected first, and their names are their sentences

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.errors import StoreError
from governor.ledger import Adjustment, AdjustmentKind, Halted, Lease, Shortfall
from governor.testing.base import StoreTests, hold, rate
from governor.testing.fakes import START_MS

if TYPE_CHECKING:
    from governor.ledger import Refusal

__all__ = ["OperationsConformance"]

GRANT, RESET, HALT, RESUME = (
    AdjustmentKind.GRANT,
    AdjustmentKind.RESET,
    AdjustmentKind.HALT,
    AdjustmentKind.RESUME,
)


def halted(scope: str, why: str = "why not") -> Halted:
    """The halt that these tests make of `scope`."""
    return Halted(scope=scope, who="ann", why=why, at_ms=START_MS)


class OperationsConformance(StoreTests):
    """Changes that operators make. `StoreConformance` has it all."""

    def under(self, lease: str, *scopes: str, amount: int = 10) -> Lease | Refusal:
        """Reserve for a call under `scopes`."""
        return self.store.reserve(replace(self.request(lease, hold(amount=amount)), scopes=scopes))

    # --- halts

    def test_a_halted_scope_refuses_every_call_under_it_and_holds_nothing(self) -> None:
        self.adjust(HALT, "tenant=acme")
        assert halted("tenant=acme") == self.under("l1", "all", "tenant=acme")
        assert {} == self.balances()
        assert isinstance(self.under("l2", "all", "tenant=other"), Lease)

    def test_of_two_halts_the_first_scope_of_the_call_is_named(self) -> None:
        self.adjust(HALT, "run=r")
        self.adjust(HALT, "all")
        assert halted("all") == self.under("l", "all", "run=r")
        assert halted("run=r") == self.store.halted(("tenant=t", "run=r", "all"))

    def test_a_halt_is_seen_before_a_limit(self) -> None:
        self.adjust(HALT, "all")
        assert halted("all") == self.under("l", "all", amount=1_000)

    def test_a_known_id_is_answered_before_a_halt(self) -> None:
        first = self.under("l", "all")
        self.adjust(HALT, "all")
        assert first == self.under("l", "all")

    def test_a_call_under_way_is_settled_in_spite_of_a_halt(self) -> None:
        self.under("l", "all")
        self.adjust(HALT, "all")
        self.settle("l", 3)
        assert {"run/a": (3, 0)} == self.balances()

    def test_a_resumed_scope_is_open_again(self) -> None:
        self.adjust(HALT, "all")
        self.adjust(RESUME, "all")
        assert None is self.store.halted(("all",))
        assert isinstance(self.under("l", "all"), Lease)

    def test_a_scope_may_be_halted_again_after_it_was_resumed(self) -> None:
        self.adjust(HALT, "all", key="1")
        self.adjust(RESUME, "all", key="2")
        self.adjust(HALT, "all", key="3")
        assert halted("all") == self.under("l", "all")

    def test_a_repeated_halt_does_not_come_back_after_a_resume(self) -> None:
        self.adjust(HALT, "all", key="1")
        self.adjust(RESUME, "all", key="2")
        self.adjust(HALT, "all", key="1")
        assert None is self.store.halted(("all",))

    def test_the_latest_halt_of_a_scope_stands(self) -> None:
        self.adjust(HALT, "all", key="1", why="fire")
        self.adjust(HALT, "all", key="2", why="flood")
        assert [halted("all", "flood")] == list(self.store.halts())

    def test_halts_in_force_are_listed_by_scope(self) -> None:
        for scope in ("tenant=b", "all", "tenant=a"):
            self.adjust(HALT, scope)
        self.adjust(RESUME, "tenant=b")
        assert [halted("all"), halted("tenant=a")] == list(self.store.halts())

    def test_nothing_is_halted_in_a_new_store(self) -> None:
        assert None is self.store.halted(("all", "tenant=t"))
        assert [] == list(self.store.halts())
        self.adjust(RESUME, "all")
        assert None is self.store.halted(("all",))

    # --- grants

    def test_a_grant_raises_the_limit_of_its_ledger_once(self) -> None:
        self.reserve("l1", hold(amount=100))
        for _ in range(2):
            self.adjust(GRANT, "run/a", 50)
        assert isinstance(self.reserve("l2", hold(amount=51)), Shortfall)
        assert isinstance(self.reserve("l3", hold(amount=50)), Lease)
        assert Shortfall(hold=hold(amount=1), spent=0, reserved=150, granted=50) == self.reserve("l4", hold(amount=1))
        assert [50] == [balance.granted for balance in self.store.balances()]

    def test_grants_add_up_and_may_be_taken_back(self) -> None:
        self.reserve("l1", hold(amount=100))
        self.adjust(GRANT, "run/a", 50)
        self.adjust(GRANT, "run/a", -70)
        assert [-20] == [balance.granted for balance in self.store.balances()]
        assert [20] == [balance.debt for balance in self.store.balances()]
        self.settle("l1", 80)
        assert isinstance(self.reserve("l2", hold(amount=1)), Shortfall)
        assert isinstance(self.reserve("l3", hold(amount=0)), Lease)

    def test_a_grant_counts_in_what_is_said_of_a_lease(self) -> None:
        self.reserve("l1", hold(amount=100))
        self.adjust(GRANT, "run/a", 100)
        lease = self.reserve("l2", hold(amount=1))
        assert isinstance(lease, Lease)
        assert 500 == lease.used_permille

    def test_a_grant_on_one_slice_raises_the_window_it_is_in(self) -> None:
        second = replace(hold("roll/1", 100), earlier=("roll/0",))
        self.reserve("l0", hold("roll/0", 60))
        self.adjust(GRANT, "roll/0", 60)
        assert isinstance(self.reserve("l1", second), Lease)
        assert isinstance(self.reserve("l2", replace(second, amount=1)), Shortfall)

    # --- resets

    def test_a_reset_forgives_what_was_spent_and_keeps_what_is_reserved(self) -> None:
        self.reserve("l1", hold(amount=60))
        self.settle("l1", 60)
        self.reserve("l2", hold(amount=40))
        self.adjust(RESET, "run/a", 60)
        assert {"run/a": (0, 40)} == self.balances()
        self.settle("l2", 30)
        assert {"run/a": (30, 0)} == self.balances()

    def test_a_repeated_reset_forgives_nothing_more(self) -> None:
        self.reserve("l1", hold(amount=60))
        self.settle("l1", 60)
        self.adjust(RESET, "run/a", key="1")
        self.reserve("l2", hold(amount=40))
        self.settle("l2", 40)
        self.adjust(RESET, "run/a", key="1")
        assert {"run/a": (40, 0)} == self.balances()

    def test_a_reset_leaves_grants_and_other_ledgers_alone(self) -> None:
        self.reserve("l1", hold("org/o", 60), hold("run/a", 60))
        self.settle("l1", 60, 60)
        self.adjust(GRANT, "run/a", 5)
        self.adjust(RESET, "run/a")
        assert {"org/o": (60, 0)} == self.balances()
        assert [0, 5] == [balance.granted for balance in self.store.balances()]

    def test_a_call_in_doubt_that_settles_after_a_reset_takes_nothing_off_the_new_count(self) -> None:
        self.reserve("l1", hold("org/o", 60), hold("run/a", 60))
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"org/o": (60, 0), "run/a": (60, 0)} == self.balances()
        self.adjust(RESET, "run/a", 60)
        self.settle("l1", 20, 20)
        assert {"org/o": (20, 0), "run/a": (20, 0)} == self.balances()
        assert isinstance(self.reserve("l2", hold(amount=81)), Shortfall)

    def test_a_ledger_that_is_reset_counts_as_opened_then(self) -> None:
        self.reserve("l1", hold())
        self.elapse(self.ttl_ms // 2)
        change = Adjustment(id="1", kind=RESET, subject="run/a", amount=0, who="ann", why="why not", at_ms=self.now_ms)
        (before,) = self.store.balances("run/a")
        self.store.adjust(change)
        (after,) = self.store.balances("run/a")
        assert self.ttl_ms // 2 <= after.opened_ms - before.opened_ms

    def test_a_reset_empties_a_rate(self) -> None:
        self.reserve("l1", rate(100))
        self.adjust(RESET, "rate/m")
        assert isinstance(self.reserve("l2", rate(100)), Lease)

    # --- the trail

    def test_a_change_of_an_unknown_ledger_is_an_error_and_leaves_no_trail(self) -> None:
        for kind in (GRANT, RESET):
            try:
                self.adjust(kind, "run/never")
            except StoreError:
                continue
            message = f"a {kind} of a ledger that is not there was taken"
            raise AssertionError(message)
        assert [] == list(self.store.audit())
        assert [] == list(self.store.balances())

    def test_changes_are_remembered_newest_first_and_each_once(self) -> None:
        self.reserve("l", hold())
        made = [self.adjust(GRANT, "run/a", 5), self.adjust(HALT, "all"), self.adjust(RESUME, "all")]
        self.adjust(GRANT, "run/a", 5)
        assert made[::-1] == list(self.store.audit())
        assert made[:0:-1] == list(self.store.audit(2))
        assert made[2:] == list(self.store.audit(1))

    def test_the_trail_keeps_what_was_first_said_under_an_id(self) -> None:
        first = self.adjust(HALT, "all", key="1", why="fire")
        self.adjust(HALT, "tenant=t", key="1", why="flood")
        assert [first] == list(self.store.audit())
        assert None is self.store.halted(("tenant=t",))

    def test_a_ledger_says_when_it_was_opened_and_touched(self) -> None:
        self.reserve("l1", hold())
        (first,) = self.store.balances()
        self.elapse(self.ttl_ms // 2)
        self.reserve("l2", hold())
        (second,) = self.store.balances()
        assert first.opened_ms == second.opened_ms == first.touched_ms
        assert self.ttl_ms // 2 <= second.touched_ms - second.opened_ms

    # --- the async twins

    async def operating_async(self) -> tuple[object, ...]:
        """What an operator does, in the async twins."""
        store = self.store
        change = self.adjust(HALT, "tenant=t")
        await store.aadjust(replace(change, id="all", subject="all"))
        found = await store.ahalted(("tenant=t",)), list(await store.ahalts())
        return (*found, [each.id for each in await store.aaudit()], len(await store.aaudit(1)))
