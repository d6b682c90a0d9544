"""From a specification to a compiled graph. Every body writes down that it ran, so that repetitions and omissions show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import CachePolicy, RetryPolicy, Send, StreamWriter

from tests.langgraph.generated.node_bodies import BODIES, log
from tests.langgraph.generated.specs import GraphSpec, NodeSpec
from tests.langgraph.generated.world import State, World

MOST = 40
"""Bodies of one thread after which no graph leads back any more."""


def compiled(spec: GraphSpec, world: World, path: str = "g", *, root: bool = True) -> Any:
    """The graph of a specification."""
    graph = StateGraph(State)
    names = [f"{path}{position}" for position in range(len(spec.nodes))]
    after: dict[int, list[str]] = {position: [] for position in range(len(names))}
    for position, sources in enumerate(spec.before):
        for source in sources:
            after[source].append(names[position])
    for position, (name, node) in enumerate(zip(names, spec.nodes, strict=True)):
        _add(graph, world, spec, name, node, after[position])
        if not spec.before[position]:
            graph.add_edge(START, name)
    last = names[-1]
    if spec.rounds and spec.nodes[-1].kind not in ("goto", "send"):
        rounds, back = spec.rounds, names[spec.back_to]

        def again(state: State) -> str:
            return back if state.get("count", 0) < 6 * rounds and len(state.get("log", [])) < MOST else END

        graph.add_conditional_edges(last, again, [back, END])
    return graph.compile(
        checkpointer=world.saver if root else None,
        store=world.store if root else None,
        cache=world.cache if root else None,
    )


def _add(graph: Any, world: World, spec: GraphSpec, name: str, node: NodeSpec, after: list[str]) -> None:
    if node.kind == "tools":
        _tool_loop(graph, world, spec, name, after)
        return
    if node.kind == "subgraph":
        assert node.inner is not None
        action: Any = compiled(node.inner, world, f"{name}x", root=False)
    else:
        body = BODIES.get(node.kind, log)(world, name, node, after)
        action = body if node.kind in _AS_THEY_ARE else _in_kind(spec, body)
    graph.add_node(name, action, **_options(spec, world, name, node, after))
    if node.kind == "send":
        _sends(graph, world, spec, name, node, after)
    elif node.kind != "goto":
        _lead(graph, name, after)


_AS_THEY_ARE = ("runnable", "sequence", "subgraph_in_function", "handoff")
"""Kinds whose body is a node already."""


def _options(spec: GraphSpec, world: World, name: str, node: NodeSpec, after: list[str]) -> dict[str, Any]:
    retry = RetryPolicy(max_attempts=4, initial_interval=0.0, jitter=False, retry_on=ConnectionError)
    return {
        "goto": {"destinations": tuple(after) or (END,)},
        "deferred": {"defer": True},
        "retry": {"retry_policy": retry},
        "cached": {"cache_policy": CachePolicy(key_func=lambda *_, **__: name)},
        "handled": {"error_handler": _pure(spec, world, f"{name}_handler")},
    }.get(node.kind, {})


def _lead(graph: Any, name: str, after: list[str]) -> None:
    for target in after:
        graph.add_edge(name, target)


def _in_kind(spec: GraphSpec, body: Callable[..., Any]) -> Any:
    """The body as a sync or an async function, whose parameters LangGraph injects by name either way."""
    if not spec.asynchronous:
        return body

    async def node(state: State, config: RunnableConfig, *, runtime: Runtime[Any], writer: StreamWriter) -> Any:
        return body(state, config, runtime=runtime, writer=writer)

    return node


def _pure(spec: GraphSpec, world: World, name: str) -> Any:
    return _in_kind(spec, log(world, name, NodeSpec("log"), []))


def _sends(graph: Any, world: World, spec: GraphSpec, name: str, node: NodeSpec, after: list[str]) -> None:
    worker = f"{name}_worker"
    graph.add_node(worker, _pure(spec, world, worker))
    graph.add_conditional_edges(name, lambda state: [Send(worker, {"count": n}) for n in range(node.number)], [worker])
    _lead(graph, worker, after)


def _tool_loop(graph: Any, world: World, spec: GraphSpec, name: str, after: list[str]) -> None:
    bound = world.model.bind_tools([world.search])

    def ask(state: State, config: RunnableConfig, **_: Any) -> dict[str, Any]:
        world.ran(name)
        messages = state.get("messages", [])
        if not messages or not isinstance(messages[-1], ToolMessage):
            messages = [*messages, ("user", "search it")]
        return {"log": [name], "count": 1, "messages": [bound.invoke(messages)]}

    async def aask(state: State, config: RunnableConfig) -> dict[str, Any]:
        world.ran(name)
        messages = state.get("messages", [])
        if not messages or not isinstance(messages[-1], ToolMessage):
            messages = [*messages, ("user", "search it")]
        return {"log": [name], "count": 1, "messages": [await bound.ainvoke(messages)]}

    tools = f"{name}_tools"
    graph.add_node(name, aask if spec.asynchronous else ask)
    graph.add_node(tools, ToolNode([world.search]))
    graph.add_edge(tools, name)

    def route(state: State) -> Any:
        return tools if getattr(state.get("messages", [None])[-1], "tool_calls", None) else (after or END)

    graph.add_conditional_edges(name, route, [tools, *(after or [END])])
