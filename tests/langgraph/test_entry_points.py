"""The other front doors: `@governed`, governors in governors, and the hooks behind all of them."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel import Pregel

from governor import ConfigurationError, RunStopped
from governor_langgraph import (
    Governor,
    GovernorStop,
    govern,
    governed,
    hooks,
    install,
    uninstall,
    watch,
)
from tests.langgraph import graphs
from tests.langgraph.fakes import Runs, Streaming, Whole, once, policy, times
from tests.langgraph.test_enforcement import GIVEN, calls

# --- @governed ---------------------------------------------------------------------------------------------------------


def test_governed_on_a_building_function_governs_what_it_builds() -> None:
    model = Streaming(rule=lambda messages: "an answer")

    @governed(policy(budgets=calls(1)))
    def build(text: str, *, twice: bool) -> Any:
        """Build it."""
        return graphs.function_node(model)

    app = build("x", twice=True)
    app.invoke(GIVEN)

    assert "Build it." == build.__doc__
    assert isinstance(app, Pregel)
    assert 1 == len(model.calls)


async def test_governed_takes_async_builders() -> None:
    model = Streaming(rule=once("search", {"q": "x"}))

    @governed(policy(budgets=calls(1)))
    async def build() -> Any:
        return graphs.agent(model)

    await (await build()).ainvoke(GIVEN)

    assert 1 == len(model.calls)


def test_governed_goes_above_entrypoint() -> None:
    model = Streaming(rule=lambda messages: "an answer")

    @governed(policy(budgets=calls(1)))
    @entrypoint()
    def flow(question: str) -> str:
        return str(model.invoke(question).text) + str(model.invoke(question).text)

    with watch() as runs:
        assert flow.invoke("x") is None

    assert 1 == len(model.calls)
    assert runs[0].stopped is not None


def test_governed_below_entrypoint_says_where_it_belongs() -> None:
    @governed(policy())
    def flow(question: str) -> Any:
        return question

    with pytest.raises(ConfigurationError, match="above @entrypoint"):
        flow("x")


def test_graphs_of_one_builder_share_their_ledgers() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    budget = {"id": "org", "scope": "org", "limit": {"model_calls": 3}}

    @governed(policy(identity={"org": "acme"}, budgets=[budget]))
    def build() -> Any:
        return graphs.function_node(model)

    for _ in range(5):
        build().invoke(GIVEN)

    assert 3 == len(model.calls)


SHARED: dict[str, Any] = policy(budgets=[{"id": "b", "scope": "agent", "limit": {"model_calls": 1}}])
"""One call for all runs of a governor together."""


class Building:
    """Factories as people write them, all of the same graph, and what becomes of it."""

    def __init__(self) -> None:
        self.model = Streaming(rule=lambda messages: "an answer")
        self.events: list[str] = []

    def graph(self) -> Any:
        return graphs.function_node(self.model)

    async def __call__(self) -> Any:
        return self.graph()

    @contextmanager
    def entered(self) -> Iterator[Any]:
        self.events.append("opened")
        yield self.graph()
        self.events.append("closed")

    @asynccontextmanager
    async def aentered(self) -> AsyncIterator[Any]:
        self.events.append("opened")
        yield self.graph()
        self.events.append("closed")


@pytest.mark.parametrize("how", ["object", "partial", "returns awaitable"])
async def test_governed_takes_whatever_can_be_called_and_awaited(how: str) -> None:
    building = Building()
    target: Any = {
        "object": building,
        "partial": functools.partial(building.__call__),
        "returns awaitable": lambda *_: building(),
    }[how]

    build: Any = governed(SHARED)(target)
    for _ in range(2):
        await (await build()).ainvoke(GIVEN)

    assert 1 == len(building.model.calls)


async def test_governed_takes_factories_that_are_context_managers() -> None:
    building = Building()
    entered, aentered = governed(SHARED)(building.entered), governed(SHARED)(building.aentered)

    for _ in range(2):
        with entered() as app:
            app.invoke(GIVEN)
            assert "opened" == building.events[-1]
        async with aentered() as app:
            await app.ainvoke(GIVEN)

    assert ["opened", "closed"] * 4 == building.events
    assert 2 == len(building.model.calls)  # one for each decorated function


def test_governed_refuses_functions_that_yield_when_they_are_decorated() -> None:
    def build() -> Any:
        yield graphs.function_node(Streaming(rule=None))

    async def abuild() -> Any:
        yield graphs.function_node(Streaming(rule=None))

    with pytest.raises(ConfigurationError, match=r"build, which yields\. Put @contextmanager"):
        governed(policy())(build)
    with pytest.raises(ConfigurationError, match=r"abuild, which yields\. Put @asynccontextmanager"):
        governed(policy())(abuild)


# --- nested governors ---------------------------------------------------------------------------------------------------


def test_a_governed_graph_in_a_governed_graph_obeys_both_policies() -> None:
    inner_model = Streaming(rule=lambda messages: "an answer")
    inner = govern(graphs.function_node(inner_model), policy(name="inner", budgets=calls(2)))

    def loop(state: MessagesState) -> dict[str, Any]:
        for _ in range(9):
            inner.invoke(cast("Any", {"messages": state["messages"]}))
        return {"messages": []}

    graph = StateGraph(MessagesState)
    graph.add_node("loop", loop)
    graph.add_edge(START, "loop")
    app = govern(graph, policy(name="outer", budgets=calls(4)))

    with watch() as runs:
        app.invoke(GIVEN)

    assert 4 == len(inner_model.calls)
    assert runs[-1].stopped is not None


def test_a_governed_graph_as_a_node_of_an_ungoverned_one_tells_the_caller() -> None:
    model = Streaming(rule=times("search", 99, lambda n: {"q": str(n)}))
    graph = StateGraph(MessagesState)
    graph.add_node("child", govern(graphs.tool_loop(model), policy(budgets=calls(2))))
    graph.add_edge(START, "child")
    app = graph.compile()

    with pytest.raises(GovernorStop) as stopped:
        app.invoke(GIVEN)

    assert isinstance(stopped.value, RunStopped)
    assert 2 == len(model.calls)


def test_governing_again_by_the_same_governor_changes_nothing() -> None:
    governor = Governor(policy())
    app = govern(graphs.function_node(Streaming(rule=None)), governor)

    assert app is govern(app, governor)


# --- hooks --------------------------------------------------------------------------------------------------------------


def test_hooks_are_installed_once_and_come_out_whole() -> None:
    uninstall()
    originals = (BaseChatModel.generate, BaseChatModel.stream, BaseTool.run)
    install()
    first = BaseChatModel.generate
    install()

    assert first is BaseChatModel.generate
    assert originals[0] is not first
    uninstall()
    assert originals == (BaseChatModel.generate, BaseChatModel.stream, BaseTool.run)
    assert not hooks.installed()
    install()


def test_an_instrumentation_that_came_later_survives_uninstall() -> None:
    install()
    ours = BaseChatModel.generate

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    original = hooks._installed[BaseChatModel, "generate"][0]
    BaseChatModel.generate = theirs  # as instrumentors do
    try:
        uninstall()
        assert BaseChatModel.generate is theirs
        assert "an answer" == Whole(rule=lambda messages: "an answer").invoke("x").text
    finally:
        BaseChatModel.generate = original
        install()


def test_a_batch_of_message_lists_is_one_call_each_and_one_result() -> None:
    from langchain_core.messages import HumanMessage

    model, seen = Whole(rule=lambda messages: f"re {messages[0].text}"), Runs()

    def node(state: MessagesState) -> dict[str, Any]:
        result = model.generate([[HumanMessage("a")], [HumanMessage("b")]], callbacks=[seen])
        return {"messages": [cast("Any", generation[0]).message for generation in result.generations]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    with watch() as runs:
        result = govern(graph, policy()).invoke(GIVEN)

    assert ["re a", "re b"] == [message.text for message in result["messages"][1:]]
    assert (2, 2) == (len(seen.starts), seen.ends)
    assert 2 == runs[0].state.model_calls


def test_a_call_for_a_user_whom_nobody_named_is_not_made() -> None:
    model = Whole(rule=lambda messages: "an answer")
    budget = {"id": "per-user", "scope": "user", "limit": {"model_calls": 9}}
    app = govern(graphs.function_node(model), policy(budgets=[budget], identity={"user": "config.user"}))

    with watch() as runs:
        app.invoke(GIVEN)

    assert 0 == len(model.calls)
    assert runs[0].stopped is not None
    assert "per-user" == runs[0].stopped.rule
