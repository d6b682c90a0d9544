"""`split: escrow` in real graphs: a branch's part of a budget is reserved when it begins, and what it does not use goes back."""

from __future__ import annotations

from contextvars import Context
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from governor import CallDenied
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern, watch
from tests.langgraph.fakes import Whole, policy
from tests.langgraph.test_split import RUN, Bag, asking, model, rules, run, sending, used


def counts(store: Any) -> dict[str, tuple[int, int]]:
    """(spent, reserved) of the budget itself; branches have ledgers of their own beside it."""
    return {each.budget: (each.spent, each.reserved) for each in store.balances() if "branch=" not in each.ledger}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("how", RUN)
async def test_one_greedy_branch_of_five_leaves_the_others_their_part(how: str, kind: str, tmp_path: Any) -> None:
    asked, wants = model(), {"greedy": 50, "a": 2, "b": 2, "c": 2, "d": 1}
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "g.db")

    app = govern(sending(asked, how, wants), rules("escrow", 10), store=store)
    with watch() as runs:
        result = await app.ainvoke({"notes": []}) if how == "async" else app.invoke({"notes": []})

    found = used(result["notes"])
    assert {"a": 2, "b": 2, "c": 2, "d": 1} == {name: found[name] for name in "abcd"}
    assert 2 <= found["greedy"] <= 3
    assert {"b": (7 + found["greedy"], 0)} == counts(store)
    assert runs[0].stopped is None
    store.close()


def test_nobody_else_gets_what_a_branch_has_reserved_and_all_of_it_is_free_when_the_run_is_over() -> None:
    asked, store = model(), MemoryStore()
    shared = policy(
        budgets=[{"id": "t", "scope": "tenant", "limit": {"model_calls": 10}, "split": "escrow"}],
        identity={"tenant": "acme"},
    )
    alone = StateGraph(Bag).add_node("one", lambda state: {"notes": asking(asked, "other", 1)}).add_edge(START, "one")
    other = govern(alone.compile(), shared, store=store)
    seen: dict[str, Any] = {}

    def work(state: Any) -> Any:
        if state["name"] == "b":
            seen["reserved"] = counts(store)["t"]
            seen["other"] = Context().run(other.invoke, {"notes": []})["notes"]
        return {"notes": asking(asked, state["name"], 3)}

    graph = StateGraph(Bag).add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"name": name}) for name in "ab"], ["work"])
    app = govern(graph.compile(), shared, store=store)
    result = app.invoke({"notes": []}, {"max_concurrency": 1})

    assert {"a": 3, "b": 3} == used(result["notes"])
    assert (3, 7) == seen["reserved"]
    assert [] == seen["other"]
    assert {"t": (6, 0)} == counts(store)


@pytest.mark.parametrize("how", RUN)
async def test_what_a_branch_did_not_use_is_there_for_those_that_begin_after_it(how: str) -> None:
    asked, store = model(), MemoryStore()

    app = govern(sending(asked, how, {"a": 1, "b": 0, "c": 50}), rules("escrow", 9), store=store)
    config: Any = {"max_concurrency": 1}
    result = await app.ainvoke({"notes": []}, config) if how == "async" else app.invoke({"notes": []}, config)

    assert {"a": 1, "c": 8} == used(result["notes"])
    assert {"b": (9, 0)} == counts(store)


@pytest.mark.parametrize("how", RUN)
async def test_a_branch_within_a_branch_has_a_part_of_its_part(how: str) -> None:
    asked, store = model(), MemoryStore()
    inner = sending(asked, how, {"x": 9, "y": 9, "z": 0})

    def fan(state: Any) -> list[Send]:
        return [Send("branch", {"notes": []}), Send("branch", {"notes": []})]

    graph = StateGraph(Bag).add_node("branch", inner).add_conditional_edges(START, fan, ["branch"])
    app = govern(graph.compile(), rules("escrow", 24), store=store)
    result = await app.ainvoke({"notes": []}) if how == "async" else app.invoke({"notes": []})

    found = used(result["notes"])
    assert 16 <= found["x"] + found["y"] <= 24
    assert {"b": (len(asked.calls), 0)} == counts(store)


