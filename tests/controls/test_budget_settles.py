"""What becomes of a quote: refused with a reason, shortened, settled at what was used or at what the evidence says."""

from dataclasses import replace

import pytest

from governor.calls import ModelResponse, ToolCall
from governor.controls.budget import MIN_OUTPUT, BudgetControl
from governor.decisions import Verdict
from governor.ledger import Shortfall, Unit
from governor.meter import Meter
from governor.plans import Quote, ToolQuote
from governor.stores.ledgers import MOST
from governor.testing import START_MS
from governor.tokens import MESSAGE_FRAMING, estimate
from governor.usage import Usage
from tests.controls.test_budget import EVERYTHING, RUN_USD, STEP, amounts, control, quote, request

SURE = (1_000, 1_000)
"""An estimator that counts exactly."""

# --- when it does not fit


def shortfall(held: Quote, unit: Unit, *, spent: int, reserved: int = 0) -> Shortfall:
    hold = next(hold for hold in held.holds if hold.unit is unit)
    return Shortfall(hold=hold, spent=spent, reserved=reserved)


def test_a_refusal_names_budget_limit_spend_and_remedy() -> None:
    held = quote(control(RUN_USD), request(asked=500))

    decision = control(RUN_USD).refusal(shortfall(held, Unit.NANO_USD, spent=480_000_000, reserved=30_000_000))

    assert decision.verdict is Verdict.STOP
    reason = decision.reason
    assert reason
    assert ("budget.exhausted", "run", "0.50") == (reason.code, reason.rule, reason.limit)
    assert "spent $0.48 + reserved $0.03" == reason.seen
    assert reason.text == (
        "Budget run (run=r1) allows $0.50: spent $0.48 + reserved $0.03, and this call needs up to $0.0135."
    )
    assert reason.remedy
    assert {"spent": 480_000_000, "reserved": 30_000_000, "needed": 13_500_000}.items() <= reason.evidence.items()


def test_a_refusal_speaks_the_unit_of_its_limit() -> None:
    held = quote(control(EVERYTHING), request(asked=500))

    texts = [
        decision.reason.text
        for unit in (Unit.TOKENS, Unit.MODEL_CALLS, Unit.MILLISECONDS)
        if (decision := control(EVERYTHING).refusal(shortfall(held, unit, spent=7))).reason
    ]

    assert [
        "Budget run (run=r1) allows 400k tokens: spent 7 tokens + reserved 0 tokens, and this call needs up to 1500 tokens.",
        "Budget run (run=r1) allows 60 model calls: spent 7 model calls + reserved 0 model calls, and this call needs"
        " up to 1 model calls.",
        "Budget run (run=r1) allows 10m: spent 7 ms + reserved 0 ms.",
    ] == texts


@pytest.mark.parametrize(
    ("unit", "spent", "fits"),
    [
        (Unit.TOKENS, 400_000 - 1_000 - 600, 600),
        (Unit.OUTPUT_TOKENS, 50_000 - 600, 600),
        (Unit.NANO_USD, 500_000_000 - 1_000 * 6_000 - 600 * 15_000, 600),
        (Unit.TOKENS, 400_000 - 1_000 - MIN_OUTPUT, MIN_OUTPUT),
        (Unit.TOKENS, 400_000 - 1_000 - 2_000, 1_024),
        (Unit.TOKENS, 400_000 - 1_000 - 40_000, 10_000),
    ],
)
def test_an_answer_is_shortened_to_what_is_left_but_not_to_all_of_much(unit: Unit, spent: int, fits: int) -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=50_000))

    smaller = budget.shrink(held, shortfall(held, unit, spent=spent))

    assert smaller is not None
    assert fits == smaller.request.max_output_tokens == amounts(smaller.holds)["output_tokens"]
    assert 1_000 + fits == amounts(smaller.holds)["tokens"]
    assert 1_000 * 6_000 + fits * 15_000 == amounts(smaller.holds)["usd"] == smaller.cost


