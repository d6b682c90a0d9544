"""Cycles: every one is found, with what cuts it; what nothing cuts and what has no way out is remarked on."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.structure import START, Analysis, Edge, Node, Shape, Structure, analyse
from tests.structure.shapes import agent, model, nest, policy, shape, structure, tools, with_limit


def of(*shapes: Shape, **parts: Any) -> Analysis:
    return analyse(structure(*shapes), policy(**parts).policy)


def codes(analysis: Analysis) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.code, finding.witness) for finding in analysis.findings]


def cuts(analysis: Analysis) -> list[list[str]]:
    return [[cut.name for cut in cycle.cut_by] for cycle in analysis.cycles.named]


def run_budget(**limit: Any) -> dict[str, Any]:
    return {"budgets": [{"id": "b", "scope": "run", "limit": limit}]}


def test_a_cycle_that_nothing_cuts_is_reported_with_its_path_and_a_remedy() -> None:
    found = of(agent()).findings[0]

    assert ("warning", "graph.uncut_cycle") == (found.severity, found.code)
    assert "agent -> tools -> agent" == found.witness
    assert "limits: {steps: N}" in found.remedy
    assert str(found).startswith("app:graph: warning: `agent -> tools -> agent` can go on for ever")


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"limits": {"steps": 5}}, "limits.steps"),
        ({"limits": {"time": "5m"}}, "limits.time"),
        (run_budget(model_calls=5), "budget b"),
        (run_budget(tool_calls=5), "budget b"),
        (run_budget(usd=1), "budget b"),
        ({"loops": {"mode": "enforce"}}, "loops"),
    ],
)
def test_each_limit_that_cuts_an_agents_cycle_is_named(parts: dict[str, Any], name: str) -> None:
    analysis = of(agent(), **parts)

    assert [[name]] == cuts(analysis)
    assert [] == [code for _, code, _ in codes(analysis) if code == "graph.uncut_cycle"]


@pytest.mark.parametrize(
    "parts",
    [
        {"limits": {"depth": 3}},
        {"limits": {"fan_out": 3}},
        {"loops": {"mode": "enforce", "respond": ["nudge", "block"]}},
        {"limits": {"steps": 5}, "mode": "observe"},
        {"budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 5}, "hard": False}]},
        {"budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 5}, "mode": "observe"}]},
        {"budgets": [{"id": "b", "scope": "tool", "limit": {"calls": 5}, "tool": "look"}]},
    ],
    ids=["depth", "fan-out", "loops that never stop", "observed", "soft", "observed budget", "of one tool"],
)
def test_what_does_not_end_a_run_cuts_nothing(parts: dict[str, Any]) -> None:
    assert [[]] == cuts(of(agent(), **parts))


def test_neither_loops_nor_budgets_hold_on_to_a_cycle_of_plain_nodes() -> None:
    plain = shape("S>a a?b a?E b>a")

    assert [[]] == cuts(of(plain, loops={"mode": "enforce"}, **run_budget(model_calls=5)))


def test_a_nested_agent_makes_the_cycle_around_it_pay_if_there_is_no_way_past_its_model() -> None:
    around = shape("S>desk desk?back desk?E back>desk", nest("desk", 1))
    past = shape("S?agent S?E agent?tools agent?E tools>agent", model("agent"), tools("tools"), key=1)

    assert [["budget b"], ["budget b"]] == cuts(of(around, agent(key=1), **run_budget(model_calls=5)))
    assert [[], ["budget b"]] == cuts(of(around, past, **run_budget(model_calls=5)))


def test_a_cycle_that_is_ended_after_no_certain_number_of_rounds_is_mentioned() -> None:
    found = codes(of(agent(), loops={"mode": "enforce"}))

    assert [("info", "graph.uncounted_cycle", "agent -> tools -> agent")] == found


def test_a_recursion_limit_that_somebody_set_cuts_and_a_librarys_default_does_not() -> None:
    assert [["recursion_limit of the graph"]] == cuts(of(with_limit(agent(), 25)))
    assert [[]] == cuts(of(with_limit(agent(), 9_999)))


@pytest.mark.parametrize(
    ("edges", "witness"),
    [
        ("S>a a>b b>a", "a -> b -> a"),
        ("S>a a>a", "a -> a"),
        ("S>a a>b b>a a?E", "a -> b -> a"),
        ("S>a a?b a?c b>a c>a", "a -> b -> a"),
    ],
    ids=["two nodes", "itself", "an exit beside an edge that is always taken", "conditions that lead nowhere else"],
)
def test_a_cycle_without_a_way_out_is_an_error_whatever_cuts_it(edges: str, witness: str) -> None:
    assert ("error", "graph.no_exit", witness) == codes(of(shape(edges), limits={"steps": 5}))[0]


@pytest.mark.parametrize("edges", ["S>a a?b a?E b>a", "S>a S>c a+b c+b b>a", "S>a a!b a!E b>a"])
def test_a_condition_a_join_or_an_undeclared_edge_is_a_way_out(edges: str) -> None:
    assert [] == [each for each in codes(of(shape(edges), limits={"steps": 5})) if each[1] == "graph.no_exit"]


def test_a_node_that_does_not_say_where_it_leads_is_flagged_once_and_its_cycles_are_not_called_certain() -> None:
    analysis = of(shape("S>a a!a a!b a!E b>a"))

    assert [("warning", "graph.undeclared", "a")] == codes(analysis)
    assert {False} == {cycle.declared for cycle in analysis.cycles.named}
    assert [("info", "graph.undeclared", "a")] == codes(of(shape("S>a a!a a!b a!E b>a"), limits={"steps": 5}))


def test_a_graph_that_holds_itself_is_a_cycle_that_depth_cuts() -> None:
    itself = shape("S>a a?again a?E again>E", nest("again", 0))

    assert [("warning", "graph.uncut_cycle", "a -> again -> a")] == codes(of(itself))
    assert [["limits.depth"]] == cuts(of(itself, limits={"depth": 3}))


def test_branches_without_a_number_are_mentioned_until_a_limit_bounds_them() -> None:
    fan = shape("S>a a*b b>E")

    assert [("info", "graph.unbounded_fan_out", "a -> b")] == codes(of(fan))
    assert [] == codes(of(fan, limits={"fan_out": 3}))


def test_more_cycles_than_can_be_named_are_counted_and_said_to_be_more() -> None:
    names = [f"n{index}" for index in range(12)]
    every = shape(" ".join(["S>n0", *(f"{a}?{b}" for a in names for b in (*names, "E") if a != b)]))

    found = of(every).cycles

    assert 12 == len(found.named)
    assert found.more >= 900
    assert found.at_least
    assert all(not cycle.cut_by for cycle in found.named)


def test_a_cycle_longer_than_what_is_enumerated_is_shown_all_the_same() -> None:
    long = shape(" ".join(["S>n0", *(f"n{index}>n{index + 1}" for index in range(40)), "n40?n0 n40?E"]))

    found = of(long).cycles

    assert [41] == [len(cycle.path) for cycle in found.named]


@st.composite
def drawn(draw: st.DrawFn) -> Structure:
    names = [f"n{index}" for index in range(draw(st.integers(1, 6)))]
    nodes = tuple(draw(st.sampled_from([Node(name=name), model(name), tools(name)])) for name in names)
    pairs = draw(
        st.lists(st.tuples(st.sampled_from([START, *names]), st.sampled_from(names)), max_size=16, unique=True)
    )
    edges = (Edge(source=START, target=names[0]), *(Edge(source=a, target=b, how="choice") for a, b in pairs))
    return structure(Shape(key=0, name="g", nodes=nodes, edges=edges))


@given(graph=drawn(), loops=st.booleans())
def test_every_cycle_is_found_and_one_is_uncut_exactly_if_no_node_of_it_is_held_on_to(
    graph: Structure, loops: bool
) -> None:
    shown = analyse(graph, policy(loops={"mode": "enforce" if loops else "observe"}).policy).cycles
    root = graph.shapes[0]
    edges: Any = nx.DiGraph([(edge.source, edge.target) for edge in root.edges])
    reached = edges.subgraph({START, *nx.descendants(edges, START)})
    held = {node.name for node in root.nodes if node.kind != "plain"} if loops else set()

    every = {frozenset(cycle) for cycle in nx.simple_cycles(reached)}
    total = sum(1 for _ in nx.simple_cycles(reached))

    assert total == len(shown.named) + shown.more
    assert {frozenset(cycle.path) for cycle in shown.named} <= every
    assert all((not cycle.cut_by) == held.isdisjoint(cycle.path) for cycle in shown.named)
    assert any(held.isdisjoint(cycle) for cycle in every) == any(not cycle.cut_by for cycle in shown.named)
