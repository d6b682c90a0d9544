"""What a real client offers is what its answers are held against: arguments by the tool's schema, text by the format asked for."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, Field

from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_sandbox import Reply, Sandbox, Scenario, ScriptedCall
from tests.vendors.clients import CLIENTS, FAMILIES, MODELS
from tests.vendors.test_attempts import spent
from tests.vendors.test_fail_over import OTHER, PROVIDERS


class Refund(BaseModel):
    """Give money back."""

    order: str
    cents: int = Field(ge=1)
    reason: str = "unknown"


def desk(box: Sandbox, family: str, node: Any, **escalate: Any) -> tuple[Any, MemoryStore]:
    """A graph of that node, with a tier of the family and a better one of another."""
    other = OTHER[family]
    policy = {
        "governor": 1,
        "name": "p",
        "identity": {"org": "acme"},
        "tiers": {
            "better": {"model": f"{PROVIDERS[other]}:{MODELS[other]}", "max_output_tokens": 200},
            "own": {"model": f"{PROVIDERS[family]}:{MODELS[family]}", "max_output_tokens": 200},
        },
        "routing": {
            "default": "own",
            "escalate": {"after": ["invalid_arguments", "invalid_output"], **escalate},
        },
        "budgets": [{"id": "b", "scope": "org", "limit": {"usd": 10}}],
        "tools": {"default": "allow"},
    }
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    store = MemoryStore()
    clients = {"own": CLIENTS[family](box), "better": CLIENTS[other](box)}
    return govern(graph, policy, store=store, clients=clients), store


GIVEN: Any = {"messages": [HumanMessage("Refund order A-7.")]}


def calls(**args: Any) -> Reply:
    return Reply(tool_calls=(ScriptedCall(name="Refund", args=args),))


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_arguments_that_the_offered_tool_does_not_take_are_asked_for_again(family: str, repair: bool) -> None:
    asked = list[Any]()

    def behave(talk: Any) -> Reply:
        asked.append(talk)
        return calls(order="A-7", cents=100) if len(asked) > 1 else calls(order="A-7")

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [CLIENTS[family](box).bind_tools([Refund]).invoke(state["messages"])]}

    with Sandbox(Scenario.from_callable(behave)) as box:
        app, store = desk(box, family, node, repair=repair)
        result = app.invoke(GIVEN)

        assert {"order": "A-7", "cents": 100} == result["messages"][-1].tool_calls[0]["args"]
        second = MODELS[family if repair else OTHER[family]]
        assert [MODELS[family], second] == [record.model for record in box.meter.records]
        assert ("`cents` is missing" in asked[1].last.text) == repair
        assert box.meter.bill().nano_usd == spent(store, "nano_usd")


@pytest.mark.parametrize("args", [{"order": "A-7", "cents": "100"}, {"order": 7, "cents": 100, "made_up": 1}])
@pytest.mark.parametrize("family", FAMILIES)
def test_arguments_that_a_lenient_tool_takes_are_not(family: str, args: dict[str, Any]) -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [CLIENTS[family](box).bind_tools([Refund]).invoke(state["messages"])]}

    with Sandbox(Scenario.from_callable(lambda talk: calls(**args))) as box:
        app, _ = desk(box, family, node)
        app.invoke(GIVEN)

        assert [MODELS[family]] == [record.model for record in box.meter.records]


def test_a_text_that_has_not_the_form_asked_for_is_asked_for_again() -> None:
    def behave(talk: Any) -> Reply:
        good = talk.model == MODELS[OTHER["openai"]]
        return Reply(text='{"order": "A-7", "cents": 100, "reason": "late"}' if good else "It is A-7, for one dollar.")

    def node(state: MessagesState) -> dict[str, Any]:
        form = {"type": "json_schema", "json_schema": {"name": "refund", "schema": Refund.model_json_schema()}}
        return {"messages": [CLIENTS["openai"](box).bind(response_format=form).invoke(state["messages"])]}

    with Sandbox(Scenario.from_callable(behave)) as box:
        app, _ = desk(box, "openai", node)
        result = app.invoke(GIVEN)

        assert 100 == Refund.model_validate_json(result["messages"][-1].text).cents
        assert 2 == len(box.meter.records)
