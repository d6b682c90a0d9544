"""Under a policy that allows everything, a governed graph is the graph: outputs, events, checkpoints, drawings, contexts."""

from __future__ import annotations

import contextvars
import re
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from governor_langgraph import govern
from tests.langgraph import graphs
from tests.langgraph.fakes import OPEN, Streaming, once, policy
from tests.langgraph.modes import plain

GIVEN: Any = {"messages": [("user", "what is x?")]}
STREAM_MODES = ["values", "updates", "custom", "messages", "checkpoints", "tasks", "debug"]
BUILDS = ["function_node", "streaming_node", "subgraph", "tool_loop", "agent", "react"]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.+]+|lc_run-+\S+")


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    """The graph, bare and governed, each with a model and a saver of its own."""

    def build() -> Any:
        kept = {key: make() for key, make in options.items()}
        return graphs.SYNC[name](Streaming(rule=once("search", {"q": "x"}, "it is a letter")), **kept)

    return build(), govern(build(), OPEN)


def shape(value: Any) -> str:
    """Everything a chunk says, without ids and times."""
    return UUID.sub("<id>", repr(_shape(value)))


def _shape(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return value.model_dump(exclude={"id"})
    if isinstance(value, dict):
        return {key: _shape(each) for key, each in value.items() if key not in ("id", "parent_run_id", "run_id")}
    if isinstance(value, (list, tuple)):
        return [_shape(each) for each in value]
    return value


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("name", BUILDS)
def test_every_stream_mode_yields_the_same_chunks(name: str, subgraphs: bool) -> None:
    bare, app = pair(name, checkpointer=InMemorySaver)
    config = {"configurable": {"thread_id": "t"}}

    expected = [shape(c) for c in bare.stream(GIVEN, config, stream_mode=STREAM_MODES, subgraphs=subgraphs)]
    actual = [shape(c) for c in app.stream(GIVEN, config, stream_mode=STREAM_MODES, subgraphs=subgraphs)]

    assert expected == actual


@pytest.mark.parametrize("name", BUILDS)
async def test_every_async_stream_mode_yields_the_same_chunks(name: str) -> None:
    bare, app = pair(name, checkpointer=InMemorySaver)
    config = {"configurable": {"thread_id": "t"}}

    expected = [shape(c) async for c in bare.astream(GIVEN, config, stream_mode=STREAM_MODES)]
    actual = [shape(c) async for c in app.astream(GIVEN, config, stream_mode=STREAM_MODES)]

    assert expected == actual


@pytest.mark.parametrize("name", BUILDS)
async def test_astream_events_are_the_same(name: str) -> None:
    bare, app = pair(name)

    expected = [shape(event) async for event in bare.astream_events(GIVEN, version="v2")]
    actual = [shape(event) async for event in app.astream_events(GIVEN, version="v2")]

    assert expected == actual


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize("name", BUILDS)
def test_events_of_the_third_version_are_the_same(name: str) -> None:
    bare, app = pair(name)

    def events(graph: Any) -> list[str]:
        run = graph.stream_events(GIVEN, version="v3")
        return [shape(event.get("params", {}).get("data")) for event in run]

    assert events(bare) == events(app)


@pytest.mark.parametrize("name", BUILDS)
def test_checkpoints_hold_the_same(name: str) -> None:
    bare, app = pair(name, checkpointer=InMemorySaver)
    config = {"configurable": {"thread_id": "t"}}

    bare.invoke(GIVEN, config)
    app.invoke(GIVEN, config)

    expected = [(shape(s.values), s.next, s.metadata) for s in bare.get_state_history(config)]
    actual = [(shape(s.values), s.next, s.metadata) for s in app.get_state_history(config)]
    assert expected == actual


@pytest.mark.parametrize("name", [*BUILDS, "sequence_node", "branch"])
def test_drawings_and_subgraphs_are_the_same(name: str) -> None:
    bare, app = pair(name)

    assert bare.get_graph(xray=True).draw_mermaid() == app.get_graph(xray=True).draw_mermaid()
    assert shape(bare.get_graph().to_json()) == shape(app.get_graph().to_json())
    assert [name for name, _ in bare.get_subgraphs()] == [name for name, _ in app.get_subgraphs()]


def test_a_governed_graph_has_the_class_of_its_graph() -> None:
    bare, app = pair("function_node")

    assert isinstance(app, CompiledStateGraph)
    assert (type(bare).__module__, type(bare).__qualname__) == (type(app).__module__, type(app).__qualname__)
    assert type(app) is type(govern(graphs.function_node(Streaming(rule=once("search"))), OPEN))


def test_the_graph_that_is_governed_stays_as_it_is() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    bare = graphs.subgraph(model)
    before = {name: (id(node), id(node.bound), type(node)) for name, node in bare.nodes.items()}

    app = govern(bare, policy(budgets=[{"id": "none", "scope": "run", "limit": {"model_calls": 1}}]))
    app.invoke(GIVEN)

    assert before == {name: (id(node), id(node.bound), type(node)) for name, node in bare.nodes.items()}
    assert app.nodes["child"].bound is not bare.nodes["child"].bound
    assert len(bare.invoke(GIVEN)["messages"]) == 2


def test_a_state_graph_is_compiled_first() -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [("ai", "an answer")]})
    graph.add_edge(START, "agent")

    assert govern(graph, OPEN).invoke(GIVEN)["messages"][-1].text == "an answer"


