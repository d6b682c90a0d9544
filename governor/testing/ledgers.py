"""What every store must do with reservations."""

# ruff: noqa: S101, D102, SIM300 - these are tests: they assert, expected first, and their names are their sentences

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from governor.ledger import Lease, LeaseState, Shortfall, Unit
from governor.testing.base import StoreTests, hold

if TYPE_CHECKING:
    from governor.ledger import Refusal

__all__ = ["LedgerConformance"]


class LedgerConformance(StoreTests):
    """Holds and ends of leases. `StoreConformance` has it all."""

    # --- reserve

    def test_a_reservation_holds_its_amount_on_every_ledger(self) -> None:
        holds = (hold("tenant/t", 30), hold("run/a", 30, limit=40))
        assert Lease(id="l", holds=holds) == self.reserve("l", *holds)
        assert {"tenant/t": (0, 30), "run/a": (0, 30)} == self.balances()

    def test_a_ledger_is_filled_to_its_limit_and_not_beyond(self) -> None:
        assert isinstance(self.reserve("l1", hold(amount=60)), Lease)
        assert isinstance(self.reserve("l2", hold(amount=40)), Lease)
        assert Shortfall(hold=hold(amount=1), spent=0, reserved=100) == self.reserve("l3", hold(amount=1))

    def test_a_refusal_names_the_first_hold_that_does_not_fit_and_holds_nothing(self) -> None:
        self.reserve("l1", hold("tenant/t", 50))
        self.settle("l1", 45)
        short = self.reserve("l2", hold("org/o", 60), hold("tenant/t", 60), hold("run/a", 600))
        assert Shortfall(hold=hold("tenant/t", 60), spent=45, reserved=0) == short
        assert {"tenant/t": (45, 0)} == self.balances()

    def test_two_holds_on_one_ledger_count_together(self) -> None:
        assert Shortfall(hold=hold(amount=60), spent=0, reserved=60) == self.reserve(
            "l", hold(amount=60), hold(amount=60)
        )
        self.reserve("l2", hold(amount=50), hold(amount=50))
        assert {"run/a": (0, 100)} == self.balances()

    def test_a_hold_without_a_limit_is_recorded_and_never_refused(self) -> None:
        self.reserve("l1", hold(amount=70))
        assert isinstance(self.reserve("l2", hold(amount=70, limit=None)), Lease)
        assert {"run/a": (0, 140)} == self.balances()

    def test_a_soft_limit_is_reported_by_the_reservation_that_passes_it_and_by_no_other(self) -> None:
        soft = replace(hold(amount=60, limit=None), alert=100)

        told = [self.reserve(lease, soft) for lease in ("a", "b", "c")]

        assert [(), (60,), ()] == [
            tuple(each.reserved for each in lease.passed) for lease in told if isinstance(lease, Lease)
        ]

    def test_a_full_ledger_admits_a_hold_of_nothing_but_one_in_debt_does_not(self) -> None:
        self.reserve("l1", hold(amount=100))
        assert isinstance(self.reserve("l2", hold(amount=0)), Lease)
        self.settle("l1", 101)
        assert isinstance(self.reserve("l3", hold(amount=0)), Shortfall)

    def test_the_limit_of_the_request_counts_not_the_one_before(self) -> None:
        self.reserve("l1", hold(amount=90, limit=100))
        assert isinstance(self.reserve("l2", hold(amount=20, limit=110)), Lease)
        assert isinstance(self.reserve("l3", hold(amount=1, limit=100)), Shortfall)
        assert [110] == [balance.limit for balance in self.store.balances()]

    def test_amounts_are_exact_up_to_nine_million_dollars(self) -> None:
        limit = 9_000_000_000_000_000
        self.reserve("l1", hold(amount=limit - 1, limit=limit))
        self.settle("l1", limit - 1)
        assert isinstance(self.reserve("l2", hold(amount=2, limit=limit)), Shortfall)
        assert isinstance(self.reserve("l3", hold(amount=1, limit=limit)), Lease)
        assert {"run/a": (limit - 1, 1)} == self.balances()

    # --- once and only once

    def test_the_same_id_gets_the_same_lease_and_holds_once(self) -> None:
        first = self.reserve("l", hold(amount=30))
        assert first == self.reserve("l", hold(amount=30))
        assert {"run/a": (0, 30)} == self.balances()

    def test_a_repeated_id_is_answered_before_the_limit_is_looked_at(self) -> None:
        first = self.reserve("l1", hold(amount=100))
        assert isinstance(self.reserve("l2", hold(amount=1)), Shortfall)
        assert first == self.reserve("l1", hold(amount=100))

    def test_a_refused_id_may_be_tried_again(self) -> None:
        self.reserve("l1", hold(amount=100))
        assert isinstance(self.reserve("l2", hold(amount=1)), Shortfall)
        self.release("l1")
        assert isinstance(self.reserve("l2", hold(amount=1)), Lease)

    def test_a_repeated_id_says_where_the_lease_stands_now(self) -> None:
        self.reserve("l", hold(amount=30))
        self.settle("l", 10)
        assert Lease(id="l", holds=(hold(amount=30),), state=LeaseState.SETTLED) == self.reserve("l", hold(amount=30))
        assert {"run/a": (10, 0)} == self.balances()

    # --- settle and release

    def test_a_settlement_replaces_what_was_held_by_what_was_used(self) -> None:
        self.reserve("l", hold("tenant/t", 30), hold("run/a", 40))
        self.settle("l", 12, 7)
        assert {"tenant/t": (12, 0), "run/a": (7, 0)} == self.balances()

    def test_a_second_settlement_changes_nothing(self) -> None:
        self.reserve("l", hold(amount=30))
        self.settle("l", 12)
        self.settle("l", 30)
        assert {"run/a": (12, 0)} == self.balances()

    def test_more_than_was_held_is_charged_in_full_and_owed(self) -> None:
        self.reserve("l1", hold(amount=90))
        self.settle("l1", 130)
        assert {"run/a": (130, 0)} == self.balances()
        short = self.reserve("l2", hold(amount=1))
        assert isinstance(short, Shortfall)
        assert 0 == short.remaining

    def test_a_charge_below_nothing_is_an_error_and_changes_nothing(self) -> None:
        self.reserve("l", hold(amount=30))
        for amount in (-1, 2**63):
            try:
                self.settle("l", amount)
            except ValueError:
                continue
            raise AssertionError(amount)
        assert {"run/a": (0, 30)} == self.balances()
        self.settle("l", 12)
        assert {"run/a": (12, 0)} == self.balances()

    def test_a_settlement_that_does_not_match_its_holds_is_an_error_and_charges_nothing(self) -> None:
        self.reserve("l", hold(amount=30))
        try:
            self.settle("l", 1, 2)
        except ValueError:
            pass
        else:
            message = "a charge of two amounts for one hold was accepted"
            raise AssertionError(message)
        assert {"run/a": (0, 30)} == self.balances()

    def test_a_released_lease_leaves_nothing_behind(self) -> None:
        self.reserve("l", hold(amount=30))
        self.release("l")
        self.release("l")
        assert {} == self.balances()

    def test_the_first_end_of_a_lease_is_its_end(self) -> None:
        self.reserve("settled", hold(amount=30))
        self.settle("settled", 12)
        self.release("settled")
        self.reserve("released", hold(amount=30))
        self.release("released")
        self.settle("released", 30)
        assert {"run/a": (12, 0)} == self.balances()

    def test_a_lease_that_nobody_knows_changes_nothing(self) -> None:
        self.settle("never", 30)
        self.release("never")
        assert {} == self.balances()

    # --- expiry

    def test_a_lease_past_its_ttl_is_charged_in_full(self) -> None:
        self.reserve("lost", hold("tenant/t", 30), hold("run/a", 40))
        self.elapse(self.ttl_ms)
        self.reserve("l", hold("other/o", 1))
        assert {"tenant/t": (30, 0), "run/a": (40, 0), "other/o": (0, 1)} == self.balances()

    def test_a_late_settlement_corrects_the_charge_once(self) -> None:
        for lease, amount in (("cheap", 12), ("dear", 45)):
            self.reserve(lease, hold(f"run/{lease}", 30))
            self.elapse(self.ttl_ms)
            self.reserve(f"{lease}-next", hold("other/o", 0))
            self.settle(lease, amount)
            self.settle(lease, amount)
        assert {"run/cheap": (12, 0), "run/dear": (45, 0)} == self.balances()

    def test_a_forfeit_lease_is_not_given_back(self) -> None:
        self.reserve("lost", hold(amount=30))
        self.elapse(self.ttl_ms)
        self.reserve("l", hold("other/o", 0))
        self.release("lost")
        assert {"run/a": (30, 0)} == self.balances()

    def test_an_expired_lease_frees_no_room(self) -> None:
        self.reserve("lost", hold(amount=100))
        self.elapse(self.ttl_ms)
        assert isinstance(self.reserve("l", hold(amount=1)), Shortfall)

    def test_any_number_of_lost_leases_is_charged_in_the_end(self) -> None:
        for number in range(150):
            self.reserve(f"lost-{number}", hold(amount=1, limit=1_000))
        self.elapse(self.ttl_ms)
        for number in range(5):
            self.reserve(f"l-{number}", hold("other/o", 0))
            spent, reserved = self.balances()["run/a"]
            assert 150 == spent + reserved
        assert {"run/a": (150, 0)} == self.balances()

    # --- reading

    def test_balances_are_those_that_begin_with_the_prefix_in_order(self) -> None:
        for key in ("run/b", "run/a", "r_n/a", "tenant/t"):
            self.reserve(key, hold(key, 1))
        assert ["run/a", "run/b"] == [balance.ledger for balance in self.store.balances("run/")]
        assert ["r_n/a"] == [balance.ledger for balance in self.store.balances("r_")]
        assert ["r_n/a", "run/a", "run/b", "tenant/t"] == [balance.ledger for balance in self.store.balances()]

    def test_a_balance_carries_unit_budget_and_scope(self) -> None:
        self.reserve(
            "l", replace(hold("td/tenant=t é/1d@3/tokens", 1), unit=Unit.TOKENS, budget="td", scope="tenant=t é")
        )
        (balance,) = self.store.balances()
        assert (Unit.TOKENS, "td", "tenant=t é", 100) == (balance.unit, balance.budget, balance.scope, balance.limit)

    # --- many at once

    def test_of_fifty_threads_exactly_the_ten_that_fit_are_admitted(self) -> None:
        def one(number: int) -> Lease | Refusal:
            return self.reserve(f"l{number}", hold(amount=10, limit=100))

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(one, range(50)))
        assert 10 == sum(isinstance(answer, Lease) for answer in answers)
        assert {"run/a": (0, 100)} == self.balances()