@pytest.mark.parametrize(
    ("unit", "spent"),
    [
        (Unit.TOKENS, 400_000 - 1_000 - MIN_OUTPUT + 1),
        (Unit.TOKENS, 400_000 - 900),
        (Unit.TOKENS, 500_000),
        (Unit.NANO_USD, 500_000_000),
        (Unit.INPUT_TOKENS, 300_000),
        (Unit.MODEL_CALLS, 60),
        (Unit.MILLISECONDS, 600_000),
    ],
)
def test_an_answer_too_short_to_be_useful_is_not_asked_for(unit: Unit, spent: int) -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    assert None is budget.shrink(held, shortfall(held, unit, spent=spent))


def test_an_answer_that_was_meant_to_be_tiny_is_not_shortened() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=20))

    assert None is budget.shrink(held, shortfall(held, Unit.TOKENS, spent=400_000 - 1_010))


# --- what is settled

USAGE = Usage(input=200, cache_read=700, cache_write_5m=50, output=90, fees=1_000)


def test_a_call_is_settled_at_what_the_provider_reported() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    used = budget.usage(held, ModelResponse(text="long" * 999, usage=USAGE), Meter(dispatched=True, output_tokens=999))

    assert USAGE == used
    money = 200 * 3_000 + 700 * 300 + 50 * 3_750 + 90 * 15_000 + 1_000
    assert (money, 1_040, 950, 90, 1, 1, 1_234) == budget.amounts(held, used, 1_234)


def test_usage_that_only_the_stream_carried_counts_as_reported() -> None:
    budget = control(EVERYTHING)

    assert USAGE == budget.usage(quote(budget), ModelResponse(), Meter(dispatched=True, usage=USAGE))


@pytest.mark.parametrize(("text", "streamed", "output"), [("", 100, 110), ("a" * 1_000, 0, 0), ("", 5_000, 500)])
def test_what_nobody_reported_is_estimated_on_the_high_side_and_within_the_clamp(
    text: str, streamed: int, output: int
) -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500), ratio=1_300)

    used = budget.usage(held, ModelResponse(text=text), Meter(dispatched=True, output_tokens=streamed))

    expected = output or min(500, -(-(estimate(text) + MESSAGE_FRAMING) * 11 // 10))
    assert Usage(input=1_300, output=expected, estimated=True) == used


@pytest.mark.parametrize("meter", [Meter(), Meter(dispatched=True, rejected=True), Meter(output_tokens=5)])
def test_a_call_that_nobody_can_have_billed_is_given_back(meter: Meter) -> None:
    budget = control(EVERYTHING)

    assert None is budget.broken(quote(budget), meter, SURE)


def test_a_call_of_unknown_outcome_is_settled_at_its_worst_case() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    settled = budget.broken(held, Meter(dispatched=True), SURE, 1_234)

    assert (*(hold.amount for hold in held.holds[:-1]), 1_234) == settled


def test_a_stream_broken_off_is_settled_at_its_worst_case_however_little_was_seen() -> None:
    """The provider is chunks ahead of its reader, and what it reasoned nobody saw."""
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))
    first = Usage(input=800, output=1)  # Anthropic reports the prompt first, and the answer only at the end

    settled = budget.broken(held, Meter(dispatched=True, output_tokens=100, usage=first), SURE, 50)

    assert (*(hold.amount for hold in held.holds[:-1]), 50) == settled


def test_a_stream_of_which_all_that_arrived_is_known_is_settled_at_that_with_a_margin() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))
    first = Usage(input=800, output=1)

    used = budget.broken_usage(
        held, Meter(dispatched=True, observed=True, output_tokens=90, largest=10, usage=first), SURE
    )

    assert Usage(input=800, output=103, estimated=True) == used


def test_a_stream_that_wrote_more_than_its_limit_is_owed_all_that_is_certain() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    used = budget.broken_usage(held, Meter(dispatched=True, observed=True, output_tokens=4_000), SURE)

    assert used is not None
    assert 2_000 == used.output


