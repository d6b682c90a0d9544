"""The budget control: an upper bound is held before a call, what was used is settled after it, and a refusal says why."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from governor.calls import (
    History,
    Message,
    ModelCall,
    ModelRef,
    ModelRequest,
    RunRef,
    StepRef,
    ToolCall,
    ToolSpec,
    View,
)
from governor.controls.budget import LEASE_TTL_MS, BudgetControl
from governor.decisions import ALLOWED, Decision, Verdict
from governor.errors import PolicyError
from governor.ledger import Hold
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


def test_a_dearer_class_of_service_is_held_and_charged_at_its_own_price() -> None:
    budget = control(RUN_USD)
    asked = request(asked=1_000)
    priority = replace(asked, call=replace(asked.call, price_percents={None: 175}))

    usual, dearer = quote(budget, asked), quote(budget, priority)

    used = Usage(input=1_000, output=1_000)
    assert usual.cost * 175 == dearer.cost * 100
    assert (18_000_000 * 175 // 100,) == budget.amounts(dearer, used)
