"""What a policy forbids does not happen, and the run ends the way the policy says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy

from governor import CallDenied, ConfigurationError, RunStopped
from governor_langgraph import GovernorStop, govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Runs, Streaming, Whole, once, policy, times

GIVEN: Any = {"messages": [("user", "what is x?")]}
THREAD: dict[str, Any] = {"configurable": {"thread_id": "t"}}


def calls(limit: int) -> list[dict[str, Any]]:
    return [{"id": "calls", "scope": "run", "limit": {"model_calls": limit}}]


class Bodies:
    """A tool that remembers whether its body ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

        @tool
        def search(q: str) -> str:
            """Search."""
            self.ran.append(q)
            return f"found {q}"

        self.tool = search


@pytest.mark.parametrize("mode", list(modes.ALL_MODES))
@pytest.mark.parametrize("name", ["tool_loop", "agent", "react"])
async def test_a_tool_that_no_rule_allows_is_never_run_and_the_model_is_told(name: str, mode: str) -> None:
    bodies, model = Bodies(), Streaming(rule=once("search", {"q": "x"}))
    app = govern(getattr(graphs, name)(model, [bodies.tool]), policy(tools={"default": "deny"}))

    await modes.ALL_MODES[mode](app, GIVEN, {})

    assert [] == bodies.ran
    told = model.calls.seen[-1][1][-1]
    assert isinstance(told, ToolMessage)
    assert ("error", "c1") == (told.status, told.tool_call_id)


def test_a_tool_that_node_code_calls_itself_is_denied_by_an_exception() -> None:
    bodies = Bodies()

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", bodies.tool.invoke({"q": "x"}))]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")

    with pytest.raises(CallDenied) as denied:
        govern(graph, policy(tools={"default": "deny"})).invoke(GIVEN)
    assert [] == bodies.ran
    assert "search" in str(denied.value)


