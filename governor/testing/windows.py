"""What every store must do with rolling windows and rates."""

# ruff: noqa: S101, D102, SIM300 - these are tests: they assert, expected first, and their names are their sentences

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from governor.ledger import Lease, Shortfall, Unit
from governor.testing.base import StoreTests, hold, rate

if TYPE_CHECKING:
    from governor.ledger import Hold

__all__ = ["WindowConformance"]

SLICES = 3
"""Slices of the rolling window of these tests."""


def rolling(number: int, amount: int = 10, limit: int | None = 100) -> Hold:
    """A hold in slice `number` of a rolling window of three."""
    earlier = tuple(f"roll/{before}" for before in range(max(0, number - SLICES + 1), number))
    return replace(hold(f"roll/{number}", amount, limit), earlier=earlier)


class WindowConformance(StoreTests):
    """Rolling windows and rates. `StoreConformance` has it all."""

    # --- rolling windows

    def test_earlier_slices_count_against_the_limit(self) -> None:
        self.reserve("l0", rolling(0, 60))
        self.settle("l0", 60)
        self.reserve("l1", rolling(1, 30))
        assert Shortfall(hold=rolling(2, 11), spent=60, reserved=30) == self.reserve("l2", rolling(2, 11))
        assert isinstance(self.reserve("l2", rolling(2, 10)), Lease)
        assert {"roll/0": (60, 0), "roll/1": (0, 30), "roll/2": (0, 10)} == self.balances()

    def test_a_slice_that_left_the_window_counts_no_more(self) -> None:
        self.reserve("l0", rolling(0, 60))
        self.reserve("l1", rolling(1, 40))
        assert isinstance(self.reserve("l3", rolling(3, 61)), Shortfall)
        assert isinstance(self.reserve("l3", rolling(3, 60)), Lease)

    def test_a_lease_settles_into_the_slice_it_was_reserved_in(self) -> None:
        self.reserve("l0", rolling(0, 60))
        self.reserve("l1", rolling(1, 40))
        self.settle("l0", 10)
        assert {"roll/0": (10, 0), "roll/1": (0, 40)} == self.balances()
        assert isinstance(self.reserve("l2", rolling(2, 50)), Lease)
        assert isinstance(self.reserve("l2b", rolling(2, 1)), Shortfall)

    def test_two_holds_on_one_slice_count_together_with_the_earlier(self) -> None:
        self.reserve("l0", rolling(0, 60))
        assert Shortfall(hold=rolling(1, 25), spent=0, reserved=85) == self.reserve(
            "l1", rolling(1, 25), rolling(1, 25)
        )
        assert {"roll/0": (0, 60)} == self.balances()

    def test_no_window_ever_holds_more_than_the_limit(self) -> None:
        dice, now, open_leases = Random(7), 0, list[str]()  # noqa: S311 - the same steps each time
        for step in range(80):
            now += dice.random() < 0.3
            if isinstance(self.reserve(f"l{step}", rolling(now, dice.randint(1, 40))), Lease):
                open_leases.append(f"l{step}")
            if open_leases and dice.random() < 0.4:
                self.settle(open_leases.pop(dice.randrange(len(open_leases))), dice.randint(0, 1))
            weights = {key: spent + reserved for key, (spent, reserved) in self.balances().items()}
            for first in range(now + 1):
                assert 100 >= sum(weights.get(f"roll/{first + at}", 0) for at in range(SLICES))

    def test_how_far_a_rolling_window_is_used_includes_its_earlier_slices(self) -> None:
        self.reserve("l0", rolling(0, 60))
        lease = self.reserve("l1", rolling(1, 10))
        assert isinstance(lease, Lease)
        assert (600, "roll") == (lease.used_permille, lease.tightest)

    # --- rates

    def test_a_rate_that_is_full_says_when_to_come_again(self) -> None:
        assert isinstance(self.reserve("l1", rate(100)), Lease)
        short = self.reserve("l2", rate(10))
        assert isinstance(short, Shortfall)
        assert short.retry_ms is not None
        assert 350_000 <= short.retry_ms <= 360_000  # ten of a hundred each hour
        assert (rate(10), 0, 0) == (short.hold, short.spent, short.remaining)

    def test_what_is_larger_than_the_rate_itself_never_fits(self) -> None:
        short = self.reserve("l", rate(101))
        assert isinstance(short, Shortfall)
        assert None is short.retry_ms

    def test_two_holds_on_one_rate_count_together(self) -> None:
        assert isinstance(self.reserve("l", rate(60), rate(60)), Shortfall)
        assert isinstance(self.reserve("l", rate(50), rate(50)), Lease)
        assert isinstance(self.reserve("l2", rate(1)), Shortfall)

    def test_a_refused_rate_holds_nothing_on_budgets_nor_a_refused_budget_on_rates(self) -> None:
        self.reserve("full", rate(100))
        assert isinstance(self.reserve("l1", hold(amount=10), rate(10)), Shortfall)
        assert isinstance(self.reserve("l2", rate(100, ledger="rate/n"), hold(amount=101)), Shortfall)
        assert isinstance(self.reserve("l3", rate(100, ledger="rate/n")), Lease)
        assert "run/a" not in self.balances()

    def test_what_a_call_did_not_use_of_a_rate_is_given_back_and_once(self) -> None:
        self.reserve("l1", rate(90))
        self.settle("l1", 10)
        self.settle("l1", 10)
        assert isinstance(self.reserve("l2", rate(90)), Lease)
        assert isinstance(self.reserve("l3", rate(1)), Shortfall)

    def test_a_released_call_gives_its_part_of_a_rate_back(self) -> None:
        self.reserve("l1", rate(100))
        self.release("l1")
        self.release("l1")
        assert isinstance(self.reserve("l2", rate(100)), Lease)
        assert isinstance(self.reserve("l3", rate(1)), Shortfall)

    def test_a_call_that_waited_too_long_gives_its_part_of_a_rate_back(self) -> None:
        self.wait("l1", rate(100))
        self.elapse(self.ttl_ms)
        assert isinstance(self.reserve("l2", rate(100)), Lease)

    def test_each_of_two_holds_on_one_rate_is_given_back(self) -> None:
        self.reserve("l1", rate(50), rate(50))
        self.settle("l1", 0, 50)
        assert isinstance(self.reserve("l2", rate(50)), Lease)
        assert isinstance(self.reserve("l3", rate(1)), Shortfall)

    def test_more_than_was_held_of_a_rate_is_owed(self) -> None:
        self.reserve("l1", rate(90))
        self.settle("l1", 150)
        short = self.reserve("l2", rate(10))
        assert isinstance(short, Shortfall)
        assert short.retry_ms is not None
        assert 60 * 36_000 - 10_000 <= short.retry_ms <= 60 * 36_000

    def test_what_a_lost_call_held_of_a_rate_stays_and_drains_like_the_rest(self) -> None:
        self.reserve("lost", rate(90))
        self.elapse(self.ttl_ms)
        self.sweep()
        assert isinstance(self.reserve("l1", rate(20)), Shortfall)
        self.settle("lost", 0)
        assert isinstance(self.reserve("l2", rate(20)), Shortfall)
        assert isinstance(self.reserve("l3", rate(10)), Lease)

    def test_giving_back_what_has_drained_creates_no_capacity(self) -> None:
        period = self.ttl_ms * 8
        old = rate(900, 1_000, per_ms=period)
        self.store.reserve(replace(self.request("old", old), ttl_ms=period * 10))
        self.elapse(period)
        assert isinstance(self.reserve("full", rate(1_000, 1_000, per_ms=period)), Lease)
        self.settle("old", 0)
        assert isinstance(self.reserve("more", old), Shortfall)

    def test_a_rate_drains(self) -> None:
        period = self.ttl_ms * 8
        self.reserve("l1", rate(100, per_ms=period))
        self.elapse(period)
        assert isinstance(self.reserve("l2", rate(100, per_ms=period)), Lease)

    def test_a_rate_shows_in_the_balances_as_what_its_bucket_held(self) -> None:
        self.reserve("l1", rate(40))
        (balance,) = self.store.balances()
        assert (0, 40, 100, 3_600_000, Unit.TOKENS) == (
            balance.spent,
            balance.reserved,
            balance.limit,
            balance.per_ms,
            balance.unit,
        )
