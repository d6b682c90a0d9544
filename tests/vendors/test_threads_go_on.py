"""A thread in which a run was stopped inside of a tool is taken by every provider again."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from governor import RunStopped
from governor_langgraph import govern
from governor_sandbox import Conversation, Reply, Sandbox, Scenario
from governor_sandbox.output import ScriptedCall
from tests.langgraph import graphs
from tests.vendors.clients import CLIENTS, FAMILIES

RULES: dict[str, Any] = {
    "governor": 1,
    "name": "two",
    "tools": {"default": "allow"},
    "budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 2}}],
}


def working(said: Conversation) -> Reply | str:
    """Ask for three tools when told to work; the sandbox refuses a history with an open call, as the providers do."""
    if said.last.role == "user" and said.tools and said.last.text == "work":
        return Reply(tool_calls=tuple(ScriptedCall(name="helper", args={"q": str(n)}) for n in range(3)))
    return "done"


@pytest.mark.parametrize("ends", ["finish", "stop"])
@pytest.mark.parametrize("build", [graphs.tool_loop, create_agent])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_next_turn_after_a_stop_inside_of_a_tool_works(family: str, build: Any, ends: str) -> None:
    thread: Any = {"configurable": {"thread_id": "t"}}
    with Sandbox(Scenario.from_callable(working)) as box:
        model = CLIENTS[family](box)

        @tool
        def helper(q: str) -> str:
            """Ask another model."""
            return str(model.invoke([HumanMessage(q)]).text)

        app = govern(build(model, [helper], checkpointer=InMemorySaver()), {**RULES, "on_exhausted": ends})
        with suppress(RunStopped):
            app.invoke({"messages": [HumanMessage("work")]}, thread)
        result = app.invoke({"messages": [HumanMessage("hello")]}, thread)

    assert "done" == result["messages"][-1].text
    assert ["human", "ai", "tool", "tool", "tool", "human", "ai"] == [message.type for message in result["messages"]]
