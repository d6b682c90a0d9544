"""`describe` reads any graph without running it: nodes, tools, models, cycles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from langchain.chat_models import init_chat_model
from langchain_anthropic import ChatAnthropic
from langchain_aws import ChatBedrockConverse
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import SecretStr

from examples.support_desk.app import build_desk
from examples.support_desk.database import Database
from governor.errors import ConfigurationError
from governor_langgraph import GovernorMiddleware, govern
from governor_langgraph.inspect import FoundTool, describe
from tests.langgraph import graphs
from tests.langgraph.fakes import OPEN, Streaming, once

KEY = SecretStr("k")
MODEL = Streaming(rule=once("search", {"q": "x"}))
FAKE = ("streaming:fake-1",)
SEARCH = (FoundTool(name="search", description="Search."),)
LOOPS = {
    "tool_loop": ("agent", "tools"),
    "react": ("agent", "tools"),
    "agent": ("model", "tools"),
}


@pytest.mark.parametrize("kind", [*graphs.SYNC, *graphs.ASYNC, "fan_out"])
def test_the_model_of_every_kind_of_graph_is_found(kind: str) -> None:
    build = {**graphs.SYNC, **graphs.ASYNC, "fan_out": graphs.fan_out}[kind]

    found = describe(build(MODEL))

    assert FAKE == found.models
    assert (SEARCH if kind in LOOPS else ()) == found.tools
    assert ((LOOPS[kind],) if kind in LOOPS else ()) == found.cycles
    assert found.size == len(found.nodes)


@pytest.mark.parametrize(
    ("kind", "paths"), [("subgraph", ("child", "child/agent")), ("graph_in_function", ("call", "call/agent"))]
)
def test_nodes_of_nested_graphs_have_the_paths_that_policies_name(kind: str, paths: tuple[str, ...]) -> None:
    assert paths == describe(graphs.SYNC[kind](MODEL)).nodes


def test_a_whole_application_is_described() -> None:
    found = describe(build_desk(MODEL, Database()))

    assert "support_desk" == found.name
    assert {"orders_desk/model", "orders_desk/tools", "writer"} <= set(found.nodes)
    assert 10 == len(found.tools)
    assert [("refunds_agent", "refunds_tools"), ("orders_desk/model", "orders_desk/tools")] == sorted(
        found.cycles, key=len, reverse=True
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda: ChatOpenAI(model="gpt-4o", api_key=KEY), "openai:gpt-4o"),
        (
            lambda: ChatAnthropic(model_name="claude-sonnet-4-5", api_key=KEY, timeout=None, stop=None),
            "anthropic:claude-sonnet-4-5",
        ),
        (
            lambda: ChatBedrockConverse(model="amazon.nova-micro-v1:0", region_name="us-east-1"),
            "bedrock_converse:amazon.nova-micro-v1:0",
        ),
    ],
    ids=["openai", "anthropic", "bedrock"],
)
def test_models_are_named_as_init_chat_model_names_them(model: Callable[[], Any], name: str) -> None:
    bound = model().bind_tools([graphs.search])

    found = describe(graphs.sequence_node(bound))

    assert (name,) == found.models
    assert SEARCH == found.tools


def test_a_model_whose_name_is_chosen_at_run_time_counts_by_its_default() -> None:
    chosen: Any = init_chat_model("openai:gpt-4o", configurable_fields=("model",))

    assert ("openai:gpt-4o",) == describe(graphs.function_node(chosen)).models


class Holder:
    def __init__(self, model: Any) -> None:
        self.models = {"main": [model]}

    def node(self, state: MessagesState) -> dict[str, Any]:
        return {"messages": [self.models["main"][0].invoke(state["messages"])]}

    def __call__(self, state: MessagesState) -> dict[str, Any]:
        return self.node(state)


def by_default(state: MessagesState, model: Any = MODEL) -> dict[str, Any]:
    return {"messages": [model.invoke(state["messages"])]}


def by_global(state: MessagesState) -> dict[str, Any]:
    def inner() -> Any:
        return MODEL.invoke(state["messages"])

    return {"messages": [inner()]}


def makes_its_own(state: MessagesState) -> dict[str, Any]:
    return {"messages": [Streaming(rule=once("search")).invoke(state["messages"])]}


def with_model(model: Any, state: MessagesState) -> dict[str, Any]:
    return {"messages": [model.invoke(state["messages"])]}


@tool
def ask_expert(question: str) -> str:
    """Ask another model."""
    return str(MODEL.invoke(question).text)


def wrapped(node: Callable[[MessagesState], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @functools.wraps(node)
    def timed(*args: Any) -> dict[str, Any]:
        return node(*args)

    return timed


def with_node(node: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = StateGraph(MessagesState)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    return graph.compile()


@pytest.mark.parametrize(
    "node",
    [
        Holder(MODEL).node,
        Holder(MODEL),
        by_default,
        by_global,
        functools.partial(with_model, MODEL),
        wrapped(by_global),
    ],
    ids=["bound method", "callable object", "default", "global in a function inside", "partial", "wrapped"],
)
def test_a_model_is_found_wherever_node_code_can_reach_it(node: Any) -> None:
    assert FAKE == describe(with_node(node)).models


def test_what_code_makes_while_it_runs_is_not_seen() -> None:
    assert () == describe(with_node(makes_its_own)).models


def test_a_model_inside_a_tool_is_found() -> None:
    found = describe(graphs.agent(ChatOpenAI(model="gpt-4o", api_key=KEY), [ask_expert]))

    assert {"openai:gpt-4o", *FAKE} == set(found.models)


def test_a_governed_graph_reads_like_the_graph_it_was_made_from() -> None:
    plain = graphs.agent(MODEL)
    capped = {**OPEN, "context": {"tool_results": {"cap": "2k"}}}

    assert describe(plain) == describe(govern(plain, OPEN))
    assert SEARCH == describe(graphs.agent(MODEL, middleware=[GovernorMiddleware(capped)])).tools


def test_a_graph_that_calls_itself_is_read_once() -> None:
    held: list[Any] = []

    def again(state: MessagesState) -> dict[str, Any]:
        return held[0].invoke(state)

    graph = with_node(again)
    held.append(graph)

    assert ("n",) == describe(graph).nodes


def test_a_builder_is_compiled_first_and_a_node_may_lead_to_itself() -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("again", by_global)
    graph.add_edge(START, "again")
    graph.add_edge("again", "again")

    assert (("again",),) == describe(graph).cycles


def test_anything_else_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a dict is not a graph"):
        describe({})
