"""A looping agent under each response, over HTTP: no request of it is one that its provider would reject."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from governor_langgraph import govern
from governor_sandbox import Conversation, Reply, Sandbox, Scenario
from governor_sandbox.output import ScriptedCall
from tests.vendors.clients import CLIENTS, FAMILIES

THREAD: Any = {"configurable": {"thread_id": "t"}}
RULES: dict[str, Any] = {"governor": 1, "name": "loops", "tools": {"default": "allow"}}
PAGE = "A page with enough on it to be content rather than an acknowledgement. " * 40


def looping(_: Conversation) -> Reply:
    """Asks for the same two calls for ever."""
    return Reply(text="I will look again.", tool_calls=(ScriptedCall(name="read", args={"path": "a"}),) * 2)


@pytest.mark.parametrize(
    "respond", [["nudge", "stop"], ["block", "stop"], ["nudge", "block", "stop"], ["compact", "stop"]]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_looping_agent_is_taken_by_its_provider_through_every_response(family: str, respond: list[str]) -> None:
    @tool
    def read(path: str) -> str:
        """Read a file."""
        return PAGE

    with Sandbox(Scenario.from_callable(looping)) as box:
        rules = {
            **RULES,
            "loops": {"respond": respond},
            "context": {"compact": {"strategy": "ledger", "keep_tail": "1k"}},
        }
        app = govern(create_agent(CLIENTS[family](box), [read], checkpointer=InMemorySaver()), rules)

        app.invoke({"messages": [HumanMessage("work")]}, THREAD)
        looped = len(box.meter.records)

        assert 4 <= looped <= 20
        assert {"ok"} == {record.outcome for record in box.meter.records}
