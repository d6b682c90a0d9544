"""From a specification to a compiled graph. Every body writes down that it ran, so that repetitions and omissions show."""

from __future__ import annotations

import operator
import threading
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, cast

from langchain_core.callbacks import dispatch_custom_event
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.managed import RemainingSteps
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, StreamWriter, interrupt
from typing_extensions import TypedDict

from tests.langgraph.fakes import Streaming, calling
from tests.langgraph.generated.specs import GraphSpec, NodeSpec

MOST = 40
"""Bodies of one thread after which no graph leads back any more."""


class State(TypedDict, total=False):
    """What every made-up graph works on."""

    log: Annotated[list[str], operator.add]
    count: Annotated[int, operator.add]
    messages: Annotated[list[AnyMessage], add_messages]
    left: RemainingSteps


class World:
    """One way of running a specification: its models, its counters, its infrastructure."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bodies: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.model = Streaming(rule=_rule)
        self.saver, self.store, self.cache = InMemorySaver(), InMemoryStore(), InMemoryCache()

        @tool
        def search(q: str) -> str:
            """Search."""
            self.ran("search")
            return f"found {q}"

        self.search = search

    def ran(self, name: str) -> None:
        with self.lock:
            self.bodies.append(name)

    def attempt(self, name: str) -> int:
        with self.lock:
            self.attempts[name] += 1
            return self.attempts[name]


def _rule(messages: list[BaseMessage]) -> AIMessage | str:
    if isinstance(messages[-1], ToolMessage):
        return f"so {messages[-1].text}"
    return calling("search", {"q": "x"}) if "search" in str(messages[-1].text) else f"about {messages[-1].text}"


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
        body = _BODIES.get(node.kind, _log)(world, name, node, after)
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
    return _in_kind(spec, _log(world, name, NodeSpec("log"), []))


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


# --- bodies: functions of (state, config, runtime, writer) -----------------------------------------------------------------


def _said(name: str, **more: Any) -> dict[str, Any]:
    return {"log": [name], "count": 1, **more}


def _log(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        return _said(name)

    return body


def _model(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        answers = [world.model.invoke([("user", f"{name} {n}")]) for n in range(node.number)]
        return _said(name, messages=answers[-1:])

    return body


def _streaming(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        return _said(f"{name} {''.join(str(chunk.text) for chunk in world.model.stream([('user', name)]))}")

    return body


def _runnable(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig) -> Any:
        world.ran(name)
        return _said(name)

    return RunnableLambda(body)


def _writer(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, *, writer: StreamWriter, **_: Any) -> Any:
        world.ran(name)
        for n in range(node.number):
            writer({"from": name, "n": n})
        get_stream_writer()({"again": name})
        return _said(name)

    return body


def _custom_events(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        dispatch_custom_event("progress", {"from": name}, config=config)
        return _said(name)

    return body


def _goto(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        return Command(goto=list(after) or END, update=_said(name))

    return body


def _retry(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, *, runtime: Runtime[Any], **_: Any) -> Any:
        world.ran(name)
        attempt = cast("Any", runtime).execution_info.node_attempt
        if attempt <= node.number:
            raise ConnectionError("try again")
        return _said(f"{name} {attempt}")

    return body


def _interrupt(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        return _said(f"{name} {interrupt({'ask': name})}")

    return body


def _interrupt_twice(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        first = interrupt("first")
        return _said(f"{name} {first} {interrupt('second')}")

    return body


def _swallow(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        try:
            raise ValueError(str(world.model.invoke([("user", name)]).text))
        except Exception as error:
            return _said(f"{name} {error}")

    return body


def _failing(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        if world.attempt(name) % 2:
            raise ValueError(f"{name} broke")
        return _said(name)

    return body


def _handled(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        raise ValueError(f"{name} broke")

    return body


def _store(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, *, runtime: Runtime[Any], **_: Any) -> Any:
        world.ran(name)
        assert runtime.store is not None
        known = runtime.store.get(("notes",), name)
        runtime.store.put(("notes",), name, {"n": (known.value["n"] if known else 0) + 1})
        return _said(f"{name} {known.value if known else 0}")

    return body


def _steps_left(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        return _said(f"{name} {state.get('left')}")

    return body


def _runtime(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, *, runtime: Runtime[Any], **_: Any) -> Any:
        world.ran(name)
        metadata: Any = config["metadata"]  # pyright: ignore[reportTypedDictNotRequiredAccess] - LangGraph sets it
        seen = {
            key: value
            for key, value in metadata.items()
            if key in ("langgraph_step", "langgraph_node", "langgraph_triggers")
        }
        return _said(f"{name} {runtime.context} {sorted(seen.items())} {sorted(config.get('tags') or [])}")

    return body


def _thread(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def body(state: State, config: RunnableConfig, **_: Any) -> Any:
        world.ran(name)
        said: list[str] = []
        worker = threading.Thread(target=lambda: said.append(str(world.model.invoke([("user", name)]).text)))
        worker.start()
        worker.join()
        return _said(f"{name} {said}")

    return body


def _sequence(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    def first(state: State) -> State:
        world.ran(f"{name} first")
        return state

    def second(state: State) -> dict[str, Any]:
        world.ran(f"{name} second")
        return _said(name)

    return RunnableLambda(first) | RunnableLambda(second)


def _subgraph_in_function(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    assert node.inner is not None
    inner = compiled(node.inner, world, f"{name}y", root=False)
    if node.inner.asynchronous:

        async def acall(state: State) -> Any:
            world.ran(name)
            return _said(f"{name} {len((await inner.ainvoke({'log': [], 'count': 0}))['log'])}")

        return acall

    def call(state: State) -> Any:
        world.ran(name)
        return _said(f"{name} {len(inner.invoke({'log': [], 'count': 0})['log'])}")

    return call


def _handoff(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
    """A nested graph whose only node may hand control to a node of this one."""
    asynchronous = node.inner is not None and node.inner.asynchronous

    def leaving(state: State) -> Any:
        world.ran(name)
        if after:
            return Command(graph=Command.PARENT, goto=after[0], update=_said(f"{name} left"))
        return _said(name)

    async def aleaving(state: State) -> Any:
        return leaving(state)

    graph = StateGraph(State)
    graph.add_node(f"{name}_leaving", aleaving if asynchronous else leaving)
    graph.add_edge(START, f"{name}_leaving")
    return graph.compile()


_BODIES: dict[str, Callable[[World, str, NodeSpec, list[str]], Any]] = {
    "model": _model,
    "streaming": _streaming,
    "runnable": _runnable,
    "writer": _writer,
    "custom_events": _custom_events,
    "goto": _goto,
    "retry": _retry,
    "interrupt": _interrupt,
    "interrupt_twice": _interrupt_twice,
    "swallow": _swallow,
    "failing": _failing,
    "handled": _handled,
    "store": _store,
    "steps_left": _steps_left,
    "runtime": _runtime,
    "thread": _thread,
    "sequence": _sequence,
    "subgraph_in_function": _subgraph_in_function,
    "handoff": _handoff,
}
