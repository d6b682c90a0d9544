"""What the tests let a LangGraph server serve: the same graphs bare and governed, and the books of what ran.

Loaded by the server, in its own process. `books` answers what a test cannot see from outside: what models were asked, and what governor
reports.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, TypedDict

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from governor.report import GovernorReport
from governor.stores.off_loop import OffLoop
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern
from tests.langgraph.fakes import Calls, Streaming, calling, policy

CALLS = Calls()
REPORTS: list[GovernorReport] = []


@tool
def look_up(q: str) -> str:
    """Look something up."""
    get_stream_writer()({"looking": q})
    return f"found {q}"


@tool
def pay(amount: int) -> str:
    """Pay out."""
    return f"paid {amount}"


def _answer(messages: list[BaseMessage]) -> AIMessage | str:
    """As the person's last message asks for: `look N` looks things up N times, `pay N` pays, everything else is repeated."""
    at, asked = max((at, m.text) for at, m in enumerate(messages) if isinstance(m, HumanMessage))
    done = sum(isinstance(message, ToolMessage) for message in messages[at:])
    verb, _, number = asked.partition(" ")
    if verb == "look" and done < int(number):
        return calling("look_up", {"q": f"thing {done}"}, call_id=f"{at}c{done}")
    if verb == "pay" and not done:
        return calling("pay", {"amount": int(number)}, call_id=f"{at}c0")
    return f"that was {asked} and here are some words"


def _model() -> Streaming:
    return Streaming(rule=_answer, calls=CALLS)


def _agent() -> Any:
    return create_agent(_model(), [look_up, pay])


class _Steps(TypedDict):
    topic: str
    first: str
    said: str
    last: str


def _steps() -> Any:
    """A model call, a question to a person, a model call."""

    def before(state: _Steps) -> dict[str, str]:
        return {"first": _model().invoke(state["topic"]).text}

    def ask(state: _Steps) -> dict[str, str]:
        return {"said": interrupt({"about": state["topic"]})}

    async def after(state: _Steps) -> dict[str, str]:
        return {"last": (await _model().ainvoke(state["said"])).text}

    graph = StateGraph(_Steps)
    for node in (before, ask, after):
        graph.add_node(node)
    graph.add_edge(START, "before").add_edge("before", "ask").add_edge("ask", "after")
    return graph.compile()


_BOTH = asyncio.Barrier(2)


def _pair() -> Any:
    """Two model calls, between which each run waits for another to have made its first: two runs that overlap for certain."""

    async def first(state: MessagesState) -> dict[str, Any]:
        answer = await _model().ainvoke(state["messages"])
        async with asyncio.timeout(30):
            await _BOTH.wait()
        return {"messages": [answer]}

    async def second(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await _model().ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node(first)
    graph.add_node(second)
    graph.add_edge(START, "first").add_edge("first", "second")
    return graph.compile()


def _told(report: GovernorReport) -> dict[str, Any]:
    return {
        "run": report.run.id,
        "thread": report.run.thread,
        "model_calls": report.state.model_calls,
        "tool_calls": report.state.tool_calls,
        "stopped": report.stopped.code if report.stopped else None,
    }


class _Read(TypedDict, total=False):
    asked: list[list[str]]
    reports: list[dict[str, Any]]


def _books() -> Any:
    def read(state: _Read) -> _Read:
        asked: list[list[str]] = [[str(message.text) for message in messages] for _, messages, _ in CALLS.seen]
        return {"asked": asked, "reports": [_told(report) for report in REPORTS]}

    graph = StateGraph(_Read)
    graph.add_node("read", read)
    graph.add_edge(START, "read")
    return graph.compile()


POLICY = policy(
    budgets=[{"id": "run", "scope": "run", "limit": {"model_calls": 4}}],
    tools={"default": "deny", "rules": [
        {"id": "read", "tool": "look_*", "decide": "allow"},
        {"id": "money", "tool": "pay", "decide": "ask"},
    ]},
)  # fmt: skip
STORE = OffLoop(SqliteStore(os.environ["SERVED_LEDGERS"]))

bare_agent, bare_steps = _agent(), _steps()
agent = govern(_agent(), POLICY, store=STORE, on_report=REPORTS.append)
steps = govern(_steps(), POLICY, store=STORE, on_report=REPORTS.append)
pair = govern(_pair(), POLICY, store=STORE, on_report=REPORTS.append)
books = _books()
