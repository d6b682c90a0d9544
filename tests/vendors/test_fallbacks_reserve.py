"""A retry and a fallback are calls like any other: each is held at its own model's price, and the attempt before it settles by evidence."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from governor.ledger import Unit
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_sandbox import Fault, Sandbox, Scenario
from tests.vendors.clients import anthropic, openai

GIVEN: Any = {"messages": [HumanMessage("Go on.")]}


def governed(answer: Any, store: MemoryStore, limit: float = 1) -> Any:
    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [answer.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    budgets = [{"id": "b", "scope": "run", "limit": {"usd": limit, "model_calls": 10}}]
    policy = {
        "governor": 1,
        "name": "p",
        "tools": {"default": "allow"},
        "budgets": budgets,
        "on_exhausted": "stop",
    }
    return govern(graph, policy, store=store)


def spent(store: MemoryStore) -> dict[str, int]:
    assert all(balance.reserved == 0 for balance in store.balances())
    return {balance.unit: balance.spent for balance in store.balances()}


def test_a_fallback_that_is_free_because_nobody_knows_its_price_is_refused_under_a_money_limit() -> None:
    with Sandbox(Scenario.always("ok")) as box:
        box.fault(Fault(kind="throttle", nth=(1,)))
        free = openai(box, model="a-model-that-nobody-lists", max_tokens=100)
        store = MemoryStore()

        with pytest.raises(Exception, match="429"):  # of several failures `with_fallbacks` raises the first
            governed(openai(box, max_tokens=100).with_fallbacks([free]), store).invoke(GIVEN)

        assert 1 == len(box.meter.records)
        assert 0 == spent(store)[Unit.NANO_USD]  # throttled: refused before a token


def test_a_fallback_is_held_at_its_own_price_and_the_attempt_of_unknown_outcome_at_its_worst_case() -> None:
    with Sandbox(Scenario.always("ok")) as box:
        box.fault(Fault(kind="disconnect", nth=(1,)))
        store = MemoryStore()

        governed(openai(box, max_tokens=100).with_fallbacks([anthropic(box, max_tokens=100)]), store).invoke(GIVEN)

        assert 2 == len(box.meter.records) == spent(store)[Unit.MODEL_CALLS]
        assert box.meter.bill().nano_usd < spent(store)[Unit.NANO_USD]


def test_a_fallback_to_a_dearer_model_is_refused_where_the_cheap_one_had_fitted() -> None:
    with Sandbox(Scenario.always("ok")) as box:
        box.fault(Fault(kind="throttle", nth=(1,)))
        cheap, dear = openai(box, model="gpt-4.1-mini", max_tokens=300), anthropic(box, max_tokens=300)
        store = MemoryStore()

        with pytest.raises(Exception, match="429"):  # of several failures `with_fallbacks` raises the first
            governed(cheap.with_fallbacks([dear]), store, 0.001).invoke(GIVEN)

        assert 1 == len(box.meter.records)


def test_every_retry_is_a_call_with_a_hold_of_its_own() -> None:
    with Sandbox(Scenario.always("ok")) as box:
        box.fault(Fault(kind="throttle", nth=(1, 2)))
        store = MemoryStore()
        patient = openai(box, max_tokens=100).with_retry(stop_after_attempt=3, wait_exponential_jitter=False)

        governed(patient, store).invoke(GIVEN)

        assert 3 == len(box.meter.records)
        assert 1 == spent(store)[Unit.MODEL_CALLS]  # two were refused before a token, and given back
        assert box.meter.bill().nano_usd == spent(store)[Unit.NANO_USD]
