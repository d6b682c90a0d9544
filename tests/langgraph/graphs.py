"""The ways in which people build graphs around a chat model, each as a function of the model."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict, cast

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Send


@tool
def search(q: str) -> str:
    """Search."""
    return f"found {q}"


class Fan(TypedDict):
    topics: list[str]
    notes: Annotated[list[str], operator.add]


def function_node(model: BaseChatModel, **options: Any) -> Any:
    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    return graph.compile(**options)


def async_node(model: BaseChatModel, **options: Any) -> Any:
    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    return graph.compile(**options)


def streaming_node(model: BaseChatModel, **options: Any) -> Any:
    def agent(state: MessagesState) -> dict[str, Any]:
        whole = None
        for chunk in model.stream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    return graph.compile(**options)


def async_streaming_node(model: BaseChatModel, **options: Any) -> Any:
    async def agent(state: MessagesState) -> dict[str, Any]:
        whole = None
        async for chunk in model.astream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    return graph.compile(**options)


def _messages(state: dict[str, Any]) -> Any:
    return state["messages"]


def sequence_node(model: BaseChatModel, **options: Any) -> Any:
    chain = RunnableLambda(_messages) | model | RunnableLambda(lambda m: {"messages": [m]})
    graph = StateGraph(MessagesState)
    graph.add_node("agent", cast("Any", chain))
    graph.add_edge(START, "agent")
    return graph.compile(**options)


def subgraph(model: BaseChatModel, **options: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("child", function_node(model))
    graph.add_edge(START, "child")
    return graph.compile(**options)


def graph_in_function(model: BaseChatModel, **options: Any) -> Any:
    child = function_node(model)

    def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": child.invoke({"messages": state["messages"]})["messages"]}

    graph = StateGraph(MessagesState)
    graph.add_node("call", call)
    graph.add_edge(START, "call")
    return graph.compile(**options)


def branch(model: BaseChatModel, **options: Any) -> Any:
    """The model is called by a conditional edge, outside of every node."""

    def route(state: MessagesState) -> str:
        return END if str(model.invoke(state["messages"]).text) else "again"

    graph = StateGraph(MessagesState)
    graph.add_node("again", lambda state: {"messages": []})
    graph.add_conditional_edges(START, route, [END, "again"])
    return graph.compile(**options)


def tool_loop(model: BaseChatModel, tools: list[Any] | None = None, **options: Any) -> Any:
    offered = tools or [search]
    bound = model.bind_tools(offered)

    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", ToolNode(offered))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile(**options)


def agent(model: BaseChatModel, tools: list[Any] | None = None, **options: Any) -> Any:
    return create_agent(model, tools or [search], **options)


def react(model: BaseChatModel, tools: list[Any] | None = None, **options: Any) -> Any:
    import warnings

    from langgraph.prebuilt import create_react_agent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_react_agent(model, tools or [search], **options)


def fan_out(model: BaseChatModel, **options: Any) -> Any:
    def plan(state: Fan) -> list[Send]:
        return [Send("worker", {"topic": topic}) for topic in state["topics"]]

    def worker(state: Any) -> dict[str, Any]:
        return {"notes": [str(model.invoke([HumanMessage(state["topic"])]).text)]}

    graph = StateGraph(Fan)
    graph.add_node("worker", worker)
    graph.add_conditional_edges(START, plan, ["worker"])
    return graph.compile(**options)


def workflow(model: BaseChatModel, **options: Any) -> Any:
    @entrypoint(**options)
    def flow(given: dict[str, list[AnyMessage]]) -> str:
        return str(model.invoke(given["messages"]).text)

    return flow


def task_workflow(model: BaseChatModel, **options: Any) -> Any:
    @task
    def ask(messages: list[AnyMessage]) -> str:
        return str(model.invoke(messages).text)

    @entrypoint(**options)
    def flow(given: dict[str, list[AnyMessage]]) -> str:
        return ask(given["messages"]).result()

    return flow


def async_workflow(model: BaseChatModel, **options: Any) -> Any:
    @entrypoint(**options)
    async def flow(given: dict[str, list[AnyMessage]]) -> str:
        return str((await model.ainvoke(given["messages"])).text)

    return flow


SYNC: dict[str, Callable[..., Any]] = {
    build.__name__: build
    for build in (
        function_node,
        streaming_node,
        sequence_node,
        subgraph,
        graph_in_function,
        branch,
        tool_loop,
        agent,
        react,
        workflow,
        task_workflow,
    )
}
"""Graphs that run both ways."""
ASYNC: dict[str, Callable[..., Any]] = {
    build.__name__: build for build in (async_node, async_streaming_node, async_workflow)
}
"""Graphs that run only async."""
