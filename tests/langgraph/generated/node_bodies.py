"""Bodies of nodes, one for each kind. Every one writes down that it ran, so that repetitions and omissions show."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

from langchain_core.callbacks import dispatch_custom_event
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, StreamWriter, interrupt

from tests.langgraph.generated.specs import NodeSpec
from tests.langgraph.generated.world import State, World

# --- bodies: functions of (state, config, runtime, writer) -----------------------------------------------------------------


def _said(name: str, **more: Any) -> dict[str, Any]:
    return {"log": [name], "count": 1, **more}


def log(world: World, name: str, node: NodeSpec, after: list[str]) -> Any:
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
    from tests.langgraph.generated.building import compiled  # which makes its nodes from these bodies

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


BODIES: dict[str, Callable[[World, str, NodeSpec, list[str]], Any]] = {
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
