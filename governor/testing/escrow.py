"""What every store must do with escrow: an amount that waits, from which other leases take and to which they give back."""

# ruff: noqa: S101, D102, SIM300 - these are tests: they assert, expected first, and their names are their sentences

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.ledger import Lease, LeaseState, Shortfall
from governor.testing.base import StoreTests, hold

if TYPE_CHECKING:
    from governor.ledger import Hold, Refusal

__all__ = ["EscrowConformance"]


class EscrowConformance(StoreTests):
    """Escrow. `StoreConformance` has it all."""

    def take(self, lease: str, escrow: str, *holds: Hold, waits: bool = False) -> Lease | Refusal:
        """Reserve from an escrow now."""
        return self.store.reserve(replace(self.request(lease, *holds), escrow=escrow, dispatched=not waits))

    def granted(self, answer: Lease | Refusal) -> bool:
        """Whether there is a lease."""
        return isinstance(answer, Lease)

    def test_what_is_taken_from_an_escrow_moves_and_is_not_counted_twice(self) -> None:
        self.wait("e", hold(amount=60))
        assert self.granted(self.take("l", "e", hold(amount=25)))
        assert {"run/a": (0, 60)} == self.balances()
        self.settle("l", 25)
        assert {"run/a": (25, 35)} == self.balances()
        self.release("e")
        assert {"run/a": (25, 0)} == self.balances()

    def test_an_escrow_is_there_for_its_own_when_nobody_else_gets_anything(self) -> None:
        self.wait("e", hold(amount=60))
        assert self.granted(self.reserve("other", hold(amount=40)))
        assert isinstance(self.reserve("late", hold(amount=1)), Shortfall)
        assert self.granted(self.take("l", "e", hold(amount=60)))
        assert {"run/a": (0, 100)} == self.balances()

    def test_what_a_lease_did_not_use_goes_back_to_its_escrow(self) -> None:
        self.wait("e", hold(amount=60))
        self.reserve("other", hold(amount=40))
        self.take("l", "e", hold(amount=60))
        self.settle("l", 10)
        self.take("m", "e", hold(amount=20))
        self.release("m")
        assert isinstance(self.reserve("late", hold(amount=1)), Shortfall)
        assert self.granted(self.take("n", "e", hold(amount=50)))
        assert {"run/a": (10, 90)} == self.balances()

    def test_an_escrow_pays_for_what_was_charged_beyond_a_hold(self) -> None:
        self.wait("e", hold(amount=60))
        self.take("l", "e", hold(amount=10))
        self.settle("l", 25)
        assert {"run/a": (25, 35)} == self.balances()
        self.take("m", "e", hold(amount=35))
        self.settle("m", 50)
        assert {"run/a": (75, 0)} == self.balances()

    def test_beyond_its_escrow_a_lease_takes_from_the_ledger_what_is_free(self) -> None:
        self.wait("e", hold(amount=60))
        assert self.granted(self.take("l", "e", hold(amount=80)))
        assert {"run/a": (0, 80)} == self.balances()
        self.settle("l", 15)
        assert {"run/a": (15, 60)} == self.balances()

    def test_a_refusal_counts_what_the_escrow_has_left_as_free(self) -> None:
        self.wait("e", hold(amount=60))
        self.reserve("other", hold(amount=30))
        short = self.take("l", "e", hold(amount=71))
        assert isinstance(short, Shortfall)
        assert (0, 30, 70) == (short.spent, short.reserved, short.remaining)
        assert {"run/a": (0, 90)} == self.balances()

    def test_a_limit_of_the_escrow_itself_is_passed_by_none_of_its_own(self) -> None:
        mine = hold("branch/b", 60, 60)
        self.wait("e", hold(amount=60), mine)
        self.take("l", "e", hold(amount=50), replace(mine, amount=50))
        assert isinstance(self.take("m", "e", hold(amount=11), replace(mine, amount=11)), Shortfall)
        self.settle("l", 20, 20)
        assert self.granted(self.take("m", "e", hold(amount=40), replace(mine, amount=40)))
        assert {"run/a": (20, 40), "branch/b": (20, 40)} == self.balances()

    def test_what_is_left_of_an_escrow_that_nobody_closed_is_free_again_after_its_time(self) -> None:
        self.wait("e", hold(amount=60))
        self.take("l", "e", hold(amount=25))
        self.settle("l", 25)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"run/a": (25, 0)} == self.balances()
        assert self.granted(self.take("m", "e", hold(amount=75)))
        assert {"run/a": (25, 75)} == self.balances()

    def test_an_escrow_is_kept_for_as_long_as_what_was_taken_last(self) -> None:
        self.wait("e", hold(amount=60))
        self.store.reserve(replace(self.request("l", hold(amount=25)), escrow="e", ttl_ms=100_000))
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"run/a": (0, 60)} == self.balances()

    def test_a_lease_that_ends_after_its_escrow_gives_back_to_the_ledger(self) -> None:
        self.wait("e", hold(amount=60))
        self.take("l", "e", hold(amount=25))
        self.release("e")
        assert {"run/a": (0, 25)} == self.balances()
        self.settle("l", 5)
        assert {"run/a": (5, 0)} == self.balances()

    def test_a_lease_that_never_reports_is_charged_and_gives_nothing_back_until_it_does(self) -> None:
        self.wait("e", hold(amount=60))
        self.take("l", "e", hold(amount=25))
        self.store.extend("e", 100_000, self.now_ms)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"run/a": (25, 35)} == self.balances()
        self.settle("l", 5)
        assert {"run/a": (5, 55)} == self.balances()

    def test_an_escrow_within_an_escrow_gives_back_to_the_outer_one(self) -> None:
        self.wait("outer", hold(amount=60))
        self.take("inner", "outer", hold(amount=40), waits=True)
        self.take("l", "inner", hold(amount=30))
        assert {"run/a": (0, 60)} == self.balances()
        self.settle("l", 10)
        self.release("inner")
        assert {"run/a": (10, 50)} == self.balances()
        assert self.granted(self.take("m", "outer", hold(amount=50)))
        self.settle("m", 50)
        self.release("outer")
        assert {"run/a": (60, 0)} == self.balances()

    def test_escrows_within_each_other_that_expire_together_leave_nothing_held(self) -> None:
        self.wait("outer", hold(amount=60))
        self.take("inner", "outer", hold(amount=40), waits=True)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {} == self.balances()

    def test_an_escrow_asked_for_again_is_the_same_and_holds_nothing_more(self) -> None:
        self.wait("e", hold(amount=60))
        self.take("l", "e", hold(amount=25))
        again = self.wait("e", hold(amount=60))
        assert isinstance(again, Lease)
        assert LeaseState.RESERVED == again.state
        assert {"run/a": (0, 60)} == self.balances()

    def test_a_lease_asked_for_again_takes_from_its_escrow_once(self) -> None:
        self.wait("e", hold(amount=60))
        for _ in range(2):
            self.take("l", "e", hold(amount=25))
        for _ in range(2):
            self.settle("l", 5)
        assert {"run/a": (5, 55)} == self.balances()

    def test_operators_see_what_an_escrow_has_left(self) -> None:
        self.wait("e", hold(amount=60))
        self.take("l", "e", hold(amount=25))
        held = {lease.id: lease.holds[0].amount for lease in self.store.leases()}
        assert {"e": 35, "l": 25} == held

    def test_how_far_a_budget_is_used_does_not_count_what_others_only_keep(self) -> None:
        self.wait("e", hold(amount=60))
        self.wait("f", hold(amount=40))
        self.take("l", "e", hold(amount=10))
        self.settle("l", 10)
        lease = self.take("m", "e", hold(amount=10))
        assert isinstance(lease, Lease)
        assert (100, "run") == (lease.used_permille, lease.tightest)
