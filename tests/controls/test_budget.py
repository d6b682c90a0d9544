"""The budget control: an upper bound is held before a call, what was used is settled after it, and a refusal says why."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from governor.calls import (
    History,
    Message,
    Meter,
    ModelCall,
    ModelRef,
    ModelRequest,
    ModelResponse,
    RunRef,
    StepRef,
    ToolCall,
    ToolSpec,
    View,
)
from governor.controls.budget import LEASE_TTL_MS, MIN_OUTPUT, BudgetControl
from governor.decisions import ALLOWED, Decision, Verdict
from governor.errors import PolicyError
from governor.ledger import Hold, Shortfall, Unit
from governor.models import facts
from governor.plans import Quote, Routed, ToolQuote
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor.testing import START_MS
from governor.tokens import MESSAGE_FRAMING, REQUEST_FRAMING, TOOLS_PREAMBLE, estimate
from governor.usage import Usage

SONNET = ModelRef(provider="anthropic", model="claude-sonnet-4-6")
"""$3 in, $15 out, $3.75 / $6 written to the 5m / 1h cache, per million tokens."""
NOBODY = ModelRef(provider="unknown", model="fake")
RUN = RunRef(id="r1", thread="t1", scopes={"org": "acme", "tenant": "t", "user": "u", "agent": "support"})
STEP = StepRef(run=RUN, node="answer", path="desk/answer", ns="ns:1")


def policy(*budgets: Mapping[str, Any], **more: Any) -> Policy:
    return Policy.model_validate({"governor": 1, "name": "p", "budgets": budgets, **more})


def control(*budgets: Mapping[str, Any], **more: Any) -> BudgetControl:
    parsed = policy(*budgets, **more)
    return BudgetControl(parsed, PriceBook(parsed))


def request(
    *,
    tokens: int = 984,
    model: ModelRef = SONNET,
    step: StepRef = STEP,
    asked: int | None = None,
    tools: tuple[ToolSpec, ...] = (),
    notes: tuple[str, ...] = (),
) -> ModelRequest:
    """A request whose prompt is estimated at `tokens` + 16 for the framing of the request: 1,000 unless told otherwise."""
    message = Message(key="k", role="user", text="", tokens=tokens)
    history = History(messages=[message], cumulative=[tokens], index={"k": 0})
    call = ModelCall(step=step, ordinal=0, history=history, model=model, tools=tools, max_output_tokens=asked)
    return ModelRequest(call=call, tier=None, model=model, view=View(history=history, notes=notes))


def routed(model: ModelRef = SONNET, *, limit: int | None = None) -> Routed:
    rates = PriceBook(policy()).rates(model)
    return Routed(tier=None, model=model, rates=rates, max_output_tokens=limit, decision=ALLOWED)


def quote(
    budget: BudgetControl, asked: ModelRequest | None = None, *, limit: int | None = None, ratio: int = 1_000
) -> Quote:
    asked = asked or request()
    answer = budget.quote(asked, routed(asked.model, limit=limit), ratio, START_MS)
    assert isinstance(answer, Quote)
    return answer


def refusal(answer: Quote | ToolQuote | Decision) -> tuple[Verdict, str, str]:
    assert isinstance(answer, Decision)
    assert answer.reason
    assert answer.reason.remedy
    return answer.verdict, answer.reason.code, answer.reason.rule


def amounts(holds: tuple[Hold, ...]) -> dict[str, int]:
    return {hold.ledger.rsplit("/", 1)[1]: hold.amount for hold in holds}


RUN_USD = {"id": "run", "scope": "run", "limit": {"usd": "0.50"}}
EVERYTHING = {
    "id": "run",
    "scope": "run",
    "limit": {
        "usd": "0.50",
        "tokens": "400k",
        "input_tokens": "300k",
        "output_tokens": "50k",
        "model_calls": 60,
        "calls": 90,
        "time": "10m",
        "tool_calls": 120,
    },
}


# --- what is held


def test_a_model_call_is_held_at_its_worst_case_in_every_unit() -> None:
    held = quote(control(EVERYTHING), request(asked=500))

    expected = {
        "usd": (1_000 * 6_000) + (500 * 15_000),
        "tokens": 1_500,
        "input_tokens": 1_000,
        "output_tokens": 500,
        "model_calls": 1,
        "calls": 1,
        "time": 1,
    }
    assert expected == amounts(held.holds)
    assert expected["usd"] == held.cost


def test_the_input_is_the_estimate_of_all_that_is_sent_times_the_learned_ratio_rounded_up() -> None:
    tools = (ToolSpec(name="a", tokens=70), ToolSpec(name="b", tokens=31))

    held = quote(control(EVERYTHING), request(tokens=100, tools=tools, notes=("be brief",)), ratio=1_301)

    estimated = REQUEST_FRAMING + 100 + TOOLS_PREAMBLE + 101 + MESSAGE_FRAMING + estimate("be brief")
    assert estimated == held.estimated
    assert -(-estimated * 1_301 // 1_000) == held.request.input_tokens == amounts(held.holds)["input_tokens"]


def test_prompts_are_held_at_the_five_minute_price_when_governor_places_the_markers() -> None:
    own = quote(control(RUN_USD, context={"cache": {"ttl": "5m"}}), request(asked=500))
    graphs = quote(control(RUN_USD), request(asked=500))

    assert (1_000 * 3_750 + 500 * 15_000, 1_000 * 6_000 + 500 * 15_000) == (own.cost, graphs.cost)


@pytest.mark.parametrize(
    ("asked", "limit", "expected"),
    [
        (500, None, 500),
        (None, 700, 700),
        (500, 700, 500),
        (900, 700, 700),
        (None, None, facts(SONNET).max_output_tokens),
    ],
)
def test_the_answer_is_clamped_to_the_least_that_anybody_set_and_always_to_something(
    asked: int | None, limit: int | None, expected: int
) -> None:
    held = quote(control(RUN_USD), request(asked=asked), limit=limit)

    assert expected == held.request.max_output_tokens


def test_a_limit_that_the_route_put_on_the_request_counts_too() -> None:
    smaller = replace(request(asked=500), max_output_tokens=300)

    assert 300 == quote(control(RUN_USD), smaller).request.max_output_tokens


def test_the_default_clamp_leaves_the_prompt_its_place_in_the_window() -> None:
    model = ModelRef(provider="openai", model="gpt-4")  # a window of 8,192, and answers as long

    held = quote(control(RUN_USD), request(tokens=5_984, model=model))

    assert 2_192 == held.request.max_output_tokens


def test_a_prompt_that_fills_the_window_is_the_providers_to_refuse() -> None:
    model = ModelRef(provider="openai", model="gpt-4")

    assert 8_192 == quote(control(RUN_USD), request(tokens=9_000, model=model)).request.max_output_tokens


@pytest.mark.parametrize(
    "budgets",
    [
        (),
        ({**RUN_USD, "hard": False},),
        ({**RUN_USD, "mode": "observe"},),
        ({"id": "calls", "scope": "run", "limit": {"model_calls": 5}},),
        ({"id": "input", "scope": "run", "limit": {"input_tokens": 5_000}},),
        ({**RUN_USD, "tool": "search"},),
    ],
)
def test_a_request_stays_as_it_is_when_no_hard_limit_counts_the_answer(budgets: tuple[Mapping[str, Any], ...]) -> None:
    assert None is quote(control(*budgets)).request.max_output_tokens


def test_without_budgets_nothing_is_held() -> None:
    assert () == quote(control()).holds


def test_the_outermost_scope_is_held_first() -> None:
    scopes = ("tool", "node", "run", "agent", "org", "thread", "user", "tenant")
    budget = control(*({"id": scope, "scope": scope, "limit": {"calls": 5}} for scope in scopes))

    held = [hold.budget for hold in quote(budget).holds]

    assert ["org", "tenant", "user", "thread", "run", "agent", "node"] == held


@pytest.mark.parametrize("lenient", [{"hard": False}, {"mode": "observe"}])
def test_a_soft_or_observed_budget_records_and_never_refuses(lenient: Mapping[str, Any]) -> None:
    (hold,) = quote(control({**RUN_USD, **lenient}), request(asked=500)).holds

    assert (None, "0.50", 13_500_000) == (hold.limit, hold.written, hold.amount)


def test_a_budget_may_enforce_in_a_policy_that_observes() -> None:
    (hold,) = quote(control({**RUN_USD, "mode": "enforce"}, mode="observe")).holds

    assert 500_000_000 == hold.limit


def test_leases_outlive_any_providers_own_timeout() -> None:
    assert control().lease_ttl_ms == LEASE_TTL_MS >= 600_000


# --- refusals without a store


def test_a_money_limit_over_a_tier_without_a_price_is_a_mistake_in_the_policy() -> None:
    tiers = {"cheap": {"model": "ollama:mine"}, "good": {"model": "anthropic:claude-sonnet-4-6"}}

    with pytest.raises(PolicyError, match=r"tier cheap \(ollama:mine\) has no known price.*budget run") as caught:
        control(RUN_USD, tiers=tiers)

    assert "price: {input: ..., output: ...}" in str(caught.value.remedy)
    assert "run" == caught.value.rule


@pytest.mark.parametrize(
    ("budget", "price"),
    [
        ({"id": "b", "scope": "run", "limit": {"tokens": 5_000}}, None),
        ({**RUN_USD, "tool": "search", "fee": "0.01"}, None),
        ({**RUN_USD, "scope": "tool", "fee": "0.01"}, None),
        (RUN_USD, {"input": 0, "output": 0}),
    ],
)
def test_a_tier_without_a_price_is_fine_where_no_money_is_counted(
    budget: Mapping[str, Any], price: Mapping[str, Any] | None
) -> None:
    control(budget, tiers={"own": {"model": "ollama:mine", "price": price}})


def test_a_model_without_a_price_is_refused_under_a_money_limit() -> None:
    answer = control(RUN_USD).quote(request(model=NOBODY), routed(NOBODY), 1_000, START_MS)

    assert (Verdict.STOP, "budget.unknown_price", "run") == refusal(answer)


@pytest.mark.parametrize("lenient", [{"hard": False}, {"mode": "observe"}])
def test_a_model_without_a_price_passes_a_budget_that_only_records(lenient: Mapping[str, Any]) -> None:
    assert {"usd": 0} == amounts(quote(control({**RUN_USD, **lenient}), request(model=NOBODY)).holds)


@pytest.mark.parametrize("scope", ["org", "tenant", "user", "agent", "thread"])
def test_a_run_that_does_not_say_whose_budget_it_spends_is_refused(scope: str) -> None:
    nobody = replace(STEP, run=RunRef(id="r1"))
    budget = control({"id": "b", "scope": scope, "limit": {"calls": 5}})

    model = budget.quote(request(step=nobody), routed(), 1_000, START_MS)
    tool = budget.quote_tool(ToolCall(step=nobody, name="search", args={}, id="1"), START_MS)

    assert (Verdict.STOP, "budget.missing_scope", "b") == refusal(model) == refusal(tool)


def test_a_budget_that_only_records_needs_no_name() -> None:
    nobody = replace(STEP, run=RunRef(id="r1"))
    budget = control({"id": "b", "scope": "tenant", "limit": {"calls": 5}, "hard": False})

    assert () == quote(budget, request(step=nobody)).holds
    tool = budget.quote_tool(ToolCall(step=nobody, name="search", args={}, id="1"), START_MS)
    assert ToolQuote(holds=(), fee=0) == tool


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

    assert None is budget.broken(quote(budget), meter)


def test_a_call_of_unknown_outcome_is_settled_at_its_worst_case() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    settled = budget.broken(held, Meter(dispatched=True), 1_234)

    assert (*(hold.amount for hold in held.holds[:-1]), 1_234) == settled


def test_a_stream_broken_off_is_settled_at_its_prompt_and_what_was_seen_with_a_margin() -> None:
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))

    settled = budget.broken(held, Meter(dispatched=True, output_tokens=100), 50)

    assert (1_000 * 3_000 + 110 * 15_000, 1_110, 1_000, 110, 1, 1, 50) == settled


def test_a_stream_broken_off_after_its_first_report_is_charged_for_the_output_that_was_seen() -> None:
    """Anthropic reports the prompt with one output token first, and the answer only at the end."""
    budget = control(EVERYTHING)
    held = quote(budget, request(asked=500))
    first = Usage(input=800, output=1)

    settled = budget.broken(held, Meter(dispatched=True, output_tokens=100, usage=first))

    assert (800 * 3_000 + 100 * 15_000, 900, 800, 100, 1, 1, 1) == settled


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
