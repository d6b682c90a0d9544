"""What every store must do with leases beside their money: calls that wait, heartbeats, keys of payloads, lists for operators."""

# ruff: noqa: S101, D102, SIM300 - these are tests: they assert, expected first, and their names are their sentences

from __future__ import annotations

from dataclasses import replace

from governor.errors import LeaseConflict
from governor.ledger import Charge, Lease, LeaseState, Shortfall
from governor.testing.base import StoreTests, hold

__all__ = ["LeaseConformance"]


class LeaseConformance(StoreTests):
    """States of leases. `StoreConformance` has it all."""

    # --- calls that wait

    def test_a_call_that_waits_holds_its_amount(self) -> None:
        assert Lease(id="l", holds=(hold(amount=30),), state=LeaseState.RESERVED) == self.wait("l", hold(amount=30))
        assert {"run/a": (0, 30)} == self.balances()
        assert isinstance(self.reserve("l2", hold(amount=71)), Shortfall)

    def test_a_call_that_waited_is_dispatched_and_settled_like_another(self) -> None:
        self.wait("l", hold(amount=30))
        assert [True, True] == [self.store.dispatch("l", self.now_ms) for _ in range(2)]
        assert Lease(id="l", holds=(hold(amount=30),), state=LeaseState.DISPATCHED) == self.wait("l", hold(amount=30))
        self.settle("l", 12)
        assert {"run/a": (12, 0)} == self.balances()

    def test_a_call_that_waited_too_long_is_given_back_and_never_charged(self) -> None:
        self.wait("l", hold(amount=30))
        self.elapse(self.ttl_ms)
        self.sweep()
        self.settle("l", 30)
        assert {} == self.balances()

    def test_a_call_that_waited_too_long_may_not_begin(self) -> None:
        self.wait("l", hold(amount=30))
        self.elapse(self.ttl_ms)
        assert not self.store.dispatch("l", self.now_ms)
        assert {} == self.balances()

    def test_a_call_that_waited_too_long_may_be_reserved_again(self) -> None:
        self.wait("l", hold(amount=30))
        self.elapse(self.ttl_ms)
        self.store.dispatch("l", self.now_ms)
        assert Lease(id="l", holds=(hold(amount=30),), state=LeaseState.RESERVED) == self.wait("l", hold(amount=30))
        assert {"run/a": (0, 30)} == self.balances()
        assert self.store.dispatch("l", self.now_ms)

    def test_what_waited_too_long_makes_room_at_once(self) -> None:
        for number in range(100):
            self.wait(f"l{number}", hold(amount=1))
        self.elapse(self.ttl_ms)
        assert isinstance(self.reserve("l", hold(amount=100)), Lease)

    def test_what_waited_too_long_makes_room_though_older_leases_live_longer(self) -> None:
        self.store.reserve(replace(self.request("long", hold("other/o", 5)), ttl_ms=self.ttl_ms * 100))
        self.wait("short", hold(amount=100))
        self.elapse(self.ttl_ms)
        assert isinstance(self.reserve("l", hold(amount=100)), Lease)

    def test_a_repeated_call_that_waited_too_long_is_reserved_anew_though_older_leases_live_longer(self) -> None:
        self.store.reserve(replace(self.request("long", hold("other/o", 5)), ttl_ms=self.ttl_ms * 100))
        self.wait("l", hold(amount=30))
        self.elapse(self.ttl_ms)
        assert isinstance(self.wait("l", hold(amount=30)), Lease)
        assert self.store.dispatch("l", self.now_ms)
        assert {"other/o": (0, 5), "run/a": (0, 30)} == self.balances()

    def test_a_call_that_holds_nothing_may_outlive_its_ledger(self) -> None:
        self.reserve("l", hold(amount=0, expires_ms=self.now_ms + 1))
        for _ in range(2):
            self.elapse(self.ttl_ms // 2)
            self.sweep()
        assert [LeaseState.FORFEIT] == [lease.state for lease in self.store.leases() if lease.id == "l"]
        self.settle("l", 0)
        assert {} == self.balances()

    def test_any_of_many_calls_that_waited_too_long_may_be_reserved_again(self) -> None:
        for number in range(100):
            self.wait(f"l{number}", hold(amount=1))
        self.elapse(self.ttl_ms)
        assert isinstance(self.wait("l99", hold(amount=1)), Lease)
        assert self.store.dispatch("l99", self.now_ms)

    def test_a_lease_that_is_over_is_not_dispatched(self) -> None:
        self.wait("released", hold(amount=30))
        self.release("released")
        self.wait("settled", hold(amount=30))
        self.settle("settled", 3)
        assert [False] * 3 == [self.store.dispatch(lease, self.now_ms) for lease in ("released", "settled", "never")]
        assert {"run/a": (3, 0)} == self.balances()

    def test_a_call_that_began_after_waiting_and_was_lost_is_charged_in_full(self) -> None:
        self.wait("l", hold(amount=30))
        self.store.dispatch("l", self.now_ms)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"run/a": (30, 0)} == self.balances()

    # --- heartbeats

    def test_a_heartbeat_keeps_a_long_call_alive(self) -> None:
        self.reserve("l", hold(amount=30))
        self.elapse(self.ttl_ms // 2)
        assert self.store.extend("l", self.ttl_ms * 4, self.now_ms)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"run/a": (0, 30)} == self.balances()
        self.elapse(self.ttl_ms * 4)
        self.sweep()
        assert {"run/a": (30, 0)} == self.balances()

    def test_a_heartbeat_keeps_a_waiting_call_alive(self) -> None:
        self.wait("l", hold(amount=30))
        assert self.store.extend("l", self.ttl_ms * 4, self.now_ms)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert self.store.dispatch("l", self.now_ms)

    def test_a_heartbeat_never_shortens_a_lease(self) -> None:
        self.store.reserve(replace(self.request("l", hold(amount=30)), ttl_ms=self.ttl_ms * 4))
        assert self.store.extend("l", 1, self.now_ms)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"run/a": (0, 30)} == self.balances()

    def test_a_heartbeat_of_a_lease_that_is_over_is_too_late(self) -> None:
        for lease in ("settled", "released", "lost"):
            self.reserve(lease, hold(amount=10))
        self.settle("settled", 3)
        self.release("released")
        assert [False] * 3 == [
            self.store.extend(lease, self.ttl_ms, self.now_ms) for lease in ("settled", "released", "never")
        ]
        self.elapse(self.ttl_ms)
        assert not self.store.extend("lost", self.ttl_ms, self.now_ms)
        self.sweep()
        assert not self.store.extend("lost", self.ttl_ms, self.now_ms)
        assert {"run/a": (13, 0)} == self.balances()

    def test_a_lease_kept_alive_does_not_keep_others(self) -> None:
        self.reserve("long", hold("run/long", 30))
        self.reserve("lost", hold(amount=30))
        self.store.extend("long", self.ttl_ms * 4, self.now_ms)
        self.elapse(self.ttl_ms)
        self.sweep()
        assert {"run/long": (0, 30), "run/a": (30, 0)} == self.balances()

    # --- one id, one call

    def test_the_same_id_with_another_payload_is_a_conflict_and_changes_nothing(self) -> None:
        self.store.reserve(replace(self.request("l", hold(amount=30)), payload="one"))
        try:
            self.store.reserve(replace(self.request("l", hold(amount=30)), payload="other"))
        except LeaseConflict as conflict:
            named = conflict.lease
        else:
            message = "another call got the lease of the first for nothing"
            raise AssertionError(message)
        assert "l" == named
        assert {"run/a": (0, 30)} == self.balances()

    def test_the_same_id_with_the_same_payload_is_the_same_lease(self) -> None:
        request = replace(self.request("l", hold(amount=30)), payload="one")
        assert self.store.reserve(request) == self.store.reserve(request)
        assert {"run/a": (0, 30)} == self.balances()

    def test_a_conflict_is_found_after_the_lease_ended_too(self) -> None:
        self.store.reserve(replace(self.request("l", hold(amount=30)), payload="one"))
        self.settle("l", 3)
        try:
            self.store.reserve(replace(self.request("l", hold(amount=30)), payload="other"))
        except LeaseConflict:
            return
        message = "the id of an ended lease was given to another call"
        raise AssertionError(message)

    def test_a_refused_id_may_come_with_another_payload(self) -> None:
        self.store.reserve(replace(self.request("l", hold(amount=101)), payload="one"))
        assert isinstance(self.store.reserve(replace(self.request("l", hold(amount=1)), payload="other")), Lease)

    # --- what operators see

    def test_leases_that_may_still_cost_are_listed_oldest_first(self) -> None:
        self.store.reserve(replace(self.request("lost", hold(amount=1)), run="r1"))
        self.elapse(self.ttl_ms)
        self.sweep()
        for lease, run in (("open", "r1"), ("settled", "r1"), ("released", "r2"), ("other", "r2")):
            self.store.reserve(replace(self.request(lease, hold(amount=2)), run=run))
        self.store.reserve(replace(self.request("waiting", hold(amount=3)), run="r1", dispatched=False))
        self.settle("settled", 1)
        self.release("released")
        listed = [(each.id, each.state, each.run) for each in self.store.leases() if not each.id.startswith("sweep")]
        assert [
            ("lost", LeaseState.FORFEIT, "r1"),
            ("open", LeaseState.DISPATCHED, "r1"),
            ("other", LeaseState.DISPATCHED, "r2"),
            ("waiting", LeaseState.RESERVED, "r1"),
        ] == listed
        assert ["lost", "open", "waiting"] == [each.id for each in self.store.leases("r1")]
        assert [(hold(amount=3),)] == [each.holds for each in self.store.leases("r1")[2:]]
        assert [] == list(self.store.leases("r3"))

    def test_a_listed_lease_says_when_it_is_due(self) -> None:
        self.reserve("l", hold(amount=30))
        (before,) = self.store.leases()
        self.store.extend("l", self.ttl_ms * 10, self.now_ms)
        (after,) = self.store.leases()
        assert self.ttl_ms * 8 < after.due_ms - before.due_ms <= self.ttl_ms * 10

    def test_every_part_of_a_hold_is_kept(self) -> None:
        every = replace(
            hold("b/tenant=t é/7", 1, None, expires_ms=9_000_000_000_000),
            earlier=("b/5", "b/6"),
            alert=50,
            scope="é\x1f",
        )
        self.reserve("l", every, replace(every, ledger="rate", per_ms=1_000, earlier=(), limit=100, alert=None))
        (kept,) = self.store.leases()
        assert every == kept.holds[0]
        assert 1_000 == kept.holds[1].per_ms

    def test_a_lease_says_how_far_its_tightest_budget_was_used_before_it(self) -> None:
        first = self.reserve("l1", hold("org/o", 100, 1_000), hold("run/a", 40))
        self.settle("l1", 100, 40)
        second = self.reserve("l2", hold("org/o", 100, 1_000), hold("run/a", 40), hold("log/l", 40, None))
        assert isinstance(first, Lease)
        assert isinstance(second, Lease)
        assert (0, "org") == (first.used_permille, first.tightest)
        assert (400, "run") == (second.used_permille, second.tightest)

    def test_a_lease_without_a_hard_budget_names_none(self) -> None:
        lease = self.reserve("l", hold(limit=None))
        assert isinstance(lease, Lease)
        assert (0, "") == (lease.used_permille, lease.tightest)

    # --- the async twins

    async def waiting_async(self) -> tuple[object, ...]:
        """A waiting call's life, in the async twins."""
        store, now = self.store, self.now_ms
        lease = await store.areserve(replace(self.request("l", hold(amount=30)), dispatched=False))
        facts = (await store.adispatch("l", now), await store.aextend("l", self.ttl_ms, now))
        listed = [each.id for each in await store.aleases()]
        await store.asettle(Charge(lease="l", amounts=(7,), now_ms=now))
        return lease, facts, listed, await store.adispatch("l", now), list(await store.aleases("r"))
