"""Lines of the system text that change, with real clients: seen to change they go to the tail, and the prefix is read from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from governor.runs import dump_state, parse_state
from governor.stores.memory import MemoryStore
from governor_langgraph import govern, report_of
from governor_sandbox import Conversation, Sandbox, Scenario
from tests import prefix_net
from tests.langgraph.fakes import policy
from tests.vendors.clients import CLIENTS, FAMILIES, LONG

RULES = policy(context={"cache": {"ttl": "5m"}, "order": "auto"})


def clocked(minute: int) -> str:
    return f"You are the desk.\nCurrent time: 13:{minute:02}\n{LONG}"


def retrieved(number: int) -> str:
    return f"You are the desk.\n{LONG}\n## Passages\n- order {number} left on day {number}\n\n## Rules\nBe brief and be kind."


def at_minute(minute: int, _: int) -> str:
    return clocked(minute)


def calm(_: int) -> str:
    return clocked(0)


def agent(model: Any, text: Callable[[int], str], calls: int = 4, saver: Any = None) -> Any:
    """Asks `calls` times in one node; `text` makes the system text of each."""

    def talk(state: MessagesState) -> dict[str, Any]:
        asked: list[AnyMessage] = [*state["messages"]]
        for number in range(calls):
            asked += [
                model.invoke([SystemMessage(text(number)), *asked]),
                HumanMessage(f"And ({number})?", id=f"q{len(asked)}"),
            ]
        return {"messages": asked}

    graph: Any = StateGraph(MessagesState)
    return graph.add_node("talk", talk).add_edge(START, "talk").compile(checkpointer=saver)


def asked(number: int = 0) -> dict[str, Any]:
    return {"messages": [HumanMessage("Where is my order?", id=f"task{number}")]}


def moves() -> Sequence[object]:
    assert prefix_net.current is not None
    assert [] == prefix_net.current.unexplained()
    return prefix_net.current.moves()


@pytest.mark.parametrize("text", [clocked, retrieved])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_seen_to_change_is_told_last_and_costs_no_cached_token(
    family: str, text: Callable[[int], str]
) -> None:
    heard: list[Conversation] = []
    with Sandbox(Scenario.from_callable(lambda said: heard.append(said) or "fine")) as box:
        govern(agent(CLIENTS[family](box), text), RULES).invoke(asked())
        usages = [record.usage for record in box.meter.records]

    lines = [next(line for line in text(number).split("\n") if line not in text(number + 1)) for number in range(4)]
    assert [line in said.system for line, said in zip(lines, heard, strict=True)] == [True, False, False, False]
    assert [line in said.last.text for line, said in zip(lines, heard, strict=True)] == [False, True, True, True]
    assert all(usage.cache_read > 1000 for usage in usages[2:])
    assert 1 == len(moves())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_line_that_never_changes_is_left_where_it_is(family: str) -> None:
    heard: list[Conversation] = []
    with Sandbox(Scenario.from_callable(lambda said: heard.append(said) or "fine")) as box:
        govern(agent(CLIENTS[family](box), calm), RULES).invoke(asked())

    assert {clocked(0)} == {said.system for said in heard}
    assert [] == moves()


def test_a_text_that_changed_while_its_thread_paused_moves_the_prefix_once_and_never_again_whoever_goes_on() -> None:
    heard: list[Conversation] = []
    store, saver = MemoryStore(), InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}
    with Sandbox(Scenario.from_callable(lambda said: heard.append(said) or "fine")) as box:
        for day in range(4):  # each in a process of its own, as far as governor's memory goes
            graph = agent(CLIENTS["anthropic"](box), partial(at_minute, day), 2, saver)
            govern(graph, RULES, store=store).invoke(asked(0), config)

    assert [True] * 2 + [False] * 6 == ["Current time" in said.system for said in heard]
    assert 1 == len(moves())


def test_a_clock_that_differs_between_conversations_is_told_last_from_the_second_on() -> None:
    heard: list[Conversation] = []
    at = iter(range(60))
    with Sandbox(Scenario.from_callable(lambda said: heard.append(said) or "fine")) as box:
        app = govern(agent(CLIENTS["anthropic"](box), lambda _: clocked(next(at)), 1), RULES)
        for number in range(4):
            app.invoke(asked(number))
        usages = [record.usage for record in box.meter.records]

    assert ["Current time" in said.system for said in heard] == [True, False, False, False]
    assert all(usage.cache_read > 1000 for usage in usages[2:])


def test_a_call_that_is_made_again_is_sent_the_same_text() -> None:
    heard: list[Conversation] = []
    failures = iter([False, False, True, False, False])

    def answer(said: Conversation) -> Any:
        heard.append(said)
        if next(failures):
            raise RuntimeError("lost")
        return "fine"

    def twice(model: Any) -> Any:
        def ask(state: MessagesState, minute: int) -> Any:
            return model.invoke([SystemMessage(clocked(minute)), *state["messages"]])

        def talk(state: MessagesState) -> dict[str, Any]:
            ask(state, 0)
            ask(state, 1)
            try:
                ask(state, 2)
            except Exception:
                ask(state, 2)
            return {"messages": [ask(state, 3)]}

        graph: Any = StateGraph(MessagesState)
        return graph.add_node("talk", talk).add_edge(START, "talk").compile()

    with Sandbox(Scenario.from_callable(answer)) as box:
        govern(twice(CLIENTS["anthropic"](box)), RULES).invoke(asked())

    assert 1 == len({said.system for said in heard[1:]})


def test_what_is_known_of_a_lane_is_kept_with_the_run() -> None:
    saver = InMemorySaver()
    with Sandbox(Scenario.from_callable(lambda _: "fine")) as box:
        app = govern(agent(CLIENTS["anthropic"](box), clocked, 2, saver), RULES)
        app.invoke(asked(), {"configurable": {"thread_id": "t"}})
        report = report_of(app, {"configurable": {"thread_id": "t"}})
    assert report is not None
    state = report.state

    (lane,) = state.lanes.values()
    assert lane.steady[0].apart
    assert state == parse_state(dump_state(state))


def test_order_off_leaves_the_system_text_as_it_is() -> None:
    heard: list[Conversation] = []
    with Sandbox(Scenario.from_callable(lambda said: heard.append(said) or "fine")) as box:
        app = govern(agent(CLIENTS["anthropic"](box), clocked), policy(context={"cache": {"ttl": "5m"}}))
        app.invoke(asked())

    assert all("Current time" in said.system for said in heard)