def test_the_providers_last_word_on_a_broken_stream_is_charged_as_it_is() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    settled = budget.broken(held, Meter(dispatched=True, final=True, usage=USAGE), SURE, 50)

    assert budget.amounts(held, USAGE, 50) == settled


@pytest.mark.parametrize("count", ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output"])
def test_nothing_is_paid_back_for_a_report_below_nothing(count: str) -> None:
    """As some proxies send it: a report like that is none, and what governor counted itself is charged."""
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))
    broken = replace(USAGE, **{count: -1_000_000})
    meter = Meter(dispatched=True, output_tokens=90, final=True, observed=True, usage=broken)

    used = budget.usage(held, ModelResponse(text="", usage=broken), meter)

    assert used.estimated
    assert Usage(input=1_000, output=99, estimated=True) == used
    assert budget.broken_usage(held, replace(meter, usage=None, final=False), SURE) == budget.broken_usage(
        held, meter, SURE
    )


def test_a_report_of_more_than_any_store_counts_is_charged_at_the_most_there_is() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    settled = budget.amounts(held, Usage(input=1_000, output=2**70), 50)

    assert MOST == max(settled)
    assert settled[-1] == 50


def test_a_policy_may_charge_every_broken_stream_at_its_worst_case() -> None:
    budget = control(EVERYTHING, broken_streams="worst_case")
    held = quote(budget, request(asked=500))

    settled = budget.broken(held, Meter(dispatched=True, observed=True, output_tokens=90), SURE, 50)

    assert (*(hold.amount for hold in held.holds[:-1]), 50) == settled


# --- tools

SEARCH = ToolCall(step=STEP, name="web_search", args={}, id="1")
FEES = {"id": "fees", "scope": "run", "tool": "web_*", "limit": {"calls": 20, "usd": "0.20"}, "fee": "0.01"}


def quote_tool(budget: BudgetControl, call: ToolCall = SEARCH) -> ToolQuote:
    answer = budget.quote_tool(call, START_MS)
    assert isinstance(answer, ToolQuote)
    return answer


def test_a_tool_call_is_held_by_count_and_time() -> None:
    held = quote_tool(control(EVERYTHING))

    assert {"calls": 1, "tool_calls": 1, "time": 1} == amounts(held.holds)


def test_a_fee_counts_on_every_money_limit_that_the_tool_falls_under() -> None:
    held = quote_tool(control(RUN_USD, FEES))

    assert 10_000_000 == held.fee
    assert [("run", 10_000_000), ("fees", 10_000_000), ("fees", 1)] == [(h.budget, h.amount) for h in held.holds]


def test_a_budget_for_some_tools_leaves_the_others_and_the_models_alone() -> None:
    budget = control(FEES)

    assert ToolQuote(holds=(), fee=0) == quote_tool(budget, replace(SEARCH, name="read_file"))
    assert () == quote(budget).holds


def test_a_tool_scope_keeps_a_ledger_for_each_tool() -> None:
    budget = control({"id": "each", "scope": "tool", "limit": {"calls": 5}})

    scopes = [hold.scope for name in ("a", "b") for hold in quote_tool(budget, replace(SEARCH, name=name)).holds]

    assert ["tool=a", "tool=b"] == scopes
    assert () == quote(budget).holds


def test_the_dearest_fee_that_is_named_for_a_tool_is_its_fee() -> None:
    dear = {**FEES, "id": "dear", "tool": "web_search", "fee": "0.03"}

    assert 30_000_000 == quote_tool(control(FEES, dear)).fee


def test_a_tool_call_is_settled_at_its_fee_and_the_time_it_took() -> None:
    budget = control(FEES, {"id": "time", "scope": "run", "limit": {"time": "10m", "tool_calls": 5}})
    held = quote_tool(budget)

    assert (10_000_000, 1, 1, 1_234) == budget.tool_amounts(held, 1_234)
    assert (10_000_000, 1, 1, 1) == budget.tool_amounts(held, 0)
