"""Graphs as people build them are read as what they are: kinds of nodes, what decides edges, what is nested, what nobody declared."""

from __future__ import annotations

import logging
import operator
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent, tools_condition
from langgraph.types import Command, RetryPolicy, Send
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

from governor.errors import ConfigurationError
from governor.policy.load import load
from governor.structure import Analysis, Edge, Node, Structure, analyse
from governor_langgraph import govern
from governor_langgraph.structure import read
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, policy

MODEL = Streaming(rule=lambda _: "done")


class Bag(TypedDict):
    n: Annotated[int, operator.add]


def nodes(structure: Structure) -> dict[str, Node]:
    return {
        structure.prefixes[shape.key] + node.name: node for shape in structure.shapes.values() for node in shape.nodes
    }


def edges(structure: Structure, key: int = 0) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.target, edge.how) for edge in structure.shapes[key].edges}


def of(graph: Any, **parts: Any) -> Analysis:
    return analyse(read(graph), load(policy(**parts)).policy)


def witnesses(graph: Any) -> list[str]:
    return [cycle.witness for cycle in of(graph).cycles.named]


def one(state: Bag) -> dict[str, Any]:
    return {"n": 1}


def builder(*names: str, body: Any = one) -> StateGraph[Any]:
    graph: Any = StateGraph(Bag)
    for name in names:
        graph.add_node(name, body)
    graph.add_edge(START, names[0])
    return graph


def test_an_agent_is_a_model_and_tools_that_are_sent_one_call_each() -> None:
    read_as = read(create_agent(MODEL, [graphs.search]))
    known = nodes(read_as)

    assert ("model", True, 0, False) == (
        known["model"].kind,
        known["model"].asks,
        known["model"].calls,
        known["model"].own_code,
    )
    assert ("tool", 1) == (known["tools"].kind, known["tools"].calls)
    assert {("model", "tools", "choice"), ("tools", "model", "choice"), (START, "model", "always")} <= edges(read_as)
    assert [Edge(source="model", target="tools", how="choice", fans=True)] == [
        e for e in read_as.shapes[0].edges if e.fans
    ]


@pytest.mark.parametrize(("version", "calls"), [("v1", None), ("v2", 1)])
@pytest.mark.filterwarnings("ignore:create_react_agent")
def test_a_react_agent_sends_calls_one_by_one_in_its_second_version_only(version: Any, calls: int | None) -> None:
    react = create_react_agent(MODEL, [graphs.search], version=version)

    assert calls == nodes(read(react))["tools"].calls
    assert ["agent -> tools -> agent"] == witnesses(react)


