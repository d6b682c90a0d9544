"""The other front doors: `@governed`, `GovernorMiddleware`, `wrap_model`, and the hooks behind all of them."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel import Pregel

from governor import CallDenied, ConfigurationError, RunStopped
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor_langgraph import (
    Governor,
    GovernorMiddleware,
    GovernorStop,
    govern,
    governed,
    hooks,
    install,
    uninstall,
    watch,
)
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Runs, Streaming, Whole, once, policy, times
from tests.langgraph.test_enforcement import GIVEN, Bodies, calls

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


# --- GovernorMiddleware ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(modes.ALL_MODES))
async def test_middleware_alone_governs_model_and_tool_calls(mode: str) -> None:
    bodies, model, seen = Bodies(), Streaming(rule=once("search", {"q": "x"})), Runs()
    middleware = GovernorMiddleware(policy(tools={"default": "deny"}))
    app = create_agent(model, [bodies.tool], middleware=[middleware])

    await modes.ALL_MODES[mode](app, GIVEN, {"callbacks": [seen]})

    assert [] == bodies.ran
    assert len(model.calls) == len(seen.starts)
    told = model.calls.seen[-1][1][-1]
    assert isinstance(told, ToolMessage)
    assert "error" == told.status


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_middleware_ends_the_loop_with_a_message_that_says_why(mode: str) -> None:
    model = Streaming(rule=times("search", 99, lambda n: {"q": str(n)}))
    app = create_agent(model, [graphs.search], middleware=[GovernorMiddleware(policy(budgets=calls(2)))])

    result = (await modes.ALL_MODES[mode](app, GIVEN, {}))[0]

    assert 2 == len(model.calls)
    assert ("ai", []) == (result["messages"][-1][0], result["messages"][-1][2])
    assert "calls" in result["messages"][-1][1]


def test_middleware_raises_when_the_policy_says_stop() -> None:
    model = Streaming(rule=times("search", 99, lambda n: {"q": str(n)}))
    app = create_agent(
        model, [graphs.search], middleware=[GovernorMiddleware(policy(budgets=calls(2), on_exhausted="stop"))]
    )

    with pytest.raises(RunStopped) as stopped:
        app.invoke(GIVEN)

    assert "calls" == stopped.value.reason.rule
    assert 2 == len(model.calls)


def test_middleware_counts_each_invocation_as_a_run() -> None:
    model = Streaming(rule=once("search", {"q": "x"}))
    app = create_agent(model, [graphs.search], middleware=[GovernorMiddleware(policy(budgets=calls(2)))])

    for _ in range(3):
        assert "the end" == app.invoke(GIVEN)["messages"][-1].text


def test_middleware_in_a_governed_graph_of_the_same_policy_counts_nothing_twice() -> None:
    rules, store = (
        policy(budgets=[{"id": "t", "scope": "run", "limit": {"tool_calls": 99, "model_calls": 99}}]),
        MemoryStore(),
    )
    model = Streaming(rule=once("search", {"q": "x"}))
    middleware = GovernorMiddleware(rules, store=store)
    app = govern(create_agent(model, [graphs.search], middleware=[middleware]), rules, store=store)

    with watch() as runs:
        app.invoke(GIVEN)

    assert (2, 1) == (runs[0].state.model_calls, runs[0].state.tool_calls)
    assert [2, 1] == [balance.spent for balance in store.balances()]


def test_two_policies_around_one_agent_both_apply() -> None:
    outer_store, inner_store = MemoryStore(), MemoryStore()
    bodies, model = Bodies(), Streaming(rule=once("search", {"q": "x"}))
    budget = {"id": "t", "scope": "run", "limit": {"tool_calls": 99, "model_calls": 99}}
    middleware = GovernorMiddleware(
        policy(name="inner", tools={"default": "deny"}, budgets=[budget]), store=inner_store
    )
    agent = create_agent(model, [bodies.tool], middleware=[middleware])
    app = govern(agent, policy(name="outer", budgets=[budget]), store=outer_store)

    app.invoke(GIVEN)

    assert [] == bodies.ran
    assert 2 == len(model.calls)
    assert [2] == [balance.spent for balance in inner_store.balances()]
    assert [2, 1] == [balance.spent for balance in outer_store.balances()]


def test_one_policy_with_two_stores_is_two_policies() -> None:
    budget = {"id": "t", "scope": "run", "limit": {"tool_calls": 99, "model_calls": 99}}
    rules, stores = policy(budgets=[budget]), (MemoryStore(), MemoryStore())
    model = Streaming(rule=once("search", {"q": "x"}))
    middleware = GovernorMiddleware(rules, store=stores[0])

    govern(create_agent(model, [graphs.search], middleware=[middleware]), rules, store=stores[1]).invoke(GIVEN)

    assert [[2, 1]] * 2 == [[balance.spent for balance in store.balances()] for store in stores]


def test_one_policy_and_one_file_opened_twice_are_one(tmp_path: Path) -> None:
    budget = {"id": "t", "scope": "run", "limit": {"tool_calls": 99, "model_calls": 99}}
    model = Streaming(rule=once("search", {"q": "x"}))
    with closing(SqliteStore(tmp_path / "a.db")) as one, closing(SqliteStore(f"{tmp_path}/./a.db")) as other:
        middleware = GovernorMiddleware(policy(budgets=[budget]), store=one)
        agent = create_agent(model, [graphs.search], middleware=[middleware])

        govern(agent, policy(budgets=[budget]), store=other).invoke(GIVEN)

        assert [2, 1] == [balance.spent for balance in one.balances()]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_what_a_tool_calls_goes_through_the_policy_around_the_middleware_as_well(mode: str) -> None:
    outer, inner, model = MemoryStore(), MemoryStore(), Streaming(rule=once("delegate", {"q": "x"}))

    @tool
    def delegate(q: str) -> str:
        """Ask another model."""
        return str(helper.invoke(q).text)

    helper = Streaming(rule=lambda messages: "help")
    budget = {"id": "t", "scope": "run", "limit": {"model_calls": 99, "tool_calls": 99}}
    middleware = GovernorMiddleware(policy(name="inner", budgets=[budget]), store=inner)
    app = govern(
        create_agent(model, [delegate], middleware=[middleware]), policy(name="outer", budgets=[budget]), store=outer
    )

    await modes.ALL_MODES[mode](app, GIVEN, {})

    assert [[3, 1]] * 2 == [[balance.spent for balance in store.balances()] for store in (inner, outer)]


def test_a_refusal_names_the_policy_that_refused() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    governors = [Governor({**SHARED, "on_exhausted": "stop", "name": name}) for name in ("govern", "middleware")]
    whole = govern(graphs.function_node(model), governors[0])
    agent = create_agent(model, [graphs.search], middleware=[GovernorMiddleware(governors[1])])
    whole.invoke(GIVEN)
    agent.invoke(GIVEN)

    with pytest.raises(RunStopped) as stopped:
        whole.invoke(GIVEN)
    with pytest.raises(RunStopped) as raised:
        agent.invoke(GIVEN)

    assert [governor.policy.hash for governor in governors] == [stopped.value.policy_hash, raised.value.policy_hash]


@pytest.mark.parametrize("way", ["by access", "by mediation"])
def test_a_denied_call_names_the_policy_that_denied(way: str) -> None:
    governor = Governor(policy(tools={"default": "deny"}))

    def node(state: MessagesState) -> dict[str, Any]:
        graphs.search.invoke({"q": "x"})
        return {"messages": []}

    def other(state: MessagesState) -> dict[str, Any]:
        FakeListLLM(responses=["an answer"]).invoke("x")
        return {"messages": []}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node if way == "by access" else other)
    graph.add_edge(START, "node")

    with pytest.raises(CallDenied) as denied:
        govern(graph, governor).invoke(GIVEN)

    assert governor.policy.hash == denied.value.policy_hash


def test_other_middleware_works_inside_of_it() -> None:
    class Shout(AgentMiddleware[Any, Any, Any]):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            answer = handler(request)
            return answer.model_copy(update={"content": answer.content.upper()})

    model = Streaming(rule=once("search", {"q": "x"}))
    app = govern(create_agent(model, [graphs.search], middleware=[Shout()]), policy())

    assert "FOUND X" == app.invoke(GIVEN)["messages"][-2].text


async def test_a_sync_only_tool_wrapper_of_user_code_works_async_as_ever() -> None:
    from langgraph.prebuilt import ToolNode

    def wrapper(request: Any, execute: Any) -> Any:
        answer = execute(request)
        return answer.model_copy(update={"content": f"<{answer.content}>"})

    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([graphs.search], wrap_tool_call=wrapper))
    graph.add_edge(START, "tools")
    app = govern(graph, policy())
    given: Any = {"messages": [AIMessage("", tool_calls=[{"name": "search", "args": {"q": "x"}, "id": "c1"}])]}

    with watch() as runs:
        result = await app.ainvoke(given)

    assert "<found x>" == result["messages"][-1].text
    assert 1 == runs[0].state.tool_calls


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
