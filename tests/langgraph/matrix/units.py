"""Units: graphs in which a model or a tool is called in one particular way. Each takes and gives messages."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Command, RetryPolicy, Send
from typing_extensions import TypedDict

from tests.langgraph.fakes import calling
from tests.langgraph.matrix import bodies
from tests.langgraph.matrix.ground import Ground


@dataclass(frozen=True)
class Unit:
    """How to build one, what it calls when everything is allowed, and whether it runs async alone."""

    build: Callable[[Ground], Any]
    calls: int
    tools: int = 0
    asynchronous: bool = False
    blocking: bool = False
    """Whether it runs sync alone (LangGraph refuses to run a generator function async)."""


UNITS: dict[str, Unit] = {}


def unit(calls: int = 1, tools: int = 0, *, asynchronous: bool = False, blocking: bool = False) -> Callable[[Any], Any]:
    def register(build: Callable[[Ground], Any]) -> Callable[[Ground], Any]:
        UNITS[build.__name__] = Unit(build, calls, tools, asynchronous, blocking)
        return build

    return register


def _said(g: Ground) -> str:
    return bodies.invoke(g)


def asks_for(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda state: {"messages": [calling(name, {"q": "x"})]}


# --- every way of calling a model, in the plainest node -----------------------------------------------------------------


def _in_node(body: bodies.Body, g: Ground) -> Any:
    return g.graph(node=g.node(partial(body, g)))


def _in_anode(body: bodies.ABody, g: Ground) -> Any:
    return g.graph(node=g.anode(partial(body, g)))


for _name, (_body, _calls) in bodies.SYNC.items():
    UNITS[f"call {_name}"] = Unit(partial(_in_node, _body), _calls)
for _name, (_abody, _calls) in bodies.ASYNC.items():
    UNITS[f"call {_name}"] = Unit(partial(_in_anode, _abody), _calls, asynchronous=True)


# --- kinds of nodes -----------------------------------------------------------------------------------------------------


@unit(blocking=True)
def generator_node(g: Ground) -> Any:
    def node(state: MessagesState) -> Iterator[dict[str, Any]]:
        g.seen.ran("node")
        yield {"messages": [AIMessage(_said(g))]}

    return g.graph(node=node)


@unit(asynchronous=True)
def async_generator_node(g: Ground) -> Any:
    async def node(state: MessagesState) -> Any:
        g.seen.ran("node")
        yield {"messages": [AIMessage(await bodies.ainvoke(g))]}

    return g.graph(node=node)


@unit()
def runnable_node(g: Ground) -> Any:
    return g.graph(node=RunnableLambda(g.node(partial(_said, g))))


@unit()
def sequence_node(g: Ground) -> Any:
    return g.graph(node=cast("Any", RunnableLambda(lambda state: state) | RunnableLambda(g.node(partial(_said, g)))))


@unit()
def callable_object(g: Ground) -> Any:
    class Node:
        def __call__(self, state: MessagesState) -> dict[str, Any]:
            g.seen.ran("node")
            return {"messages": [AIMessage(_said(g))]}

    return g.graph(node=Node())


@unit(asynchronous=True)
def async_callable_object(g: Ground) -> Any:
    class Node:
        async def __call__(self, state: MessagesState) -> dict[str, Any]:
            g.seen.ran("node")
            return {"messages": [AIMessage(await bodies.ainvoke(g))]}

    return g.graph(node=Node())


@unit()
def deferred_node(g: Ground) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("first", lambda state: {"messages": []})
    graph.add_node("late", g.node(partial(_said, g), "late"), defer=True)
    graph.add_edge(START, "first")
    graph.add_edge("first", "late")
    return graph.compile(name="unit")


@unit(2)
def error_handler_node(g: Ground) -> Any:
    def failing(state: MessagesState) -> dict[str, Any]:
        g.seen.ran("failing")
        _said(g)
        raise ValueError("a bug")

    graph = StateGraph(MessagesState)
    graph.add_node("failing", failing, error_handler=g.node(partial(_said, g), "handler"))
    graph.add_edge(START, "failing")
    return graph.compile(name="unit")


@unit(3)
def retried_node(g: Ground) -> Any:
    tries: Counter[str] = Counter()

    def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        g.seen.ran("node")
        step = config["metadata"]["langgraph_checkpoint_ns"]  # pyright: ignore[reportTypedDictNotRequiredAccess] - LangGraph sets it
        tries[step] += 1
        said = _said(g)
        if tries[step] < 3:
            raise ConnectionError("try again")
        return {"messages": [AIMessage(said)]}

    graph = StateGraph(MessagesState)
    policy = RetryPolicy(max_attempts=3, initial_interval=0.0, jitter=False, retry_on=ConnectionError)
    graph.add_node("node", node, retry_policy=policy)
    graph.add_edge(START, "node")
    return graph.compile(name="unit")


@unit()
def cached_node(g: Ground) -> Any:
    graph = StateGraph(MessagesState)
    never = iter(range(1_000_000))  # a key of its own for every run: a hit would rightly call nobody
    graph.add_node(
        "node", g.node(partial(_said, g)), cache_policy=CachePolicy(key_func=lambda *_, **__: str(next(never)))
    )
    graph.add_edge(START, "node")
    return graph.compile(name="unit", cache=InMemoryCache())


@unit(asynchronous=True)
def node_with_timeout(g: Ground) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", g.anode(partial(bodies.ainvoke, g)), timeout=30)
    graph.add_edge(START, "node")
    return graph.compile(name="unit")


# --- graphs in graphs ---------------------------------------------------------------------------------------------------


@unit()
def subgraph_node(g: Ground) -> Any:
    return g.graph(outer=g.graph(inner=g.node(partial(_said, g), "inner")))


@unit()
def subgraph_in_function(g: Ground) -> Any:
    inner = g.graph(inner=g.node(partial(_said, g), "inner"))
    return g.graph(outer=lambda state: {"messages": inner.invoke(state)["messages"][-1:]})


@unit(asynchronous=True)
def subgraph_in_async_function(g: Ground) -> Any:
    inner = g.graph(inner=g.anode(partial(bodies.ainvoke, g), "inner"))

    async def outer(state: MessagesState) -> dict[str, Any]:
        return {"messages": (await inner.ainvoke(state))["messages"][-1:]}

    return g.graph(outer=outer)


@unit()
def subgraph_in_thread(g: Ground) -> Any:
    inner = g.graph(inner=g.node(partial(_said, g), "inner"))

    def outer(state: MessagesState) -> dict[str, Any]:
        thread = threading.Thread(target=bodies.swallowing, args=([], lambda: inner.invoke(state)))
        thread.start()
        thread.join()
        return {"messages": []}

    return g.graph(outer=outer)


@unit(1, 1)
def subgraph_in_tool(g: Ground) -> Any:
    inner = g.graph(inner=g.node(partial(_said, g), "inner"))
    work = g.tool("work", lambda q: str(inner.invoke({"messages": [("user", q)]})["messages"][-1].text))
    return g.graph(ask=asks_for("work"), tools=ToolNode([work]))


@unit(2)
def fan_out(g: Ground) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("worker", g.node(partial(_said, g), "worker"))
    graph.add_conditional_edges(START, lambda state: [Send("worker", state), Send("worker", state)], ["worker"])
    return graph.compile(name="unit")


@unit()
def goto(g: Ground) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("first", lambda state: Command(goto="second"), destinations=("second",))
    graph.add_node("second", g.node(partial(_said, g), "second"))
    graph.add_edge(START, "first")
    return graph.compile(name="unit")


@unit(2)
def handoff_to_parent(g: Ground) -> Any:
    def leaving(state: MessagesState) -> Any:
        g.seen.ran("leaving")
        return Command(graph=Command.PARENT, goto="second", update={"messages": [AIMessage(_said(g))]})

    graph = StateGraph(MessagesState)
    graph.add_node("first", g.graph(leaving=leaving), destinations=("second",))
    graph.add_node("second", g.node(partial(_said, g), "second"))
    graph.add_edge(START, "first")
    return graph.compile(name="unit")


def _named(flow: Any) -> Any:
    """Supervisors and swarms know their agents by name."""
    flow.name = "unit"
    return flow


# --- the functional API -------------------------------------------------------------------------------------------------


@unit()
def entry_point(g: Ground) -> Any:
    @entrypoint()
    def unit(given: dict[str, Any]) -> dict[str, Any]:
        return g.node(partial(_said, g))(given)

    return _named(unit)


@unit(2)
def tasks(g: Ground) -> Any:
    @task
    def ask(text: str) -> str:
        g.seen.ran("ask")
        return _said(g)

    @entrypoint()
    def unit(given: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [AIMessage(" ".join(each.result() for each in (ask("a"), ask("b"))))]}

    return _named(unit)


@unit(1, asynchronous=True)
def async_tasks(g: Ground) -> Any:
    @task
    async def ask(text: str) -> str:
        g.seen.ran("ask")
        return await bodies.ainvoke(g)

    @entrypoint()
    async def unit(given: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [AIMessage(await cast("Awaitable[str]", ask("a")))]}

    return _named(unit)


# --- outside of nodes ---------------------------------------------------------------------------------------------------


@unit()
def conditional_edge(g: Ground) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", lambda state: {"messages": []})
    graph.add_edge(START, "node")
    graph.add_conditional_edges("node", lambda state: END if _said(g) else "node", [END, "node"])
    return graph.compile(name="unit")


@unit()
def starting_edge(g: Ground) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", lambda state: {"messages": []})
    graph.add_conditional_edges(START, lambda state: "node" if _said(g) else END, ["node", END])
    return graph.compile(name="unit")


@unit()
def reducer(g: Ground) -> Any:
    def adding(left: Any, right: Any) -> Any:
        if right == "ask":
            _said(g)
            return left
        return add_messages(left, right)

    State = TypedDict("State", {"messages": Annotated[list[AnyMessage], adding]})  # noqa: UP013 - annotations are text here, and the reducer is local
    graph = StateGraph(State)
    graph.add_node("node", lambda state: {"messages": "ask"})
    graph.add_edge(START, "node")
    return graph.compile(name="unit")


from tests.langgraph.matrix import tool_units  # noqa: E402 - adds the units about tools

__all__ = ["UNITS", "Unit", "asks_for", "tool_units", "unit"]