async def test_a_tool_that_node_code_calls_with_an_id_is_denied_by_a_message() -> None:
    bodies = Bodies()

    async def node(state: MessagesState) -> dict[str, Any]:
        call = {"name": "search", "args": {"q": "x"}, "id": "c7", "type": "tool_call"}
        return {"messages": [await bodies.tool.ainvoke(call)]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")

    last = (await govern(graph, policy(tools={"default": "deny"})).ainvoke(GIVEN))["messages"][-1]

    assert [] == bodies.ran
    assert ("error", "c7") == (last.status, last.tool_call_id)


def test_an_allowed_tool_is_counted_once_whichever_way_it_is_called() -> None:
    bodies, model = Bodies(), Streaming(rule=once("search", {"q": "x"}))
    app = govern(graphs.agent(model, [bodies.tool]), policy())

    with watch() as runs:
        app.invoke(GIVEN)

    assert ["x"] == bodies.ran
    assert 1 == runs[0].state.tool_calls


def test_a_tool_called_by_a_tool_is_a_call_of_its_own() -> None:
    bodies = Bodies()

    @tool
    def outer(q: str) -> str:
        """Calls another tool."""
        return str(bodies.tool.invoke({"q": q}))

    model = Streaming(rule=once("outer", {"q": "x"}))
    app = govern(graphs.agent(model, [outer]), policy())

    with watch() as runs:
        app.invoke(GIVEN)

    assert ["x"] == bodies.ran
    assert 2 == runs[0].state.tool_calls


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_a_budget_of_k_calls_admits_exactly_k_under_parallel_branches(mode: str) -> None:
    model = Whole(rule=lambda messages: "a note")
    app = govern(graphs.fan_out(model), policy(budgets=calls(10)))

    with watch() as runs:
        await modes.ALL_MODES[mode](app, {"topics": [str(n) for n in range(50)], "notes": []}, {})

    assert 10 == len(model.calls)
    assert runs[0].stopped is not None
    assert "budget.exhausted" == runs[0].stopped.code


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_finish_returns_what_the_run_had(mode: str) -> None:
    model = Streaming(rule=once("search", {"q": "x"}))
    app = govern(graphs.agent(model), policy(budgets=calls(1), on_exhausted="finish"))

    result = (await modes.ALL_MODES[mode](app, GIVEN, {}))[0]

    assert ["human", "ai", "tool"] == [message[0] for message in result["messages"]]
    assert 1 == len(model.calls)


@pytest.mark.parametrize("saver", [None, InMemorySaver])
async def test_stop_raises_with_reason_and_partial_result(saver: Any) -> None:
    for run_it in ("invoke", "ainvoke"):
        model = Streaming(rule=once("search", {"q": "x"}))
        kept = {"checkpointer": saver()} if saver else {}
        app = govern(graphs.agent(model, **kept), policy(budgets=calls(1), on_exhausted="stop"))

        with pytest.raises(RunStopped) as stopped:
            await modes.ALL_MODES[run_it](app, GIVEN, THREAD)

        assert not isinstance(stopped.value, GovernorStop)
        assert ("calls", "1") == (stopped.value.reason.rule, stopped.value.reason.limit)
        partial: Any = stopped.value.partial
        assert ["human", "ai", "tool"] == [message.type for message in partial["messages"]]


def test_a_stop_is_neither_retried_nor_answered_by_error_handling() -> None:
    attempts: list[int] = []
    model = Whole(rule=lambda messages: "an answer")

    def node(state: MessagesState) -> dict[str, Any]:
        attempts.append(1)
        return {"messages": [model.invoke(state["messages"]), model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node, retry_policy=RetryPolicy(max_attempts=5, initial_interval=0, retry_on=Exception))
    graph.add_edge(START, "node")

    govern(graph, policy(budgets=calls(1))).invoke(GIVEN)

    assert 1 == len(attempts)


def test_swallowing_a_stop_gains_nothing() -> None:
    model = Whole(rule=lambda messages: "an answer")

    def node(state: MessagesState) -> dict[str, Any]:
        answers: list[Any] = []
        for _ in range(5):
            try:
                answers.append(model.invoke(state["messages"]))
            except Exception as error:
                answers.append(("ai", type(error).__name__))
        return {"messages": answers}

    graph = StateGraph(MessagesState)
    graph.add_node("one", node)
    graph.add_node("two", node)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")

    with watch() as runs:
        result = govern(graph, policy(budgets=calls(2))).invoke(GIVEN)

    assert 2 == len(model.calls)
    assert 6 == len(result["messages"])
    assert runs[0].stopped is not None


def test_a_stopped_run_goes_on_after_its_budget_was_raised() -> None:
    saver, model = InMemorySaver(), Streaming(rule=once("search", {"q": "x"}))
    from governor.stores.memory import MemoryStore

    store = MemoryStore()
    bare = graphs.agent(model, checkpointer=saver)
    govern(bare, policy(budgets=calls(1)), store=store).invoke(GIVEN, THREAD)

    result = govern(bare, policy(budgets=calls(2)), store=store).invoke(None, THREAD)

    assert ["human", "ai", "tool", "ai"] == [message.type for message in result["messages"]]
    assert 2 == len(model.calls)


def test_a_new_question_on_the_thread_of_a_stopped_run_is_a_new_run() -> None:
    model = Streaming(rule=once("search", {"q": "x"}))
    app = govern(graphs.agent(model, checkpointer=InMemorySaver()), policy(budgets=calls(1)))

    app.invoke(GIVEN, THREAD)
    result = app.invoke({"messages": [("user", "and y?")]}, THREAD)

    assert "ai" == result["messages"][-1].type
    assert 2 == len(model.calls)


def test_a_tool_budget_ends_the_run_with_every_tool_call_answered() -> None:
    bodies = Bodies()
    model = Streaming(rule=times("search", 9, lambda n: {"q": str(n)}))
    budget = {"id": "tools", "scope": "run", "limit": {"tool_calls": 2}}
    app = govern(graphs.tool_loop(model, [bodies.tool], checkpointer=InMemorySaver()), policy(budgets=[budget]))

    result = app.invoke(GIVEN, THREAD)

    assert ["0", "1"] == bodies.ran
    asked = [call["id"] for message in result["messages"] for call in getattr(message, "tool_calls", ())]
    answered = [message.tool_call_id for message in result["messages"] if isinstance(message, ToolMessage)]
    assert asked == answered
    assert "error" == result["messages"][-1].status


def test_steps_are_limited_over_nested_graphs() -> None:
    model = Streaming(rule=times("search", 99, lambda n: {"q": str(n)}))
    app = govern(graphs.tool_loop(model), policy(limits={"steps": 5}))

    with watch() as runs:
        app.invoke(GIVEN)

    assert runs[0].stopped is not None
    assert "limits.steps" == runs[0].stopped.code
    assert 3 == len(model.calls)


APPROVAL = {
    "default": "allow",
    "rules": [{"id": "careful", "tool": "search", "decide": "ask"}],
}


@pytest.mark.parametrize("answer", [True, "approve", {"decision": "approve"}])
@pytest.mark.parametrize("name", ["tool_loop", "agent", "react"])
def test_an_approved_tool_call_runs_on_resume(name: str, answer: Any) -> None:
    bodies, model = Bodies(), Streaming(rule=once("search", {"q": "x"}))
    build = getattr(graphs, name)
    app = govern(build(model, [bodies.tool], checkpointer=InMemorySaver()), policy(tools=APPROVAL))

    paused = app.invoke(GIVEN, THREAD)

    request = paused["__interrupt__"][0].value
    assert ("search", {"q": "x"}, "careful", "c1") == tuple(request[key] for key in ("tool", "args", "rule", "id"))
    assert [] == bodies.ran
    result = app.invoke(Command(resume=answer), THREAD)
    assert ["x"] == bodies.ran
    assert "the end" == result["messages"][-1].text
    assert 2 == len(model.calls)


@pytest.mark.parametrize("answer", [False, "reject", {"decision": "reject"}, 1, "yes, but"])
async def test_anything_but_a_clear_yes_is_a_no(answer: Any) -> None:
    bodies, model = Bodies(), Streaming(rule=once("search", {"q": "x"}))
    app = govern(graphs.agent(model, [bodies.tool], checkpointer=InMemorySaver()), policy(tools=APPROVAL))

    await app.ainvoke(GIVEN, THREAD)
    result = await app.ainvoke(Command(resume=answer), THREAD)

    assert [] == bodies.ran
    assert "error" == result["messages"][-2].status
    assert "the end" == result["messages"][-1].text


def test_a_stream_that_is_broken_off_is_charged_at_its_worst_case() -> None:
    from governor.stores.memory import MemoryStore

    store, model = MemoryStore(), Streaming(rule=lambda messages: " ".join(["word"] * 1000), max_tokens=4000)

    def node(state: MessagesState) -> dict[str, Any]:
        for count, _ in enumerate(model.stream(state["messages"])):
            if count == 10:
                break
        return {"messages": [("ai", "enough")]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    budget = {"id": "tokens", "scope": "run", "limit": {"output_tokens": 100_000}}

    govern(graph, policy(budgets=[budget]), store=store).invoke(GIVEN)

    (balance,) = store.balances()
    assert 0 == balance.reserved
    assert 4000 == balance.spent


async def test_a_cancelled_call_gives_its_reservation_back_or_charges_it() -> None:
    from governor.stores.memory import MemoryStore

    store, begun = MemoryStore(), asyncio.Event()

    class Slow(Whole):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            begun.set()
            await asyncio.Event().wait()

    app = govern(graphs.async_node(Slow(rule=None)), policy(budgets=calls(5)), store=store)

    running = asyncio.ensure_future(app.ainvoke(GIVEN))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    (balance,) = store.balances()
    assert (1, 0) == (balance.spent, balance.reserved)


def test_a_failed_call_that_the_provider_refused_costs_nothing() -> None:
    from governor.stores.memory import MemoryStore

    class Throttled(Exception):
        status_code = 429

    def rule(messages: Any) -> str:
        raise Throttled("slow down")

    store = MemoryStore()
    app = govern(graphs.function_node(Whole(rule=rule)), policy(budgets=calls(5)), store=store)

    with pytest.raises(Throttled):
        app.invoke(GIVEN)

    assert [(0, 0)] == [(balance.spent, balance.reserved) for balance in store.balances()]


def test_a_call_that_langchains_cache_answers_costs_nothing() -> None:
    from langchain_core.caches import InMemoryCache

    from governor.stores.memory import MemoryStore

    store = MemoryStore()
    model = Whole(rule=lambda messages: "an answer", cache=InMemoryCache())
    app = govern(
        graphs.function_node(model),
        policy(budgets=[{"id": "all", "scope": "org", "limit": {"model_calls": 9}}], identity={"org": "acme"}),
        store=store,
    )

    app.invoke({"messages": [HumanMessage("x", id="1")]})
    app.invoke({"messages": [HumanMessage("x", id="1")]})

    assert 1 == len(model.calls)
    assert [(1, 0)] == [(balance.spent, balance.reserved) for balance in store.balances()]


def test_scopes_come_from_the_runs_config() -> None:
    app = govern(
        graphs.function_node(Whole(rule=lambda messages: "an answer")),
        policy(identity={"org": "acme", "tenant": "config.tenant", "user": "config.user"}),
    )

    with watch() as runs:
        app.invoke(GIVEN, {"configurable": {"tenant": "t1"}, "metadata": {"user": 7}})

    assert {"org": "acme", "tenant": "t1", "user": "7", "agent": "LangGraph"} == dict(runs[0].run.scopes)


@pytest.mark.parametrize("thing", [3, "graph", print, Streaming(rule=None), None])
def test_what_is_no_graph_is_refused_with_its_name(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a graph"):
        govern(thing, policy())


def test_models_outside_of_governed_runs_are_left_alone() -> None:
    model, seen = Streaming(rule=lambda messages: "an answer"), Runs()
    govern(graphs.function_node(model), policy(budgets=calls(1))).invoke(GIVEN)

    for _ in range(3):
        model.invoke("x", config={"callbacks": [seen]})

    assert 3 == len(seen.starts)
