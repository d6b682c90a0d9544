"""`GovernorMiddleware`, alone and in a governed graph; one policy and several around one agent; whose refusal it was."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import CallbackManager
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from governor import CallDenied, RunStopped
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor_langgraph import (
    Governor,
    GovernorMiddleware,
    govern,
    watch,
)
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Runs, Streaming, once, policy, times
from tests.langgraph.test_enforcement import GIVEN, Bodies, calls

SHARED: dict[str, Any] = policy(budgets=[{"id": "b", "scope": "agent", "limit": {"model_calls": 1}}])
"""One call for all runs of a governor together."""


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
        CallbackManager.configure().on_llm_start({"id": ["x", "Hidden"]}, ["what is x?"])
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
