"""What LangGraph's and LangChain's own suites found to be different in a governed graph (`make conformance`), each once more in short."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedStore, ToolNode
from langgraph.store.base import BaseStore

from governor_langgraph import GovernorMiddleware, govern, watch
from tests.langgraph.fakes import OPEN, Whole, calling, once, policy

CLOSED: dict[str, Any] = policy(tools={"default": "deny"})
ALLOWED: dict[str, Any] = policy(
    tools={"default": "deny", "rules": [{"id": "brought", "tool": "brought", "decide": "allow"}]}
)
QUESTION: Any = {"messages": [("user", "hi")]}


@tool
def registered(text: str) -> str:
    """A tool that the agent was made with."""
    return f"registered {text}"


@tool
def brought(text: str) -> str:
    """A tool that only the middleware knows."""
    return f"brought {text}"


class Bringing(AgentMiddleware[Any, Any, Any]):
    """Offers a tool that the agent was not made with, and runs it."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tools=[*request.tools, brought]))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(tools=[*request.tools, brought]))

    def _with_tool(self, request: Any) -> Any:
        return request.override(tool=brought) if request.tool_call["name"] == "brought" else request

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(self._with_tool(request))

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(self._with_tool(request))


def agent(*middleware: Any, asks_for: str) -> Any:
    return create_agent(Whole(rule=once(asks_for, {"text": "x"})), [registered], middleware=list(middleware))


async def told(app: Any, *, asynchronous: bool) -> str:
    """What the model's tool call was answered."""
    result = await app.ainvoke(QUESTION) if asynchronous else app.invoke(QUESTION)
    return next(str(message.text) for message in result["messages"] if isinstance(message, ToolMessage))


def tool_graph(node: ToolNode) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    return builder.compile()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_store_that_is_missing_is_an_error_of_the_graph_and_no_answer_to_the_model(asynchronous: bool) -> None:
    @tool
    def reading(store: Annotated[BaseStore, InjectedStore()]) -> str:
        """Reads from the graph's store."""
        return str(store)

    app = govern(tool_graph(ToolNode([reading], handle_tool_errors=True)), OPEN)
    given: Any = {"messages": [calling("reading")]}

    with pytest.raises(ValueError, match="store"):
        await app.ainvoke(given) if asynchronous else app.invoke(given)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("rules", [OPEN, ALLOWED], ids=["by-default", "by-rule"])
async def test_a_tool_that_middleware_brings_runs_when_the_policy_allows_it(rules: Any, asynchronous: bool) -> None:
    outside = govern(agent(Bringing(), asks_for="brought"), rules)
    inside = agent(GovernorMiddleware(rules), Bringing(), asks_for="brought")

    assert "brought x" == await told(outside, asynchronous=asynchronous)
    assert "brought x" == await told(inside, asynchronous=asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_tool_that_middleware_brings_is_refused_where_nothing_allows_it(asynchronous: bool) -> None:
    outside = govern(agent(Bringing(), asks_for="brought"), CLOSED)
    inside = agent(GovernorMiddleware(CLOSED), Bringing(), asks_for="brought")

    for app in (outside, inside):
        assert (await told(app, asynchronous=asynchronous)).startswith("`brought` was not run: nothing allows it here")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("middleware", [[], [Bringing()]], ids=["plain", "middleware"])
async def test_a_tool_that_nobody_has_is_answered_in_langgraphs_words(middleware: Any, asynchronous: bool) -> None:
    bare = agent(*middleware, asks_for="made_up")

    expected = await told(bare, asynchronous=asynchronous)

    assert "made_up is not a valid tool" in expected
    assert expected == await told(govern(bare, OPEN), asynchronous=asynchronous)


@pytest.mark.parametrize(("names", "stops"), [(("no", "nor"), False), (("registered", "registered"), True)])
def test_a_tool_that_nobody_has_costs_no_call_of_a_budget(names: tuple[str, ...], stops: bool) -> None:
    budgeted = policy(budgets=[{"id": "run", "scope": "run", "limit": {"tool_calls": 1}}])
    calls = [{"name": name, "args": {"text": f"x{place}"}, "id": f"c{place}"} for place, name in enumerate(names)]
    app = govern(tool_graph(ToolNode([registered])), budgeted)

    with watch() as runs:
        app.invoke({"messages": [AIMessage("", tool_calls=calls)]})

    assert stops == (runs[-1].stopped is not None)
