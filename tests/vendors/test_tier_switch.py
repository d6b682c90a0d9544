"""A conversation that goes from one provider's model to another's and back: each is sent only what it takes, and the thread keeps all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from governor_langgraph import govern
from governor_sandbox import Sandbox
from tests.vendors.clients import CLIENTS, FAMILIES, MODELS
from tests.vendors.test_foreign import ORIGIN, REASONING, TOOL_USE, look_up, said_by

PATHS = list(permutations(FAMILIES, 2))


class Sent(BaseCallbackHandler):
    """What clients were given."""

    def __init__(self) -> None:
        self.seen: list[Sequence[BaseMessage]] = []

    def on_chat_model_start(self, serialized: Any, messages: list[list[BaseMessage]], **kwargs: Any) -> None:
        self.seen.append(messages[0])


def talk(here: str, there: str) -> list[BaseMessage]:
    """A thread in which both have reasoned, called a tool and answered."""
    said: list[BaseMessage] = [HumanMessage("Go.")]
    for family in (here, there):
        marked = {
            "type": "text",
            "text": "Reading.",
            **({"cache_control": {"type": "ephemeral"}} if family == "anthropic" else {}),
        }
        said += [said_by(family, REASONING[family], marked, TOOL_USE), ToolMessage("A is paid", tool_call_id="c1")]
        said += [
            said_by(family, REASONING[family], {"type": "text", "text": "Paid."}, calls=False),
            HumanMessage("And?"),
        ]
    return said


def relay(model: BaseChatModel) -> Any:
    """Nodes `there` and `here`, one after the other, twice."""

    def node(state: MessagesState) -> dict[str, Any]:
        answer = model.bind_tools([look_up]).invoke(state["messages"])
        return {"messages": [answer, HumanMessage("And?")]}

    graph = StateGraph(MessagesState)
    for name in ("there", "here", "there_again", "here_again"):
        graph.add_node(name, node)
    graph.add_edge(START, "there")
    graph.add_edge("there", "here")
    graph.add_edge("here", "there_again")
    graph.add_edge("there_again", "here_again")
    graph.add_edge("here_again", END)
    return graph.compile()


@pytest.mark.parametrize("own", ["untiered", "tiered"])
@pytest.mark.parametrize(("here", "there"), PATHS)
def test_each_provider_is_sent_only_what_it_takes_on_the_way_there_and_back(
    box: Sandbox, here: str, there: str, own: str
) -> None:
    model, other = CLIENTS[here](box), CLIENTS[there](box)
    tiers = {
        "there": {"model": f"{ORIGIN[there]}:{MODELS[there]}"},
        "here": {"model": f"{ORIGIN[here]}:{MODELS[here]}"},
    }
    routing = {
        "rules": [{"id": "r", "when": {"node": "there*"}, "tier": "there"}],
        **({"default": "here"} if own == "tiered" else {}),
    }
    policy = {"governor": 1, "name": "p", "tiers": tiers, "routing": routing, "loops": {"mode": "observe"}}
    sent, history = Sent(), talk(here, there)
    app = govern(relay(model), policy, clients={"there": other, "here": CLIENTS[here](box)})

    result = app.invoke({"messages": history}, {"callbacks": [sent]})

    assert [200] * 4 == [record.status for record in box.meter.records]
    assert [m.content for m in history] == [m.content for m in result["messages"][: len(history)]]
    for messages, family in zip(sent.seen, (there, here) * 2, strict=True):
        foreign = here if family == there else there
        told = str([message.content for message in messages])
        assert str(REASONING[foreign]) not in told
        assert str(REASONING[family]) in told
        assert "cache_control" not in told or family == "anthropic"
        calls = [call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
        assert ["c1", "c1"] == calls
        assert ["A is paid"] * 2 == [m.text for m in messages if isinstance(m, ToolMessage)]
        assert 2 == sum("Paid." in m.text for m in messages)
