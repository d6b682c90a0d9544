"""Fees of tools that the provider runs itself: held before the call at the most that the request allows, charged as the answer reports."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRequest, ModelResponse
from governor.controls.budget.hosted import DEFAULT_USES
from governor.decisions import Decision, Verdict
from governor.fees import HostedTool, due, most_uses
from governor.ledger import Unit
from governor.meter import Meter
from governor.plans import Quote
from governor.testing import START_MS
from governor.usage import Usage
from tests.controls.test_budget import control, quote, request, routed

MONEY: dict[str, Any] = {"id": "b", "scope": "run", "limit": {"usd": 100, "fees": 50}}
SEARCH = HostedTool(name="web_search", fee=10_000_000, uses=3)
ENDLESS = replace(SEARCH, uses=None, settable=True)
EXACT = (1_000, 1_000)

names = st.sampled_from(["web_search", "file_search", "code_interpreter"])
tools = st.builds(
    HostedTool,
    name=names,
    fee=st.integers(0, 50_000_000),
    uses=st.one_of(st.none(), st.integers(1, 50)),
    settable=st.just(True),
)


def offering(*hosted: HostedTool) -> ModelRequest:
    plain = request(asked=100)
    return replace(plain, call=replace(plain.call, hosted=hosted))


def held(found: Quote) -> dict[Unit, int]:
    return {hold.unit: hold.amount for hold in found.holds}


def test_the_fees_of_all_uses_are_held_beside_the_tokens() -> None:
    budget = control(MONEY)
    without, found = quote(budget, offering()), quote(budget, offering(SEARCH))

    assert 30_000_000 == found.fees == held(found)[Unit.FEES]
    assert 30_000_000 == found.cost - without.cost
    assert found.cost == held(found)[Unit.NANO_USD]


def test_what_the_answer_reports_is_charged_on_every_line_and_said_in_its_usage() -> None:
    budget = control(MONEY)
    found = quote(budget, offering(SEARCH))
    answer = ModelResponse(usage=Usage(input=1_000, output=10), hosted_uses={"web_search": 2, "elsewhere": 9})

    usage = budget.usage(found, answer, Meter())

    assert 20_000_000 == usage.fees
    assert (3_000_000 + 150_000 + 20_000_000, 20_000_000) == budget.amounts(found, usage)


@given(st.lists(tools, max_size=5), st.data())
def test_no_uses_within_their_limits_cost_more_than_was_held(offered: list[HostedTool], data: st.DataObject) -> None:
    budget = control(MONEY)
    found = quote(budget, offering(*offered))
    most = most_uses(offered, found.request.hosted_uses or DEFAULT_USES)
    used = {name: data.draw(st.integers(0, count)) for name, count in most.items()}

    usage = budget.usage(found, ModelResponse(usage=Usage(), hosted_uses=used), Meter())

    assert usage.fees <= found.fees == held(found)[Unit.FEES]
    assert usage.fees == due(offered, used)


@pytest.mark.parametrize("limit", [{"usd": 1}, {"fees": 1}])
def test_a_tool_without_a_limit_gets_one_under_a_hard_limit_in_money(limit: dict[str, Any]) -> None:
    found = quote(control({**MONEY, "limit": limit}), offering(ENDLESS))

    assert 5 == DEFAULT_USES == found.request.hosted_uses
    assert 50_000_000 == found.fees


@pytest.mark.parametrize(
    "budgets",
    [(), ({**MONEY, "hard": False},), ({"id": "b", "scope": "run", "limit": {"tokens": "100k"}},)],
    ids=["none", "soft", "tokens"],
)
@pytest.mark.parametrize("tool", [ENDLESS, replace(SEARCH, uses=None), replace(SEARCH, fee=None)], ids=str)
def test_without_a_hard_limit_in_money_nothing_is_set_or_refused(budgets: Any, tool: HostedTool) -> None:
    assert quote(control(*budgets), offering(tool)).request.hosted_uses is None


def test_a_limit_of_the_users_own_stays() -> None:
    assert quote(control(MONEY), offering(SEARCH)).request.hosted_uses is None


@pytest.mark.parametrize(
    ("tool", "code"),
    [
        (HostedTool(name="code_execution", fee=None), "budget.unknown_fee"),
        (HostedTool(name="web_search", fee=14_000_000), "budget.endless_uses"),
    ],
)
def test_a_tool_whose_cost_has_no_bound_is_refused_by_name_budget_and_remedy(tool: HostedTool, code: str) -> None:
    asked = offering(tool)
    refused = control(MONEY).quote(asked, routed(asked.model), 1_000, START_MS)

    assert isinstance(refused, Decision)

    assert refused.reason is not None
    assert (Verdict.STOP, code, "b") == (refused.verdict, refused.reason.code, refused.reason.rule)
    assert tool.name in refused.reason.text
    assert tool.name in (refused.reason.remedy or "")


def test_a_tool_without_a_fee_is_never_refused_nor_limited() -> None:
    found = quote(control(MONEY), offering(HostedTool(name="web_fetch", fee=0)))

    assert (0, None) == (found.fees, found.request.hosted_uses)


def test_a_broken_stream_is_charged_all_fees_that_were_held() -> None:
    budget = control(MONEY)
    found = quote(budget, offering(SEARCH))
    reported = Meter(dispatched=True, final=True, usage=Usage(input=10, output=1))

    settled = dict(zip((hold.unit for hold in found.holds), budget.broken(found, reported, EXACT) or (), strict=True))

    assert held(found)[Unit.FEES] == settled[Unit.FEES]
    assert tuple(hold.amount for hold in found.holds) == budget.broken(found, Meter(dispatched=True), EXACT)
    assert budget.broken(found, Meter(dispatched=True, rejected=True), EXACT) is None


def test_an_answer_that_was_cut_is_charged_all_fees_that_were_held() -> None:
    budget = control(MONEY)
    found = quote(budget, offering(SEARCH))
    cut = ModelResponse(usage=Usage(output=1, estimated=True), hosted_uses={"web_search": 1})

    assert 30_000_000 == budget.usage(found, cut, Meter()).fees


def test_an_answer_from_the_cache_of_the_process_has_no_fee() -> None:
    budget = control(MONEY)
    cached = ModelResponse(usage=Usage(output=1), hosted_uses={"web_search": 1}, cached=True)

    assert 0 == budget.usage(quote(budget, offering(SEARCH)), cached, Meter()).fees
