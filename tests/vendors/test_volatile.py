"""A clock in the system text, with real clients: its line goes to the tail, so that the prefix stays and is read."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.graph import START, MessagesState, StateGraph

from governor_langgraph import govern
from governor_sandbox import Conversation, Sandbox, Scenario
from tests import prefix_net
from tests.langgraph.fakes import policy
from tests.vendors.clients import CLIENTS, FAMILIES, LONG


def clocked(model: Any) -> Any:
    def talk(state: MessagesState) -> dict[str, Any]:
        asked: list[AnyMessage] = [*state["messages"]]
        for minute in range(4):
            system = SystemMessage(f"You are the desk.\nCurrent time: 13:0{minute}\n{LONG}")
            asked += [model.invoke([system, *asked]), HumanMessage(f"And then ({minute})?", id=f"q{minute}")]
        return {"messages": asked}

    graph: Any = StateGraph(MessagesState)
    return graph.add_node("talk", talk).add_edge(START, "talk").compile()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clock_is_told_last_and_costs_no_cached_token(family: str) -> None:
    heard: list[Conversation] = []
    with Sandbox(Scenario.from_callable(lambda said: heard.append(said) or "fine")) as box:
        app = govern(clocked(CLIENTS[family](box)), policy(context={"cache": {"ttl": "5m"}, "order": "auto"}))
        app.invoke({"messages": [HumanMessage("Where is my order?", id="task")]})
        usages = [record.usage for record in box.meter.records]

    assert ["Current time" in said.system for said in heard] == [False] * 4
    assert [f"13:0{minute}" in said.last.text for minute, said in enumerate(heard)] == [True] * 4
    assert all(usage.cache_read > 1000 for usage in usages[1:])
    assert prefix_net.current is not None
    assert [] == prefix_net.current.moves()


def test_order_off_leaves_the_system_text_as_it_is() -> None:
    heard: list[Conversation] = []
    with Sandbox(Scenario.from_callable(lambda said: heard.append(said) or "fine")) as box:
        app = govern(clocked(CLIENTS["anthropic"](box)), policy(context={"cache": {"ttl": "5m"}}))
        app.invoke({"messages": [HumanMessage("Where is my order?", id="task")]})

    assert all("Current time" in said.system for said in heard)
