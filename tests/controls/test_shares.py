"""Shares of a budget: no branch beyond its own, all branches together within the budget, and nothing new outside of fan-outs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import RunRef, StepRef
from governor.controls.budget.blanks import Blank, Blanks
from governor.controls.budget.grants import raised
from governor.controls.budget.lines import lines
from governor.controls.budget.shares import Shares, around
from governor.controls.budget.windows import DAY_MS
from governor.controls.limits import Limits
from governor.ledger import Charge, Hold, Lease, ReserveRequest, Shortfall
from governor.plans import ToolQuote
from governor.policy.schema import Policy
from governor.runs import RunState, dump_state, parse_state
from governor.stores.memory import MemoryStore
from governor.testing import START_MS
from governor.values import replace

RUN = RunRef(id="r1", scopes={"tenant": "t"})
OTHER = RunRef(id="r2", scopes={"tenant": "t"})


def ruled(split: Any, limit: int, **parts: Any) -> Policy:
    budget = {"id": "b", "scope": "tenant", "limit": {"calls": limit}, "split": split, **parts}
    return Policy.model_validate({"governor": 1, "name": "p", "budgets": [budget]})


def step(ns: str, sent: int = 0, run: RunRef = RUN) -> StepRef:
    path = "/".join(part.partition(":")[0] for part in ns.split("|"))
    around = ns.rpartition("|")[0]
    return StepRef(run=run, node=path, path=path, ns=ns, superstep=(f"checkpoint of {around}", 1), sent=sent)


def begun(policy: Policy, steps: list[StepRef]) -> RunState:
    state = RunState()
    for each in steps:
        state, _ = Limits(policy).enter(state, each, START_MS)
    return state


def quoted(policy: Policy, at: StepRef, amount: int = 1) -> ToolQuote:
    blank = Blanks(lines(policy)).of(at, START_MS)
    assert isinstance(blank, Blank)
    return ToolQuote(holds=tuple(replace(hold, amount=amount) for hold in blank.holds), fee=0)


def holds(policy: Policy, at: StepRef, state: RunState, amount: int = 1) -> tuple[Hold, ...]:
    return Shares(policy).added(quoted(policy, at, amount), at, state, START_MS).holds


@given(
    st.integers(1, 60),
    st.integers(2, 6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(1, 9), st.integers(0, 12)), max_size=60),
)
def test_no_branch_passes_its_share_and_all_together_no_more_than_the_budget_counts(
    limit: int, width: int, calls: list[tuple[int, int, int, int]]
) -> None:
    """Outer branches, each with a fan-out of two or a step of its own, and a step outside of them all."""
    policy, store = ruled("even", limit), MemoryStore()
    outer = [step(f"a:{n}", sent=width) for n in range(width)]
    inner = [step(f"a:{n}|b:{m}", sent=2) for n in range(width) for m in range(2)]
    state = begun(policy, [*outer, *inner])
    for number, (which, m, amount, charged) in enumerate(calls):
        n = which % width
        at = outer[n] if m == 2 else inner[2 * n + m]
        if number % 7 == 6:
            at = step("elsewhere:1", run=OTHER)
        wanted = holds(policy, at, RunState() if at.run is OTHER else state, amount)
        request = ReserveRequest(id=str(number), holds=wanted, ttl_ms=1_000, now_ms=START_MS)
        granted = store.reserve(request)
        if isinstance(granted, Lease) and number % 3:
            amounts = tuple(min(charged, hold.amount) for hold in granted.holds)
            store.settle(Charge(lease=str(number), amounts=amounts, now_ms=START_MS))

    used = {each.ledger.split("/")[1]: each.spent + each.reserved for each in store.balances()}
    pool = used.pop("tenant=t", 0)
    outermost = {key: weight for key, weight in used.items() if "%7C" not in key}
    assert pool <= limit
    assert sum(outermost.values()) <= pool
    for key, weight in outermost.items():
        assert weight <= limit // width
        inside = [each for other, each in used.items() if other.startswith(f"{key}%7C")]
        assert sum(inside) <= weight
        assert all(each <= limit // width // 2 for each in inside)


@given(st.sampled_from(["shared", "even", {"weighted": {"*": "10%"}}]), st.integers(0, 9), st.booleans())
def test_outside_of_fan_outs_a_call_holds_what_it_held(split: Any, limit: int, nested: bool) -> None:
    policy = ruled(split, limit + 1)
    at = [step("a:1"), step("a:1|b:1")] if nested else [step("a:1")]
    quote, state = quoted(policy, at[-1]), begun(policy, at)

    assert quote is Shares(policy).added(quote, at[-1], state, START_MS)


@pytest.mark.parametrize("parts", [{"hard": False}, {"mode": "observe"}, {"split": "shared"}], ids=str)
def test_a_budget_that_refuses_nothing_or_is_one_pool_has_no_shares(parts: dict[str, Any]) -> None:
    given: dict[str, Any] = {"split": "even", "limit": 9, **parts}
    policy = ruled(**given)
    steps = [step("a:1", sent=2), step("a:2", sent=2)]

    assert 1 == len(holds(policy, steps[0], begun(policy, steps)))


def test_a_share_is_looked_at_before_its_budget_and_kept_by_run_and_branch() -> None:
    policy = ruled("even", 9)
    steps = [step("a:1", sent=2), step("a:1|b c:2", sent=3)]

    wanted = holds(policy, steps[1], begun(policy, steps))

    assert [
        ("b/tenant=t,branch=a:1/life/calls", 4, "1/2 of 9"),
        ("b/tenant=t,branch=a:1%7Cb c:2/life/calls", 1, "1/3 of 1/2 of 9"),
        ("b/tenant=t/life/calls", 9, "9"),
    ] == [(hold.ledger, hold.limit, hold.written) for hold in wanted]
    assert [True, True, False] == [hold.share for hold in wanted]


def test_a_branch_of_a_rolling_window_counts_what_it_used_in_the_slices_before() -> None:
    policy = ruled("even", 8, per="rolling 24h")
    steps = [step("a:1", sent=2)]

    share, pool = holds(policy, steps[0], begun(policy, steps))

    assert len(pool.earlier) == len(share.earlier)
    assert all(",branch=a:1/" in each for each in share.earlier)


@pytest.mark.parametrize("per", [None, "day", "month"])
def test_the_ledger_of_a_branch_is_forgotten_with_its_budgets_or_after_ninety_idle_days(per: str | None) -> None:
    policy = ruled("even", 8, per=per)
    steps = [step("a:1", sent=2)]

    share, pool = holds(policy, steps[0], begun(policy, steps))

    assert share.expires_ms is not None
    assert (
        89 * DAY_MS < share.expires_ms - START_MS <= 90 * DAY_MS if per is None else pool.expires_ms == share.expires_ms
    )


def test_a_share_grows_with_what_a_person_granted() -> None:
    policy = ruled("even", 8)
    steps = [step("a:1", sent=2)]
    quote = quoted(policy, steps[0])
    more = ToolQuote(holds=raised(quote.holds, {quote.holds[0].ledger: 4}), fee=0)

    share, _ = Shares(policy).added(more, steps[0], begun(policy, steps), START_MS).holds

    assert 6 == share.limit


def test_the_branches_around_a_step_are_those_of_supersteps_that_have_several() -> None:
    policy = ruled("even", 8)
    steps = [step("a:1", sent=3), step("a:1|b:2"), step("a:1|b:2|c:3"), step("a:1|b:2|d:4")]
    state = begun(policy, steps)

    assert [("a", "a", 3), ("c", "a/b/c", 2)] == [
        (each.node, each.path, each.width) for each in around(steps[2], state)
    ]
    assert [3] == [each.width for each in around(step("a:1|1|x:9"), state)]


def test_branches_that_were_sent_are_known_by_any_process_until_their_superstep_is_over() -> None:
    policy = ruled("even", 8)
    state = parse_state(dump_state(begun(policy, [step("a:1", sent=5)])))
    after = StepRef(run=RUN, node="z", path="z", ns="z:1", superstep=("the next checkpoint", 2))

    assert 5 == state.branches_in("")
    assert 1 == Limits(policy).enter(state, after, START_MS)[0].branches_in("")


def test_a_share_that_is_used_up_is_a_shortfall_of_the_share_even_if_the_budget_is_used_up_too() -> None:
    policy, store = ruled("even", 2), MemoryStore()
    steps = [step("a:1", sent=2), step("a:2", sent=2)]
    state = begun(policy, steps)

    answers = [
        store.reserve(ReserveRequest(id=str(number), holds=holds(policy, at, state), ttl_ms=1_000, now_ms=START_MS))
        for number, at in enumerate([*steps, steps[0]])
    ]

    assert isinstance(answers[2], Shortfall)
    assert (True, 1) == (answers[2].hold.share, answers[2].spent + answers[2].reserved)
    assert isinstance(answers[1], Lease)
    assert (0, "b") == (answers[0].used_permille if isinstance(answers[0], Lease) else None, answers[1].tightest)
    assert 500 == answers[1].used_permille
