"""Weighted tokens and fees: each line of a budget is held and settled by its own measure."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ToolCall
from governor.ledger import Shortfall, Unit
from governor.plans import ToolQuote
from governor.policy.weights import Weights
from governor.testing import START_MS
from governor.usage import Usage
from governor.weighing import weighing_of
from tests.controls.test_budget import SONNET, STEP, control, quote, request

WEIGHED = {
    "id": "run",
    "scope": "run",
    "limit": {"tokens": "400k"},
    "weights": {"cached": "0.1", "written": "1.25", "output": 5},
}
PLAIN = {"id": "plain", "scope": "run", "limit": {"tokens": "400k"}}

weights = st.decimals(0, 1_000, places=3)
some_weights = st.builds(
    lambda a, b, c, d: Weights(input=a, cached=b, written=c, output=d),
    weights,
    weights,
    weights,
    st.just(Decimal("0.7")),
)
counts = st.integers(0, 10**6)
usages = st.builds(
    lambda a, b, c, d, e: Usage(input=a, cache_read=b, cache_write_5m=c, cache_write_1h=d, output=e), *[counts] * 5
)


def test_weighted_tokens_are_held_at_the_dearest_kind_and_settled_by_kind() -> None:
    budget = control(WEIGHED, PLAIN)
    held = quote(budget, request(asked=500))
    usage = Usage(input=100, cache_read=600, cache_write_5m=200, output=30)

    assert (1_000 * 5 // 4 + 500 * 5, 1_500) == tuple(hold.amount for hold in held.holds)
    assert (100 + 60 + 250 + 150, 930) == budget.amounts(held, usage)


@given(some_weights, usages)
def test_what_is_used_is_the_exact_weighted_sum_rounded_up_and_never_more_than_was_held(
    given_weights: Weights, usage: Usage
) -> None:
    weighing = weighing_of(given_weights)
    assert weighing is not None
    exact = (
        usage.input * Fraction(given_weights.input)
        + usage.cache_read * Fraction(given_weights.cached)
        + (usage.cache_write_5m + usage.cache_write_1h) * Fraction(given_weights.written)
        + usage.output * Fraction(given_weights.output)
    )

    used = weighing.used(usage)

    assert -(-exact.numerator // exact.denominator) == used
    assert used <= weighing.held(usage.prompt, usage.output)


@given(st.integers(0, 400_000))
def test_an_answer_is_shortened_to_what_its_weight_leaves_room_for(spent: int) -> None:
    budget = control(WEIGHED)
    held = quote(budget, request(asked=60_000))

    smaller = budget.shrink(held, Shortfall(hold=held.holds[0], spent=spent, reserved=0))

    assert smaller is None or spent + smaller.holds[0].amount <= 400_000


def test_weights_of_one_are_no_weights() -> None:
    assert None is weighing_of(Weights())


def test_fees_alone_are_held_for_tools_that_cost_and_settled_from_usage() -> None:
    budget = control({"id": "b", "scope": "run", "tool": "search", "fee": "0.01", "limit": {"fees": 1, "usd": 2}})
    paid = budget.quote_tool(ToolCall(step=STEP, name="search", args={}, id="c"), START_MS)
    free = budget.quote_tool(ToolCall(step=STEP, name="other", args={}, id="c"), START_MS)

    assert isinstance(paid, ToolQuote)
    assert isinstance(free, ToolQuote)
    assert {Unit.FEES: 10_000_000, Unit.NANO_USD: 10_000_000} == {hold.unit: hold.amount for hold in paid.holds}
    assert () == free.holds


def test_what_a_provider_charges_for_its_own_tools_is_settled_on_fees() -> None:
    budget = control({"id": "b", "scope": "run", "limit": {"fees": 1}})
    held = quote(budget, request(model=SONNET, asked=500))

    assert (7_000,) == budget.amounts(held, Usage(input=10, output=10, fees=7_000))


def test_a_refusal_on_fees_says_so() -> None:
    held = quote(control({"id": "b", "scope": "run", "limit": {"fees": "0.50"}}))

    decision = control(PLAIN).refusal(Shortfall(hold=held.holds[0], spent=500_000_000, reserved=0))

    assert decision.reason is not None
    assert "Budget b (run=r1) allows $0.50 of fees: spent $0.50" in decision.reason.text
