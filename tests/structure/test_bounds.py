"""The worst case of one run: a number where limits or structure give one, else UNBOUNDED and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from governor.prices import PriceBook
from governor.structure import UNBOUNDED, Analysis, Held, Node, Shape, analyse
from tests.structure.shapes import agent, model, nest, policy, shape, structure, tools, with_limit

TIER: dict[str, Any] = {"model": "openai:made-up", "price": {"input": 1, "output": 4}, "max_output_tokens": 1_000}
"""1 $ and 4 $ per million tokens: an answer of 1,000 costs at most $0.004."""


def of(*shapes: Shape, **parts: Any) -> Analysis:
    loaded = policy(**parts)
    return analyse(structure(*shapes), loaded.policy, PriceBook(loaded.policy))


def most(analysis: Analysis) -> dict[str, int | None]:
    return {bound.unit: bound.most for bound in analysis.bounds}


def why(analysis: Analysis, unit: str) -> str:
    return next(bound.why for bound in analysis.bounds if bound.unit == unit)


def steps(*shapes: Shape, **parts: Any) -> int | None:
    return most(of(*shapes, **parts))["steps"]


def run_budget(**limit: Any) -> dict[str, Any]:
    return {"budgets": [{"id": "b", "scope": "run", "limit": limit}]}


@pytest.mark.parametrize(
    ("edges", "bound"),
    [
        ("S>a a>b b>E", 2),
        ("S>a a>b a>c b>d c>d d>E", 4),
        ("S>a a>b b>c a>c c>E", 4),
        ("S>a a?b a?c b>E c>E", 3),
        ("S>a b>c", 1),
    ],
    ids=["a chain", "a diamond meets again", "ways of two lengths run the last node twice", "a choice", "out of reach"],
)
def test_steps_without_a_cycle_are_counted_along_the_graph(edges: str, bound: int) -> None:
    assert bound == steps(shape(edges))


def test_a_deferred_node_may_run_once_for_each_node_before_it() -> None:
    late = shape("S>a a>b b>c a>c c>d d>E", Node(name="c", deferred=True))

    assert 1 + 1 + 2 + 2 == steps(late)


def test_a_cycle_is_unbounded_and_named_until_a_limit_of_steps() -> None:
    analysis = of(agent())

    assert {"steps": None, "model_calls": None, "tool_calls": None, "nano_usd": None} == most(analysis)
    assert {"`agent -> tools -> agent`"} == {bound.why for bound in analysis.bounds}
    assert {UNBOUNDED} == {bound.written for bound in analysis.bounds}
    limited = of(agent(), limits={"steps": 9})
    assert (9, 9, 9) == tuple(most(limited).values())[:3]
    assert "limits.steps 9" == why(limited, "steps")


def test_time_and_loop_protection_end_a_run_and_give_no_number() -> None:
    assert steps(agent(), limits={"time": "5m"}, loops={"mode": "enforce"}) is None


def test_a_budget_on_model_calls_bounds_the_steps_between_them() -> None:
    analysis = of(agent(), **run_budget(model_calls=5))

    # Five calls, each with its tool step, and the sixth, which is refused, after which nothing but its own step is left.
    assert (12, 5, 12) == tuple(most(analysis).values())[:3]
    assert "budget b: model_calls 5, and at most 2 steps a call" == why(analysis, "steps")


def test_a_cycle_past_the_model_stays_unbounded_under_a_budget_on_calls() -> None:
    past = shape("S>a a?m a?b a?E m>a b>a", model("m"))

    assert steps(past, **run_budget(model_calls=5)) is None


def test_a_budget_with_a_window_or_for_many_runs_bounds_what_it_can() -> None:
    daily = {"budgets": [{"id": "b", "scope": "tenant", "per": "day", "limit": {"model_calls": 5}}]}
    thread = {"budgets": [{"id": "b", "scope": "thread", "limit": {"model_calls": 5}}]}

    assert steps(agent(), **daily) is None
    assert 12 == steps(agent(), **thread)


def test_an_observing_policy_bounds_nothing_and_says_so() -> None:
    analysis = of(agent(), mode="observe", limits={"steps": 9}, **run_budget(model_calls=5))

    assert most(analysis)["steps"] is None
    assert "`mode: observe` refuses nothing" in analysis.assumptions[0]


def test_supersteps_of_a_recursion_limit_run_each_node_once_that_they_can_reach() -> None:
    assert 7 == steps(with_limit(agent(), 7))
    assert 1 + 2 * 6 == steps(with_limit(shape("S>a a>b a>c b>b c?c c?E"), 7))
    assert 1 == steps(with_limit(shape("S>a a*b b>a"), 1))
    assert steps(with_limit(agent(), 9_999)) is None


def test_the_outer_recursion_limit_is_that_of_the_graphs_inside() -> None:
    around = shape("S>desk desk>E", nest("desk", 1))
    inner = with_limit(agent(key=1), 7)

    assert 1 + 7 == steps(around, inner)
    assert 1 + 3 == steps(with_limit(around, 3), inner)


def test_branches_have_no_number_until_fan_out_gives_one() -> None:
    fan = shape("S>a a*b b>c c>E")

    assert "`a` may send any number of branches to `b`" == why(of(fan), "steps")
    assert 1 + 4 + 1 == steps(fan, limits={"fan_out": 4})
    assert 20 == steps(fan, limits={"steps": 20})


def test_nested_graphs_count_once_for_each_run_and_attempt_of_their_node() -> None:
    chain = shape("S>x x>y y>E", key=1)
    twice = shape("S>a a>b b>E", nest("a", 1), nest("b", 1, attempts=3))

    assert (1 + 2) + (1 + 3 * 2) == steps(twice, chain)


def test_what_is_nested_deeper_than_the_limit_does_not_run() -> None:
    outer = shape("S>a a>E", nest("a", 1))
    middle = shape("S>b b>E", nest("b", 2), key=1)
    inner = shape("S>c c>E", key=2)

    assert 3 == steps(outer, middle, inner)
    assert 2 == steps(outer, middle, inner, limits={"depth": 1})


def test_a_graph_that_holds_itself_is_bounded_by_depth_alone() -> None:
    itself = shape("S>a a?again a?E again>E", nest("again", 0))

    assert "`app:graph` holds itself" == why(of(itself), "steps")
    assert 2 * 4 == steps(itself, limits={"depth": 3})


def test_an_answer_that_may_ask_for_any_number_of_tools_bounds_no_tool_calls() -> None:
    many = shape("S>agent agent>tools tools>E", model("agent"), tools("tools", calls=None))

    assert "one answer of a model may ask `tools` for any number of tools" == why(of(many), "tool_calls")
    assert 7 == most(of(many, **run_budget(tool_calls=7)))["tool_calls"]


def test_attempts_escalation_and_conditions_with_a_model_add_model_calls() -> None:
    graph = shape("S>agent agent>E", model("agent", attempts=3, asked_after=1), asked_first=1)
    tiers = {"tiers": {"a": TIER, "b": TIER}, "routing": {"escalate": {"after": "refusal"}}}

    assert 3 * (1 + 1) + 1 == most(of(graph))["model_calls"]
    assert 2 * 7 == most(of(graph, **tiers))["model_calls"]
    assert 1 == steps(graph)


def test_tasks_are_steps_of_the_node_that_starts_them() -> None:
    assert 3 == steps(shape("S>flow flow>E", Node(name="flow", tasks=2)))


def test_money_is_the_dearest_call_as_often_as_one_can_be_made() -> None:
    dear = {**TIER, "context_window": "10k", "price": {"input": 2, "output": 4}}
    analysis = of(agent(), limits={"steps": 10}, tiers={"small": {**TIER, "context_window": "10k"}, "dear": dear})

    assert 10 * (10_000 * 2_000 + 1_000 * 4_000) == most(analysis)["nano_usd"]
    assert ["$0.2400"] == [bound.written for bound in analysis.bounds if bound.unit == "nano_usd"]


def test_a_largest_prompt_bounds_a_call_and_fees_of_tools_come_on_top() -> None:
    fee = {"budgets": [{"id": "fees", "scope": "tool", "tool": "look", "limit": {"calls": 99}, "fee": 0.5}]}
    analysis = of(agent(), limits={"steps": 2}, tiers={"small": TIER}, context={"max_input_tokens": "1k"}, **fee)

    assert 2 * (1_000 * 1_000 + 1_000 * 4_000) + 2 * 500_000_000 == most(analysis)["nano_usd"]


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        ({}, "no tiers"),
        ({"small": {**TIER, "max_output_tokens": None}}, "no max_output_tokens"),
        ({"small": TIER}, "no context_window"),
        ({"small": {"model": "nobody:knows", "max_output_tokens": 100, "context_window": "1k"}}, "no known price"),
    ],
)
def test_a_call_without_a_clamp_or_a_price_has_no_bound_unless_a_budget_gives_one(tiers: Any, said: str) -> None:
    given = {name: {key: value for key, value in tier.items() if value is not None} for name, tier in tiers.items()}
    parts: dict[str, Any] = {"limits": {"steps": 3}, **({"tiers": given} if given else {})}

    assert said in why(of(agent(), **parts), "nano_usd")
    assert most(of(agent(), **parts))["nano_usd"] is None
    if said != "no known price":  # which a policy with a limit in money does not load with
        assert 250_000_000 == most(of(agent(), **parts, **run_budget(usd=0.25)))["nano_usd"]


def test_a_graph_that_calls_nothing_costs_nothing() -> None:
    assert 0 == most(of(shape("S>a a>E")))["nano_usd"]
    assert 0 == most(of(shape("S>a a?a a?E")))["nano_usd"]


def test_what_is_taken_for_granted_is_said() -> None:
    called = Node(name="call", holds=(Held(graph=1, called=True),))
    flow = shape(
        "S>m m>call call>t t>E", model("m", own_code=True), called, replace(tools("t"), own_code=True, tasks=1)
    )

    assert [
        "Code of `m` calls its model once each time it runs.",
        "Code of `t` calls one tool each time it runs.",
        "Code of `call` starts each graph that it knows once each time it runs.",
        "Code of `t` starts each task that it names once for each place where it does.",
        "A recursion limit is that of the graph: whoever runs it gives no other, and a resumed run begins to count anew.",
    ] == list(of(flow, with_limit(agent(key=1), 5)).assumptions)