def test_a_tool_node_of_ones_own_may_be_asked_for_any_number_of_tools() -> None:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [MODEL.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([graphs.search]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    known = nodes(read(graph))

    assert known["tools"].calls is None
    assert ("model", True) == (known["agent"].kind, known["agent"].own_code)
    assert ["agent -> tools -> agent"] == witnesses(graph)


def test_a_node_that_only_holds_a_model_may_call_it_and_is_not_counted_on_to() -> None:
    held = {"model": MODEL}

    def idle(state: Bag) -> dict[str, Any]:
        return {"n": len(held)}

    node = nodes(read(builder("idle", body=idle)))["idle"]

    assert ("plain", True) == (node.kind, node.asks)


@pytest.mark.filterwarnings("ignore:create_react_agent")
def test_a_supervisor_is_nested_agents_with_declared_destinations() -> None:
    worker: Any = create_agent(MODEL, [graphs.search], name="worker")
    team = create_supervisor([worker], model=MODEL, supervisor_name="boss").compile()
    known = read(team)

    assert ("nested", "boss/") == (nodes(known)["boss"].kind, known.prefixes[1])
    assert ("boss", "worker", "goto") in edges(known)
    assert "boss -> worker -> boss" in witnesses(team)
    assert [] == [finding for finding in of(team).findings if finding.code == "graph.undeclared"]


def test_agents_of_a_swarm_hand_over_to_each_other() -> None:
    alice: Any = create_agent(MODEL, [create_handoff_tool(agent_name="bob")], name="alice")
    bob: Any = create_agent(MODEL, [create_handoff_tool(agent_name="alice")], name="bob")
    swarm: Any = create_swarm([alice, bob], default_active_agent="alice").compile()

    assert "alice -> bob -> alice" in witnesses(swarm)


def test_commands_lead_where_they_are_declared_to_and_else_anywhere() -> None:
    def told(state: Bag) -> Command[Literal["b"]]:
        return Command(goto="b")

    def untold(state: Bag) -> Any:
        return Command(goto="a", update={"n": 1})

    graph = builder("a", body=told)
    graph.add_node("b", untold)

    found = edges(read(graph))
    assert ("a", "b", "goto") in found
    assert {("b", target, "unknown") for target in ("a", "b", END)} <= found
    assert [("warning", "b")] == [(f.severity, f.witness) for f in of(graph).findings if f.code == "graph.undeclared"]


def test_a_condition_without_a_path_map_leads_anywhere() -> None:
    graph = builder("a", "b")
    graph.add_conditional_edges("a", lambda state: "b" if state["n"] < 3 else END)
    graph.add_edge("b", "a")

    assert {("a", "a", "unknown"), ("a", "b", "unknown"), ("a", END, "unknown")} <= edges(read(graph))
    assert of(graph).bounds[0].most is None


def test_a_tool_that_hands_over_to_the_graph_around_it_is_seen() -> None:
    @tool
    def over(state: str) -> Any:
        """Hand over."""
        return Command(goto="b", graph=Command.PARENT)

    inner: Any = create_agent(MODEL, [over], name="inner")
    graph: Any = StateGraph(MessagesState)
    graph.add_node("a", inner)
    graph.add_node("b", lambda state: {})
    graph.add_edge(START, "a")

    read_as = read(graph)
    assert frozenset({"tools"}) == read_as.shapes[1].leaves
    assert ("a", "b", "unknown") in edges(read_as)


def test_sends_fan_out_also_in_code_that_an_edge_calls() -> None:
    def branches(state: Bag) -> list[Send]:
        return [Send("work", state) for _ in range(state["n"])]

    def route(state: Bag) -> list[Send]:
        return [send for send in branches(state) if send]

    graph = builder("work")
    graph.add_conditional_edges("work", route, ["work"])

    assert [Edge(source="work", target="work", how="choice", fans=True)] == [
        e for e in read(graph).shapes[0].edges if e.fans
    ]


def test_joins_retries_deferred_nodes_and_error_handlers_are_read() -> None:
    graph: Any = builder("a", "b")
    graph.add_node("c", one, defer=True, retry_policy=[RetryPolicy(max_attempts=4), RetryPolicy(max_attempts=2)])
    graph.add_node("d", one, error_handler=lambda state: {"n": 0})
    graph.add_edge(["a", "b"], "c")
    graph.add_edge("c", "d")
    known, found = nodes(read(graph)), edges(read(graph))

    assert (True, 4) == (known["c"].deferred, known["c"].attempts)
    assert {("a", "c", "join"), ("b", "c", "join")} <= found
    assert {"error"} == {how for source, _, how in found if source == "d"}


@task
def fetch(n: int) -> int:
    return n


def test_tasks_of_an_entrypoint_are_counted_where_they_are_started() -> None:
    @entrypoint()
    def twice(n: int) -> int:
        return fetch(n).result() + fetch(n).result()

    @entrypoint()
    def often(n: int) -> int:
        total = 0
        while total < n:
            total += fetch(n).result()
        return total

    assert 3 == of(twice).bounds[0].most
    assert ("often", "often", "code") in edges(read(often))
    assert (None, "`often -> often`") == (of(often).bounds[0].most, of(often).bounds[0].why)


def test_a_graph_that_a_function_calls_is_read_with_it() -> None:
    inner: Any = builder("x").compile()

    def call(state: Bag) -> Any:
        return inner.invoke(state)

    read_as = read(builder("call", body=call))
    assert ["call", "call/x"] == list(nodes(read_as))
    assert [True] == [held.called for held in nodes(read_as)["call"].holds]


def test_a_model_that_a_condition_asks_is_counted() -> None:
    def ask(state: Bag) -> str:
        return "a" if MODEL.invoke("again?").text == "yes" else END

    graph = builder("a")
    graph.add_conditional_edges("a", ask, ["a", END])

    assert 1 == nodes(read(graph))["a"].asked_after
    assert 8 == of(graph, limits={"steps": 8}).bounds[1].most


def test_a_governed_graph_is_read_as_the_one_it_was_made_of() -> None:
    graph = create_agent(MODEL, [graphs.search])

    assert read(graph) == read(govern(graph, policy(limits={"steps": 5})))


def test_what_is_no_graph_cannot_be_read() -> None:
    with pytest.raises(ConfigurationError, match="not a graph"):
        read("graph")


# --- when a graph is governed ---------------------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "governor_langgraph"]


def test_govern_warns_once_of_a_cycle_that_nothing_cuts(caplog: pytest.LogCaptureFixture) -> None:
    agent = create_agent(MODEL, [graphs.search], name="warned")

    for _ in range(2):
        govern(agent, policy())

    assert 1 == len(told(caplog))
    assert told(caplog)[0].startswith("warned: warning: `model -> tools -> model` can go on for ever")
    assert told(caplog)[0].endswith("[graph.uncut_cycle]")


@pytest.mark.parametrize(
    "parts",
    [
        {"limits": {"steps": 5}},
        {"limits": {"time": "5m"}},
        {"loops": {}},
        {"budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 5}}]},
        {"budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 5}}], "mode": "observe"},
    ],
    ids=["steps", "time", "loops", "budget", "observed"],
)
def test_govern_says_nothing_where_a_limit_cuts_every_cycle(
    parts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    govern(create_agent(MODEL, [graphs.search], name="cut"), policy(**parts))

    assert [] == told(caplog)


def test_a_graph_that_cannot_be_read_is_governed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("what is this")

    monkeypatch.setattr("governor_langgraph.structure.read", broken)

    with caplog.at_level(logging.WARNING):
        app = govern(builder("a", body=one).compile(), policy())
    assert {"n": 1} == app.invoke({"n": 0})
    assert "could not be read for cycles (ValueError: what is this)" in told(caplog)[0]


def test_networkx_is_not_imported_to_govern_a_graph_whose_cycles_are_cut() -> None:
    code = (
        "import sys; from langchain.agents import create_agent; from tests.langgraph.fakes import OPEN, Streaming;"
        "from tests.langgraph.graphs import search; from governor_langgraph import govern;"
        "govern(create_agent(Streaming(rule=str), [search]), {**OPEN, 'loops': {}}); print('networkx' in sys.modules)"
    )
    root = Path(__file__).parents[2]

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)

    assert "False\n" == done.stdout
