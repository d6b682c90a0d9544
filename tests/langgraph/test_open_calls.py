"""Whatever ends a run, no tool call of the model is left open in the thread, and the next turn on it works."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.runtime import RunControl

from governor import RunStopped
from governor.stores.memory import MemoryStore
from governor_langgraph import GovernorMiddleware, govern, watch, wrap_model
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, Whole, calling, policy

THREAD: Any = {"configurable": {"thread_id": "t"}}
ENDS = ["finish", "stop"]
ASYNC = [False, True]


class OpenCall(Exception):
    """What a provider says to a history in which a tool call has no result."""


def open_calls(messages: list[AnyMessage] | list[BaseMessage]) -> set[str]:
    asked = {call["id"] for message in messages for call in getattr(message, "tool_calls", ())}
    return asked - {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}


def strict(messages: list[BaseMessage]) -> AIMessage | str:
    """Refuses as providers do; asks for three calls when told to work; else says what it was told."""
    if open_calls(messages):
        raise OpenCall
    if messages[-1].text == "work":
        wanted = [calling("helper", {"q": str(n)}, call_id=f"c{n}").tool_calls[0] for n in range(3)]
        return AIMessage("", tool_calls=wanted)
    return f"heard {messages[-1].text}"


def helper_of(model: Any) -> Any:
    """A tool that asks a model, by whatever `model` is: a chat model or a graph."""

    @tool
    def helper(q: str) -> str:
        """Ask another model."""
        if hasattr(model, "get_graph") and hasattr(model, "nodes"):
            return str(model.invoke({"messages": [HumanMessage(q)]})["messages"][-1].text)
        return str(model.invoke([HumanMessage(q)]).text)

    return helper


def custom_node(model: Any, tools: list[Any], **options: Any) -> Any:
    """A tool loop whose tools are run by code of the user's own."""
    (only,), bound = tools, model.bind_tools(tools)

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [only.invoke(call) for call in state["messages"][-1].tool_calls]}  # pyright: ignore[reportAttributeAccessIssue] - an AIMessage

    graph = StateGraph(MessagesState)
    graph.add_node("agent", ask)
    graph.add_node("tools", answer)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile(**options)


BUILDS: dict[str, Any] = {
    "tool_loop": graphs.tool_loop,
    "agent": graphs.agent,
    "react": graphs.react,
    "custom": custom_node,
}


async def turn(app: Any, text: str, *, asynchronous: bool, config: Any = THREAD) -> list[Any]:
    """One turn; what it left in the thread, whether the run was returned or raised."""
    given = {"messages": [HumanMessage(text)]}
    with suppress(RunStopped):
        await app.ainvoke(given, config) if asynchronous else app.invoke(given, config)
    return app.get_state(config).values["messages"]


def budget(**limit: int) -> list[dict[str, Any]]:
    return [{"id": "b", "scope": "run", "limit": limit}]


@pytest.mark.parametrize("asynchronous", ASYNC)
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("name", list(BUILDS))
@pytest.mark.parametrize("inner", ["model", "graph"])
async def test_a_budget_exhausted_inside_of_a_tool_leaves_a_thread_that_goes_on(
    name: str, ends: str, asynchronous: bool, inner: str
) -> None:
    model = Streaming(rule=strict)
    inside = model if inner == "model" else graphs.function_node(model)
    bare = BUILDS[name](model, [helper_of(inside)], checkpointer=InMemorySaver())
    app = govern(bare, policy(budgets=budget(model_calls=2), on_exhausted=ends))

    with watch() as runs:
        left = await turn(app, "work", asynchronous=asynchronous)

    assert ["human", "ai", "tool", "tool", "tool"] == [message.type for message in left]
    assert ["error", "error", "success"] == sorted(message.status for message in left[2:])
    assert runs[0].stopped is not None
    assert "budget.exhausted" == runs[0].stopped.code
    assert "heard hello" == (await turn(app, "hello", asynchronous=asynchronous))[-1].text


@pytest.mark.parametrize("asynchronous", ASYNC)
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("name", ["tool_loop", "agent", "react"])
async def test_a_limit_passed_at_the_tools_themselves_leaves_a_thread_that_goes_on(
    name: str, ends: str, asynchronous: bool
) -> None:
    model, ran = Streaming(rule=strict), list[str]()

    @tool
    def helper(q: str) -> str:
        """Help."""
        ran.append(q)
        return q

    bare = BUILDS[name](model, [helper], checkpointer=InMemorySaver())
    app = govern(bare, policy(limits={"steps": 1}, on_exhausted=ends))

    left = await turn(app, "work", asynchronous=asynchronous)

    assert [] == ran
    assert ["error"] * 3 == [message.status for message in left[2:]]
    assert "heard hello" == (await turn(app, "hello", asynchronous=asynchronous))[-1].text


