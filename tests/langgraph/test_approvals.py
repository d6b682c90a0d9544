"""What a person rejected never runs, and what they approved runs once: whoever asks for it again, and however."""

from __future__ import annotations

from typing import Any, cast

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, hook_config, wrap_tool_call
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, RetryPolicy, interrupt

from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor.testing.fakes import FakeClock
from governor_langgraph import GovernorMiddleware, govern, report_of
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Streaming, calling, policy, times

GIVEN: Any = {"messages": [("user", "pay")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
ASK = {"default": "allow", "rules": [{"id": "careful", "tool": "pay", "decide": "ask", "expires": "15m"}]}
BUILDS = {"agent": graphs.agent, "tool_loop": graphs.tool_loop}
RUN = {"sync": "invoke", "async": "ainvoke"}


class Till:
    """A tool that remembers what it paid; `fails` times it fails after it did."""

    def __init__(self, *, fails: int = 0) -> None:
        self.paid: list[int] = []
        self.fails = fails

        @tool
        def pay(usd: int) -> str:
            """Pay."""
            self.paid.append(usd)
            if len(self.paid) <= self.fails:
                message = "no answer"
                raise ConnectionError(message)
            return f"paid {usd}"

        self.tool = pay


def again(count: int) -> Streaming:
    """Asks `count` times for the very same payment."""
    return Streaming(rule=times("pay", count, lambda n: {"usd": 5}))


def answers(result: Any) -> list[str]:
    return [message.text for message in result["messages"] if isinstance(message, ToolMessage)]


def approvals_of(result: Any) -> list[Any]:
    return [each.value for each in result.get("__interrupt__", ())]


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("name", BUILDS)
async def test_a_rejected_call_is_not_even_asked_about_again(name: str, how: str) -> None:
    till = Till()
    app = govern(BUILDS[name](again(3), [till.tool], checkpointer=InMemorySaver()), policy(tools=ASK))

    run = modes.ALL_MODES[RUN[how]]
    await run(app, GIVEN, THREAD)
    (result,) = await run(app, Command(resume="reject"), THREAD)

    assert [] == till.paid
    assert "__interrupt__" not in result
    told = [text for kind, text, *_ in result["messages"] if kind == "tool"]
    assert ["a person rejected it"] * 3 == [text.partition(": ")[2][:20] for text in told]


@pytest.mark.parametrize("name", BUILDS)
def test_a_rejection_holds_in_other_processes_and_under_another_rule(name: str, tmp_path: Any) -> None:
    till, saver = Till(), InMemorySaver()
    bare = BUILDS[name](again(2), [till.tool], checkpointer=saver)
    govern(bare, policy(tools=ASK), store=SqliteStore(tmp_path / "s.db")).invoke(GIVEN, THREAD)
    other = policy(tools=ASK, budgets=[{"id": "b", "scope": "run", "limit": {"model_calls": 1}}])
    govern(bare, other, store=SqliteStore(tmp_path / "s.db")).invoke(Command(resume=False), THREAD)

    everything = policy(tools={"default": "allow"})
    result = govern(bare, everything, store=SqliteStore(tmp_path / "s.db")).invoke(None, THREAD)

    assert [] == till.paid
    assert "a person rejected it" in answers(result)[-1]


def test_a_new_run_on_the_thread_may_ask_anew() -> None:
    till = Till()

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        return calling("pay", {"usd": 5}, call_id=f"c{len(messages)}") if messages[-1].type == "human" else "the end"

    app = govern(graphs.agent(Streaming(rule=rule), [till.tool], checkpointer=InMemorySaver()), policy(tools=ASK))
    app.invoke(GIVEN, THREAD)
    app.invoke(Command(resume=False), THREAD)

    app.invoke(GIVEN, THREAD)
    app.invoke(Command(resume=True), THREAD)

    assert [5] == till.paid


@pytest.mark.parametrize("answer", [True, False])
def test_a_hook_that_jumps_back_to_the_tools_runs_no_call_again(answer: bool) -> None:
    """langchain#40492: an after_model hook with jump_to=tools ran the calls of the last message again."""
    till, jumps = Till(), list[int]()

    class Jumps(AgentMiddleware[Any, Any, Any]):
        @hook_config(can_jump_to=["tools"])
        def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
            if len(jumps) == 3 or not any(isinstance(each, ToolMessage) for each in state["messages"]):
                return None
            jumps.append(1)
            first = next(each for each in state["messages"] if isinstance(each, AIMessage))
            return {"jump_to": "tools", "messages": [first.model_copy(update={"id": f"again-{len(jumps)}"})]}

    model: Any = again(1)
    app = govern(
        create_agent(model, [till.tool], middleware=[Jumps()], checkpointer=InMemorySaver()), policy(tools=ASK)
    )
    app.invoke(GIVEN, THREAD)

    result = app.invoke(Command(resume=answer), THREAD)

    assert jumps
    assert ([5] if answer else []) == till.paid
    assert answer is bool(approvals_of(result))  # a call that was approved and made is asked about again


def test_a_node_that_is_retried_does_not_use_an_approval_twice() -> None:
    till = Till(fails=1)
    graph = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [calling("pay", {"usd": 5})]})
    retry: Any = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=Exception)
    graph.add_node("tools", ToolNode([till.tool], handle_tool_errors=False), retry_policy=retry)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "tools")
    app = govern(graph.compile(checkpointer=InMemorySaver()), policy(tools=ASK))
    app.invoke(GIVEN, THREAD)

    result = app.invoke(Command(resume=True), THREAD)

    assert [5] == till.paid
    assert "used up by an attempt whose outcome is not known" in answers(result)[-1]


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("name", ["agent", "tool_loop"])
async def test_a_hook_that_retries_does_not_use_an_approval_twice(name: str, how: str) -> None:
    till = Till(fails=1)

    def tried(request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except ConnectionError:
            return handler(request)

    async def atried(request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except ConnectionError:
            return await handler(request)

    model: Any = again(1)
    if name == "agent":
        hook = cast("Any", wrap_tool_call)(tried if how == "sync" else atried)
        bare = create_agent(model, [till.tool], middleware=[hook], checkpointer=InMemorySaver())
    else:
        bare = looping(model, ToolNode([till.tool], wrap_tool_call=tried, awrap_tool_call=atried))
    app = govern(bare, policy(tools=ASK))

    run = modes.ALL_MODES[RUN[how]]
    await run(app, GIVEN, THREAD)
    await run(app, Command(resume=True), THREAD)

    assert [5] == till.paid
    assert "used up by an attempt" in answers(app.get_state(THREAD).values)[-1]


def looping(model: Any, node: ToolNode) -> Any:
    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", node)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_a_hook_cannot_change_what_was_judged(how: str) -> None:
    till = Till()

    def dearer(request: Any, handler: Any) -> Any:
        return handler(request.override(tool_call={**request.tool_call, "args": {"usd": 500}}))

    async def adearer(request: Any, handler: Any) -> Any:
        return await dearer(request, handler)

    rules = [
        {"id": "small", "tool": "pay", "when": {"args.usd": {"at_most": 100}}, "decide": "allow"},
        {"id": "large", "tool": "pay", "when": {"args.usd": {"above": 100}}, "decide": "deny"},
    ]
    node = ToolNode([till.tool], wrap_tool_call=dearer, awrap_tool_call=adearer)
    app = govern(looping(again(1), node), policy(tools={"rules": rules}))

    await modes.ALL_MODES[RUN[how]](app, GIVEN, THREAD)

    assert [] == till.paid
    assert "rule large" in answers(app.get_state(THREAD).values)[-1]


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("said", [[True, False], [False, True], [True, True]])
def test_of_identical_calls_side_by_side_each_needs_an_approval_and_a_rejection_is_for_all(
    name: str, said: list[bool]
) -> None:
    till = Till()

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        if any(isinstance(message, ToolMessage) for message in messages):
            return "the end"
        return AIMessage("", tool_calls=[calling("pay", {"usd": 5}, call_id=f"c{n}").tool_calls[0] for n in range(2)])

    app = govern(BUILDS[name](Streaming(rule=rule), [till.tool], checkpointer=InMemorySaver()), policy(tools=ASK))
    result, left = app.invoke(GIVEN, THREAD), list(said)

    while result.get("__interrupt__"):
        result = app.invoke(Command(resume={each.id: left.pop(0) for each in result["__interrupt__"]}), THREAD)

    assert ([5, 5] if all(said) else []) == till.paid
    assert 2 == len(answers(result))
    assert (report_of(app, THREAD).state.rejected == {}) is all(said)  # pyright: ignore[reportOptionalMemberAccess] - there is a run


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize(("waits", "pays"), [(899_000, [5]), (901_000, [])])
def test_an_approval_that_comes_too_late_is_a_denial(name: str, waits: int, pays: list[int]) -> None:
    till, clock = Till(), FakeClock()
    runtime = Runtime(load(policy(tools=ASK)), clock=clock)
    app = govern(BUILDS[name](again(1), [till.tool], checkpointer=InMemorySaver()), policy(), runtime=runtime)
    app.invoke(GIVEN, THREAD)
    clock.advance(waits)

    result = app.invoke(Command(resume=True), THREAD)

    assert pays == till.paid
    assert pays or "the approval came too late" in answers(result)[-1]


@pytest.mark.parametrize("name", BUILDS)
def test_an_attempt_that_was_killed_has_used_its_approval_up(name: str) -> None:
    class Killed(BaseException):
        pass

    paid, saver, store = list[int](), InMemorySaver(), MemoryStore()

    @tool
    def pay(usd: int) -> str:
        """Pay."""
        paid.append(usd)
        raise Killed

    bare = BUILDS[name](again(1), [pay], checkpointer=saver)
    govern(bare, policy(tools=ASK), store=store).invoke(GIVEN, THREAD)
    with pytest.raises(Killed):
        govern(bare, policy(tools=ASK), store=store).invoke(Command(resume=True), THREAD)

    result = govern(bare, policy(tools=ASK), store=store).invoke(None, THREAD)

    assert [5] == paid
    assert "used up by an attempt" in answers(result)[-1]


@pytest.mark.parametrize("name", BUILDS)
def test_a_tool_that_asks_on_its_own_goes_on_with_its_approval(name: str) -> None:
    paid: list[str] = []

    @tool
    def pay(usd: int) -> str:
        """Pay."""
        paid.append(interrupt("from which account?"))
        return "paid"

    app = govern(BUILDS[name](again(1), [pay], checkpointer=InMemorySaver()), policy(tools=ASK))
    app.invoke(GIVEN, THREAD)
    result = app.invoke(Command(resume=True), THREAD)

    assert ["from which account?"] == approvals_of(result)
    app.invoke(Command(resume="savings"), THREAD)
    assert ["savings"] == paid


def test_a_rejection_under_middleware_alone_holds_for_the_run() -> None:
    till = Till()
    middleware: Any = GovernorMiddleware(policy(tools=ASK))
    model: Any = again(3)
    app: Any = create_agent(model, [till.tool], middleware=[middleware], checkpointer=InMemorySaver())
    app.invoke(GIVEN, THREAD)

    result = app.invoke(Command(resume=False), THREAD)

    assert [] == till.paid
    assert "__interrupt__" not in result
    assert 3 == len(answers(result))
