"""A run's last call on the wire of each provider: the tools stay where the prompt cache has them, and are not to be called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from governor_langgraph import govern
from governor_sandbox import Conversation, Reply, Sandbox, Scenario
from governor_sandbox.output import ScriptedCall
from tests.langgraph import graphs
from tests.langgraph.fakes import policy
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, FAMILIES, OPENAI

LAST = policy(
    ladder=[{"at": "92%", "do": "last_call"}], budgets=[{"id": "b", "scope": "run", "limit": {"model_calls": 4}}]
)
GIVEN: Any = {"messages": [("user", "what is x?")]}
NO_TOOLS = {ANTHROPIC: {"type": "none"}, OPENAI: "none", BEDROCK: None}


def working(said: Conversation) -> Reply | str:
    """Goes on for ever, until it reads that this is its last answer."""
    if "last answer" in str(said.last):
        return "what I have"
    return Reply(text="Let me see.", tool_calls=(ScriptedCall(name="search", args={"q": str(said.step)}),))


def stubborn(said: Conversation) -> Reply | str:
    """Asks for a tool whatever it is told."""
    return Reply(text="One more.", tool_calls=(ScriptedCall(name="search", args={"q": str(said.step)}),))


def watched(family: str, box: Sandbox) -> tuple[Any, list[dict[str, Any]]]:
    """A client, and the requests that leave it."""
    model: Any = CLIENTS[family](box)
    sent: list[dict[str, Any]] = []
    if family == BEDROCK:
        model.client.meta.events.register("before-send.*", lambda request, **_: sent.append(json.loads(request.body)))
        return model, sent
    http = model._client._client if family == ANTHROPIC else model.root_client._client
    http.event_hooks = {"request": [lambda request: sent.append(json.loads(request.content))], "response": []}
    return model, sent


@pytest.mark.parametrize("family", FAMILIES)
def test_the_run_ends_with_an_answer_and_the_provider_is_told_that_no_tool_is_to_be_called(family: str) -> None:
    with Sandbox(Scenario.from_callable(working)) as box:
        model, sent = watched(family, box)
        result = govern(graphs.agent(model), LAST).invoke(GIVEN)
        statuses = [record.status for record in box.meter.records]

    *_, before, last = sent
    assert "what I have" == result["messages"][-1].text
    assert [200] * 4 == statuses
    assert NO_TOOLS[family] == last.get("tool_choice")
    assert _tools(before) == _tools(last)
    assert _system_and_history(before) == _system_and_history(last)[: len(_system_and_history(before))]


def test_a_converse_model_that_asks_for_tools_all_the_same_leaves_no_call_open() -> None:
    with Sandbox(Scenario.from_callable(stubborn)) as box:
        model, _ = watched(BEDROCK, box)
        result = govern(graphs.agent(model), LAST).invoke(GIVEN)
        statuses = [record.status for record in box.meter.records]

    called = {call["id"] for message in result["messages"] for call in getattr(message, "tool_calls", ())}
    answered = {message.tool_call_id for message in result["messages"] if message.type == "tool"}
    assert called == answered
    assert {200} == set(statuses)


def _tools(body: dict[str, Any]) -> Any:
    tools = body.get("tools") or body["toolConfig"]["tools"]
    assert tools
    return tools


def _system_and_history(body: dict[str, Any]) -> list[str]:
    """Every block of the messages in order, as text."""
    blocks: list[str] = []
    for message in body["messages"]:
        content = message["content"]
        blocks += [str(each) for each in content] if isinstance(content, list) else [str(content)]
    return blocks