@pytest.mark.parametrize("asynchronous", ASYNC)
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize(
    "limit", [{"budgets": budget(model_calls=2)}, {"budgets": budget(tool_calls=1)}, {"limits": {"steps": 1}}]
)
async def test_a_stop_under_middleware_alone_leaves_a_thread_that_goes_on(
    limit: dict[str, Any], ends: str, asynchronous: bool
) -> None:
    model = Streaming(rule=strict)
    middleware: Any = GovernorMiddleware(policy(on_exhausted=ends, **limit))
    app = create_agent(model, [helper_of(model)], middleware=[middleware], checkpointer=InMemorySaver())

    left = await turn(app, "work", asynchronous=asynchronous)

    assert set() == open_calls(left)
    assert "error" in {message.status for message in left if isinstance(message, ToolMessage)}
    assert "heard hello" == (await turn(app, "hello", asynchronous=asynchronous))[-1].text


@pytest.mark.parametrize("asynchronous", ASYNC)
@pytest.mark.parametrize("inner", ["model", "graph"])
async def test_the_stop_of_a_run_that_a_tool_started_reaches_the_caller_once_its_answer_is_saved(
    asynchronous: bool, inner: str
) -> None:
    model, store = Streaming(rule=strict), MemoryStore()
    rules = policy(
        name="inner", budgets=[{"id": "b", "scope": "agent", "limit": {"model_calls": 1}}], on_exhausted="stop"
    )
    inside = (
        wrap_model(model, rules, store=store)
        if inner == "model"
        else govern(graphs.function_node(model), rules, store=store)
    )
    app = govern(graphs.tool_loop(model, [helper_of(inside)], checkpointer=InMemorySaver()), policy())

    given: Any = {"messages": [HumanMessage("work")]}
    with pytest.raises(RunStopped) as stopped:
        await app.ainvoke(given, THREAD) if asynchronous else app.invoke(given, THREAD)

    assert "b" == stopped.value.reason.rule
    left = app.get_state(THREAD).values["messages"]
    assert ["error", "error", "success"] == sorted(message.status for message in left[2:])
    assert "heard hello" == (await turn(app, "hello", asynchronous=asynchronous))[-1].text


def test_a_stop_of_an_outer_policy_inside_of_a_tool_leaves_no_open_call_in_the_inner_graphs_thread() -> None:
    model = Streaming(rule=strict)
    child = govern(graphs.tool_loop(model, [helper_of(model)], checkpointer=True), policy(name="inner"))
    parent = StateGraph(MessagesState)
    parent.add_node("child", child)
    parent.add_edge(START, "child")
    app = govern(
        parent.compile(checkpointer=InMemorySaver()), policy(budgets=budget(model_calls=2), on_exhausted="finish")
    )

    app.invoke({"messages": [HumanMessage("work")]}, THREAD)
    result = app.invoke({"messages": [HumanMessage("hello")]}, THREAD)

    assert "heard hello" == result["messages"][-1].text


def test_a_tool_whose_body_was_broken_off_by_a_stop_is_paid_for() -> None:
    store, model = MemoryStore(), Streaming(rule=strict)
    budgets = [*budget(model_calls=1), {"id": "tools", "scope": "agent", "limit": {"tool_calls": 9}}]

    govern(graphs.tool_loop(model, [helper_of(model)]), policy(budgets=budgets), store=store).invoke(
        {"messages": [HumanMessage("work")]}
    )

    (tools,) = [balance for balance in store.balances() if balance.unit == "tool_calls"]
    assert 0 == tools.reserved
    assert 1 <= tools.spent <= 3


def test_a_drain_that_governor_did_not_ask_for_is_left_to_who_asked() -> None:
    """A server that shuts down drains its runs; the graph inside of the tool goes on where it was, on resume."""
    from langgraph.errors import GraphDrained

    control = RunControl()
    model = Whole(rule=strict)

    def first(state: MessagesState) -> dict[str, Any]:
        control.request_drain("shutdown")
        return {"messages": []}

    graph = StateGraph(MessagesState)
    graph.add_node("first", first)
    graph.add_node("second", lambda state: {"messages": [("ai", "not reached")]})
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    app = govern(graphs.tool_loop(model, [helper_of(graph.compile())], checkpointer=InMemorySaver()), policy())

    with pytest.raises(GraphDrained, match="shutdown"):
        app.invoke({"messages": [HumanMessage("work")]}, THREAD, control=control)
