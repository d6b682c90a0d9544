"""Graphs of the examples, each under its own policy: every cycle is cut, and what one run can do is known as far as it can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from examples import approval, budget, plain_nodes, quickstart
from examples.support_desk.app import desk
from governor.policy.load import LoadedPolicy, load
from governor.prices import PriceBook
from governor.structure import UNBOUNDED, Analysis, analyse
from governor_langgraph import govern
from governor_langgraph.structure import read
from tests.langgraph.fakes import Whole


def of(graph: Any, policy: Any) -> Analysis:
    loaded = policy if isinstance(policy, LoadedPolicy) else load(policy)
    return analyse(read(graph), loaded.policy, PriceBook(loaded.policy))


def governed_in(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> list[Analysis]:
    """The analyses of what an example's main governs."""
    seen: list[Analysis] = []

    def noting(graph: Any, policy: Any, **options: Any) -> Any:
        seen.append(of(graph, policy))
        return govern(graph, policy, **options)

    monkeypatch.setattr(module, "govern", noting)
    module.main(*arguments)
    return seen


def bounds(analysis: Analysis) -> list[str]:
    """Steps, model calls, tool calls, money."""
    return [bound.written for bound in analysis.bounds]


def cuts(analysis: Analysis) -> dict[str, set[str]]:
    return {cycle.witness: {cut.name for cut in cycle.cut_by} for cycle in analysis.cycles.named}


def test_quickstart_is_bounded_in_calls_and_money_and_not_in_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    (analysis,) = governed_in(quickstart, monkeypatch)

    assert {"model -> tools -> model": {"budget run", "loops"}} == cuts(analysis)
    assert [UNBOUNDED, "10", UNBOUNDED, "$0.1000"] == bounds(analysis)
    assert ["graph.unbounded_fan_out"] == [finding.code for finding in analysis.findings]


def test_approval_is_ended_by_loop_protection_alone_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = governed_in(approval, monkeypatch)[0]

    assert {"model -> tools -> model": {"loops"}} == cuts(analysis)
    assert 4 * [UNBOUNDED] == bounds(analysis)
    assert "graph.uncounted_cycle" in [finding.code for finding in analysis.findings]


def test_a_budget_on_calls_bounds_the_steps_of_plain_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    (nodes,) = governed_in(plain_nodes, monkeypatch)

    assert {"write -> write": {"budget run", "loops"}} == cuts(nodes)
    assert ["6", "5", "0", "$0.1000"] == bounds(nodes)


def test_a_node_without_a_cycle_runs_and_calls_once() -> None:
    question = of(budget.build(Whole(rule=lambda _: "done")), budget.POLICY)  # pyright: ignore[reportArgumentType]

    assert {} == cuts(question)
    assert ["1", "1"] == [bounds(question)[0], bounds(question)[1]]


@pytest.mark.parametrize("policy", ["support", "baseline", "strict", "frugal"])
def test_the_support_desk_is_bounded_in_everything_under_every_policy_that_comes_along(policy: str) -> None:
    file = Path(__file__).parents[2] / "policies" / f"{policy}.yaml"
    analysis = of(desk(), load(file))

    assert {
        "refunds_agent -> refunds_tools -> refunds_agent",
        "orders_desk/model -> orders_desk/tools -> orders_desk/model",
    } == set(cuts(analysis))
    assert all(cut for cut in cuts(analysis).values())
    assert UNBOUNDED not in bounds(analysis)
    assert () == analysis.findings


def test_the_support_desk_under_its_policy_has_the_numbers_of_that_policy() -> None:
    analysis = of(desk(), load(Path(__file__).parents[2] / "policies" / "support.yaml"))

    assert ["120", "60", "120", "$0.5000"] == bounds(analysis)
