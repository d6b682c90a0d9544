"""The net under all tests itself: it sees governed prompts as the provider gets them, and finds what no trace explains."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from governor_langgraph import govern
from governor_sandbox import Conversation, Reply, Sandbox, Scenario
from governor_sandbox.output import ScriptedCall
from tests import prefix_net
from tests.langgraph.fakes import policy
from tests.vendors.clients import BEDROCK, CLIENTS, FAMILIES

POLICY = policy(context={"cache": {"ttl": "5m"}, "order": "auto"})
TURNS = 4


@tool
def search(q: str) -> str:
    """Search."""
    return f"found {q}"


def looking(said: Conversation) -> Reply | str:
    if said.step < TURNS - 1:
        return Reply(text="Let me see.", tool_calls=(ScriptedCall(name="search", args={"q": str(said.step)}),))
    return "the end"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(Scenario.from_callable(looking)) as box:
        yield box


def net() -> prefix_net.Net:
    assert prefix_net.current is not None
    return prefix_net.current


@pytest.mark.parametrize("family", FAMILIES)
def test_an_agent_that_only_appends_is_seen_whole_and_moves_nothing(box: Sandbox, family: str) -> None:
    agent = govern(create_agent(CLIENTS[family](box), [search], system_prompt="Be brief."), POLICY)

    agent.invoke({"messages": [HumanMessage("Look.")]})

    (requests,) = net().lanes.values()
    assert TURNS == len(requests)
    assert [] == net().moves()


def node(model: Any, asked: list[list[BaseMessage]]) -> Any:
    """A graph whose only node asks these one after the other."""

    def talk(state: MessagesState) -> dict[str, Any]:
        del state
        for messages in asked:
            model.invoke(messages)
        return {}

    return StateGraph(MessagesState).add_node("talk", talk).add_edge(START, "talk").compile()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_move_that_the_trace_explains_is_seen_and_allowed(box: Sandbox, family: str) -> None:
    task = HumanMessage("Look.", id="task")
    graph = node(CLIENTS[family](box), [[SystemMessage(text), task] for text in ("One.", "Two.")])

    govern(graph, POLICY).invoke({"messages": []})

    assert 1 == len(net().moves())
    assert [] == net().unexplained()


@pytest.mark.moves_prefix("the client writes another number into each request, which governor cannot see")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_move_that_only_the_wire_shows_is_found(box: Sandbox, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = CLIENTS[family](box)
    number = itertools.count()
    original = type(model)._generate

    def numbered(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        return original(self, [SystemMessage(f"Request {next(number)}."), *messages], *args, **kwargs)

    monkeypatch.setattr(type(model), "_generate", numbered)
    first: list[BaseMessage] = [HumanMessage("Look.", id="task")]
    graph = node(model, [first, [*first, HumanMessage("Again.", id="again")]])

    govern(graph, POLICY).invoke({"messages": []})

    (found,) = net().unexplained()
    assert "Request 1." in str(found)


def test_what_is_not_governed_is_not_looked_at(box: Sandbox) -> None:
    model = CLIENTS[BEDROCK](box)
    for text in ("One.", "Two."):
        model.invoke([SystemMessage(text), HumanMessage("Look.")])

    assert {} == net().lanes


def test_a_number_left_behind_by_an_earlier_net_names_no_call_of_a_later_one(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CLIENTS[BEDROCK](box)
    graph = node(model, [[HumanMessage("Look.", id="task")]])
    govern(graph, POLICY).invoke({"messages": []})
    (left_behind,) = net().calls
    monkeypatch.setattr(prefix_net, "current", later := prefix_net.Net())
    govern(graph, POLICY).invoke({"messages": []})

    token = prefix_net.sending.set(left_behind)
    model.invoke([SystemMessage("Two."), HumanMessage("Look.")])
    prefix_net.sending.reset(token)

    assert [1] == [len(requests) for requests in later.lanes.values()]
