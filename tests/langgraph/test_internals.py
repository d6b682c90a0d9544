"""What governor takes from LangGraph and LangChain without a promise: each name, and what broke when it is no longer what it was."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.language_models.chat_model_stream import ChatModelStream
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers.event_stream import _AstreamEventsCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode
from langgraph.pregel import Pregel
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.types import Command, Send, interrupt

from governor_langgraph import chat_hooks, completion_hooks, inner, provider_hooks
from governor_langgraph import langgraph_internals as internals
from tests.house.sources import ROOT
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, Whole, calling

MODEL = Streaming(rule=lambda _: "one two")
GIVEN: Any = {"messages": [("user", "hi")]}


@tool
def look(q: str, state: Annotated[dict[str, Any], InjectedState]) -> str:
    """Look."""
    return f"{q} {len(state['messages'])}"


def asking(*questions: str) -> Any:
    calls = [call for q in questions for call in calling("look", {"q": q}, call_id=q).tool_calls]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def with_tools(node: ToolNode) -> Any:
    return StateGraph(MessagesState).add_node("tools", node).add_edge(START, "tools").compile()


def of_a_node(**options: Any) -> dict[str, Any]:
    """The `configurable` that a node gets."""
    seen: list[dict[str, Any]] = []

    def node(state: MessagesState, config: RunnableConfig) -> None:
        seen.append(dict(config.get("configurable", {})))

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.compile(**options).invoke(GIVEN, {"configurable": {"thread_id": "t"}})
    return seen[0]


# --- configs ----------------------------------------------------------------------------------------------------------


def test_a_nodes_config_carries_the_runtime_and_its_control() -> None:
    conf = of_a_node()

    assert internals.runtime_of(conf) is not None, "a node's config no longer carries LangGraph's runtime"
    assert hasattr(internals.control_of(conf), "request_drain"), "the runtime has no control that can be asked to drain"
    assert internals.runtime_of(conf).execution_info.node_attempt == 1, "the runtime does not count a node's attempts"
    assert internals.control_of({}) is None


def test_a_nodes_config_tells_that_it_is_a_task_and_hands_the_checkpointer_down() -> None:
    saver = InMemorySaver()
    conf = of_a_node(checkpointer=saver)

    assert internals.is_task(conf), "a nested graph can no longer be told from a root by its config"
    assert not internals.is_task({"thread_id": "t"})
    assert internals.checkpointer_of(conf) is saver, "a nested graph is no longer handed the checkpointer by its config"


def test_a_resumed_graph_tells_its_nodes_so() -> None:
    seen: list[bool] = []

    def node(state: MessagesState, config: RunnableConfig) -> None:
        seen.append(internals.is_resuming(config.get("configurable", {})))
        interrupt("?")

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    app, config = graph.compile(checkpointer=InMemorySaver()), RunnableConfig(configurable={"thread_id": "t"})
    app.invoke(GIVEN, config)
    again: Any = Command(resume="!")
    app.invoke(again, config)

    assert [False, True] == seen, "a node's config no longer says that its graph is being resumed"


def test_the_config_that_code_runs_under_is_in_a_variable() -> None:
    found = RunnableLambda(lambda _: internals.var_child_runnable_config.get()).invoke("x", {"tags": ["mine"]})

    assert found is not None, "var_child_runnable_config is no longer set for what a runnable runs"
    assert ["mine"] == found.get("tags")


def test_configs_are_merged_as_langgraph_merges_them() -> None:
    merged = internals.ensure_config({"tags": ["a"]}, {"configurable": {"thread_id": "t"}})

    assert (["a"], "t") == (merged.get("tags"), merged.get("configurable", {}).get("thread_id"))


def test_what_branches_send_goes_through_the_channel_of_tasks() -> None:
    assert internals.TASKS in graphs.fan_out(MODEL).channels, f"compiled graphs have no channel {internals.TASKS}"
    writer = internals.ChannelWrite([internals.ChannelWriteTupleEntry(mapper=lambda send: [(internals.TASKS, send)])])
    assert "x" == writer.invoke("x", {"configurable": {"__pregel_send": lambda writes: None}}), (
        "ChannelWrite no longer passes its input on"
    )


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_branch_knows_how_many_were_sent_with_it_before_they_begin(concurrency: int) -> None:
    seen: list[int] = []

    def look_around(_: Any) -> str:
        seen.append(internals.sent_beside((internals.var_child_runnable_config.get() or {}).get("configurable", {})))
        return "x"

    given: Any = {"topics": ["a", "b", "c"], "notes": []}
    graphs.fan_out(Whole(rule=look_around)).invoke(given, {"max_concurrency": concurrency})

    assert [3, 3, 3] == seen, "the channel of what was sent is emptied earlier, or is read in another way"


# --- nodes ------------------------------------------------------------------------------------------------------------


def test_what_a_node_executes_is_a_cached_property_that_can_be_built_anew() -> None:
    node = graphs.function_node(MODEL).nodes["agent"]

    assert isinstance(node, internals.PregelNode)
    assert hasattr(internals.PregelNode.node, "func"), "PregelNode.node is no longer a cached property"
    built = internals.executed(node)
    assert isinstance(built, internals.RunnableSeq), (
        "a node no longer executes a RunnableSeq of its body and its writers"
    )
    assert built is not node.node
    assert node.bound is built.steps[0], "the first step of what a node executes is no longer its body"


def test_a_nodes_body_is_a_runnable_callable_and_one_without_a_body_has_the_default() -> None:
    app = graphs.function_node(MODEL)

    assert isinstance(app.nodes["agent"].bound, internals.RunnableCallable)
    assert app.nodes[START].bound is internals.DEFAULT_BOUND, "a node without a body is no longer told by DEFAULT_BOUND"


def test_tasks_get_their_runnable_from_where_it_is_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    original = internals.algorithm.get_runnable_for_task
    monkeypatch.setattr(
        internals.algorithm, "get_runnable_for_task", lambda func: (made.append(func), original(func))[1]
    )

    @task
    def work() -> int:
        return 1

    @entrypoint()
    def flow(given: int) -> int:
        return work().result() + given

    assert 3 == flow.invoke(2)
    assert len(made) == 1, "@task bodies are no longer made by pregel._algo.get_runnable_for_task when they are called"


# --- ToolNode ---------------------------------------------------------------------------------------------------------


def test_a_tool_node_keeps_its_wrap_hooks_where_they_can_be_replaced() -> None:
    seen: list[str] = []

    def hook(request: Any, execute: Any) -> Any:
        seen.append(request.tool_call["name"])
        return execute(request)

    node = ToolNode([look])
    assert (None, None) == internals.wrap_hooks(node)
    internals.set_wrap_hooks(node, hook, None)

    assert (hook, None) == internals.wrap_hooks(ToolNode([look], wrap_tool_call=hook))
    with_tools(node).invoke(asking("a"))
    assert ["look"] == seen, "ToolNode no longer calls the hook in _wrap_tool_call"


async def test_a_tool_node_runs_every_call_by_run_one() -> None:
    node, seen = ToolNode([look]), list[str]()
    one, aone = internals.run_one(node)

    def replaced(call: Any, *rest: Any) -> Any:
        seen.append(call["id"])
        return one(call, *rest)

    async def areplaced(call: Any, *rest: Any) -> Any:
        seen.append(call["id"])
        return await aone(call, *rest)

    internals.set_run_one(node, replaced, areplaced)
    app = with_tools(node)
    app.invoke(asking("a", "b"))
    await app.ainvoke(asking("c"))

    assert ["a", "b", "c"] == sorted(seen), "ToolNode no longer runs each of its calls by _run_one and _arun_one"


def test_a_tool_node_tells_its_functions_its_calls_and_its_key() -> None:
    node = ToolNode([look], messages_key="talk")

    assert "talk" == internals.messages_key(node)
    assert (node.func, node.afunc) == internals.own_functions(node), "func and afunc are not _func and _afunc any more"
    calls = internals.calls_in(ToolNode([look]), asking("a", "b"))
    assert ["a", "b"] == [call["id"] for call in calls]
    with pytest.raises(ValueError, match=r"\S"):
        internals.calls_in(ToolNode([look]), {"messages": []})


# --- tools and models -------------------------------------------------------------------------------------------------


def test_injected_arguments_are_not_what_the_model_asked_for() -> None:
    assert {"q": "x"} == internals.visible_args(look, {"q": "x", "state": {}})


def test_a_model_says_whether_it_streams_and_converts_what_it_is_given() -> None:
    assert internals.streams(MODEL, {}, asynchronous=False)
    assert internals.streams(MODEL, {}, asynchronous=True)
    assert not internals.streams(Whole(rule=lambda _: "x"), {}, asynchronous=False)
    assert [HumanMessage("hi")] == internals.messages_given(MODEL, "hi")
    assert "hi" == internals.prompt_given(FakeListLLM(responses=["x"]), "hi")
    assert {} == internals.combined_outputs(MODEL, [{}, {}])


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_an_event_stream_starts_by_what_set_start_was_given() -> None:
    opened = MODEL.stream_events("hi", version="v3")

    assert callable(internals.starter(opened)), "an event stream keeps what starts it no longer in _ensure_started"
    assert "one two" == str(opened.text)


def test_two_accumulators_can_share_what_the_stream_says_about_its_answer() -> None:
    reader, own = ChatModelStream(), ChatModelStream()

    internals.share_generation_info(reader, own)

    assert getattr(reader, "_generation_info", None) is getattr(own, "_generation_info", None)


def test_who_reads_tokens_is_told_by_its_class() -> None:
    listening = (internals.StreamingHandler, internals.EventStreamingHandler)

    assert issubclass(StreamMessagesHandler, listening), (
        "stream_mode='messages' no longer listens by a streaming handler"
    )
    assert issubclass(_AstreamEventsCallbackHandler, listening), (
        "astream_events no longer listens by a streaming handler"
    )


PRIVATE_HOOKS: list[tuple[Any, str]] = [
    *((BaseChatModel, name) for name in (*chat_hooks.ENTRY_POINTS, *chat_hooks.EVENTS)),
    *((BaseLLM, name) for name in (*completion_hooks.ENTRY_POINTS, *completion_hooks.PROVIDER_METHODS)),
    *((BaseChatModel, name) for name in provider_hooks.PROVIDER_METHODS),
    *((owner, name) for owner, name, _ in inner.hooks()),
]


@pytest.mark.parametrize(("owner", "name"), PRIVATE_HOOKS, ids=lambda each: getattr(each, "__name__", str(each)))
def test_what_is_hooked_is_there(owner: Any, name: str) -> None:
    assert callable(getattr(owner, name, None)), f"{owner.__name__}.{name} is gone: calls that went by it are not seen"


SIGNATURES: list[tuple[Callable[..., Any], list[str]]] = [
    (BaseChatModel.generate, ["self", "messages", "stop", "callbacks"]),
    (BaseChatModel.stream, ["self", "input", "config"]),
    (Pregel.stream, ["self", "input", "config"]),
    (Pregel.astream, ["self", "input", "config"]),
    (Send.__init__, ["self", "node", "arg"]),
]


@pytest.mark.parametrize(("method", "first"), SIGNATURES, ids=lambda each: getattr(each, "__qualname__", ""))
def test_what_is_hooked_takes_what_its_hook_takes(method: Callable[..., Any], first: list[str]) -> None:
    names = list(inspect.signature(method).parameters)

    assert first == names[: len(first)], f"{method.__qualname__} takes other arguments than governor's hook hands on"


# --- and nowhere else -------------------------------------------------------------------------------------------------

LIBRARIES = ("langchain", "langchain_core", "langgraph")
CONFIG_KEY = "__pre" + "gel_"


def private_names(path: Path) -> list[str]:
    """Private modules and names of the libraries that a file imports, and keys of LangGraph's own that it spells out."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [each.name for each in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            named = [each.name for each in node.names] if isinstance(node, ast.ImportFrom) else []
            parts = [*module.split("."), *named]
            if parts[0] in LIBRARIES and any(part.startswith("_") for part in parts):
                found.append(f"{path.name}: {'.'.join(parts)}")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(CONFIG_KEY):
            found.append(f"{path.name}: {node.value}")
    return found


def test_private_names_are_touched_in_one_module() -> None:
    sources = [path for folder in ("integrations", "governor") for path in (ROOT / folder).rglob("*.py")]

    assert [] == [name for path in sources if path.stem != "langgraph_internals" for name in private_names(path)]