@pytest.mark.parametrize("how", RUN)
async def test_a_run_that_waits_for_a_person_reserves_nothing_and_its_branches_find_their_part_again(how: str) -> None:
    asked, store = model(), MemoryStore()

    def work(state: Any) -> Any:
        first = asking(asked, state["name"], 2)
        interrupt("go on?")
        return {"notes": first + asking(asked, state["name"], 9)}

    graph = StateGraph(Bag).add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"name": name}) for name in "ab"], ["work"])
    app = govern(graph.compile(checkpointer=InMemorySaver()), rules("escrow", 12), store=store)
    config: Any = {"configurable": {"thread_id": "t"}}

    await run(app, how, config=config)
    waiting_spent = counts(store)["b"]
    waiting = {each.id: True for each in app.get_state(config).interrupts}
    await run(app, how, Command(resume=waiting), config)

    assert (4, 0) == waiting_spent
    assert {"a": 4, "b": 4} == used(app.get_state(config).values["notes"])
    assert {"b": (12, 0)} == counts(store)


@pytest.mark.parametrize("how", RUN)
async def test_a_run_that_fails_leaves_nothing_reserved(how: str) -> None:
    asked, store = model(), MemoryStore()

    def work(state: Any) -> Any:
        asked.invoke("x")
        raise LookupError

    graph = StateGraph(Bag).add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", {}), Send("work", {})], ["work"])
    with pytest.raises(LookupError):
        await run(govern(graph.compile(), rules("escrow", 4), store=store), how)

    assert (len(asked.calls), 0) == counts(store)["b"]


def test_a_branch_that_a_retry_policy_runs_again_has_its_part_and_not_another() -> None:
    asked, store, tries = model(), MemoryStore(), dict[str, int]()

    def work(state: Any) -> Any:
        name = state["name"]
        tries[name] = tries.get(name, 0) + 1
        notes = asking(asked, name, 2)
        if tries[name] == 1:
            raise ConnectionError
        return {"notes": notes + asking(asked, name, 9)}

    retry = RetryPolicy(initial_interval=0, max_attempts=2, jitter=False)
    graph = StateGraph(Bag).add_node("work", work, retry_policy=retry)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"name": name}) for name in "ab"], ["work"])
    result = govern(graph.compile(), rules("escrow", 12), store=store).invoke({"notes": []}, {"max_concurrency": 1})

    assert 4 == used(result["notes"])["a"]
    assert {"b": (12, 0)} == counts(store)


def test_a_subagent_that_is_one_of_several_tool_calls_has_a_part_of_its_own() -> None:
    asked, store = model(), MemoryStore()

    def ask(state: Bag) -> Any:
        return {"notes": asking(asked, state["notes"][0], {"p": 9, "q": 3}[state["notes"][0]])}

    subagent = StateGraph(Bag).add_node("ask", ask).add_edge(START, "ask").compile()

    @tool
    def research(q: str) -> str:
        """Look something up, by an agent of its own."""
        return " ".join(subagent.invoke({"notes": [q]})["notes"][1:])

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        if any(isinstance(message, ToolMessage) for message in messages):
            return "done"
        uses: list[Any] = [{"name": "research", "args": {"q": q}, "id": q, "type": "tool_call"} for q in ("p", "q")]
        return AIMessage(content="", tool_calls=uses)

    given: Any = {"messages": [("user", "go")]}
    app = govern(create_agent(Whole(rule=rule), [research]), rules("escrow", 11), store=store)
    result = app.invoke(given, {"max_concurrency": 1})

    found = [message.text for message in result["messages"] if isinstance(message, ToolMessage)]
    assert ["p p p p p p!budget.share", "q q q"] == found
    assert "done" == result["messages"][-1].text
    assert {"b": (10, 0)} == counts(store)


def test_a_refusal_says_what_the_branch_had_reserved() -> None:
    said: list[Any] = []

    def work(state: Any) -> Any:
        try:
            for _ in range(3):
                model().invoke("x")
        except CallDenied as denied:
            said.append(denied.reason)
        return {"notes": []}

    graph = StateGraph(Bag).add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", {}), Send("work", {})], ["work"])
    govern(graph.compile(), rules("escrow", 4)).invoke({"notes": []}, {"max_concurrency": 1})

    assert ("budget.share", "b", "2 of 4", "work") == (
        said[0].code,
        said[0].rule,
        said[0].limit,
        said[0].evidence["branch"],
    )


@pytest.mark.parametrize("how", RUN)
async def test_what_siblings_have_reserved_sends_no_branch_down_the_ladder(how: str) -> None:
    asked, wants = model(), {"a": 3, "b": 3, "c": 3, "d": 3}

    app = govern(sending(asked, how, wants), rules("escrow", 40, ladder=[{"at": "80%", "do": "compact"}]))
    with watch() as runs:
        await run(app, how)

    assert 12 == len(asked.calls)
    assert 0 == runs[0].state.ladder.rung