@pytest.mark.parametrize(
    "derive",
    [lambda app: app.copy(), lambda app: app.with_config(tags=["t"]), lambda app: app],
    ids=["copy", "with_config", "itself"],
)
def test_copies_of_a_governed_graph_are_governed(derive: Any) -> None:
    model = Streaming(rule=lambda messages: "an answer")
    app = derive(govern(graphs.function_node(model), policy(budgets=[budget("run", model_calls=1)])))

    app.invoke(GIVEN)

    assert len(model.calls) == 1
    assert "AIMessage" in repr(app.invoke(GIVEN))


def budget(scope: str, **limit: Any) -> dict[str, Any]:
    return {"id": f"b-{scope}", "scope": scope, "limit": limit}


def test_interrupt_and_resume_run_as_ever() -> None:
    def build() -> Any:
        model = Streaming(rule=lambda messages: "an answer")

        def node(state: MessagesState) -> dict[str, Any]:
            first = model.invoke(state["messages"])
            said = interrupt("go on?")
            return {"messages": [first, ("user", said)]}

        graph = StateGraph(MessagesState)
        graph.add_node("node", node)
        graph.add_edge(START, "node")
        return graph.compile(checkpointer=InMemorySaver())

    config = {"configurable": {"thread_id": "t"}}
    results: list[Any] = []
    for graph in (build(), govern(build(), OPEN)):
        paused = graph.invoke(GIVEN, config)
        assert paused["__interrupt__"][0].value == "go on?"
        results.append(plain(graph.invoke(Command(resume="yes"), config)))

    assert results[0] == results[1]


def test_retries_enter_the_same_step_again_and_count_it_once() -> None:
    from governor_langgraph import watch

    attempts: list[int] = []

    def node(state: MessagesState) -> dict[str, Any]:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("again")
        return {"messages": [("ai", "an answer")]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node, retry_policy=RetryPolicy(max_attempts=3, initial_interval=0, jitter=False))
    graph.add_edge(START, "node")
    app = govern(graph, OPEN)

    with watch() as runs:
        app.invoke(GIVEN)

    assert 3 == len(attempts)
    assert 1 == runs[0].state.steps


def test_errors_of_nodes_reach_the_caller_unchanged() -> None:
    class Broken(Exception):
        pass

    def node(state: MessagesState) -> dict[str, Any]:
        raise Broken("as it is")

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")

    with pytest.raises(Broken, match="as it is"):
        govern(graph, OPEN).invoke(GIVEN)


asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked", default="nobody")


@pytest.mark.parametrize("name", ["function_node", "subgraph"])
def test_node_code_sees_the_callers_context(name: str) -> None:
    seen: list[str] = []

    def rule(messages: Any) -> str:
        seen.append(asked.get())
        return "an answer"

    app = govern(graphs.SYNC[name](Streaming(rule=rule)), OPEN)
    token = asked.set("the caller")
    try:
        app.invoke(GIVEN)
    finally:
        asked.reset(token)

    assert ["the caller"] == seen


async def test_no_context_variable_of_governor_is_seen_between_chunks() -> None:
    from opentelemetry import context as otel

    from governor_langgraph.context import run_var, step_var

    app = govern(graphs.streaming_node(Streaming(rule=lambda messages: "a b c d")), OPEN)
    before = otel.get_current()

    for _ in app.stream(GIVEN, stream_mode="messages"):
        assert (None, None, before) == (run_var.get(), step_var.get(), otel.get_current())
    async for _ in app.astream(GIVEN, stream_mode="messages"):
        assert (None, None, before) == (run_var.get(), step_var.get(), otel.get_current())

    assert (None, None) == (run_var.get(), step_var.get())


def test_messages_are_sent_as_the_objects_they_are() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    app = govern(graphs.function_node(model), OPEN)

    sent = app.invoke(GIVEN)["messages"][0]

    assert sent is model.calls.seen[0][1][0]
