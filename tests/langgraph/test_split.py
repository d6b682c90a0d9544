"""How the branches of real graphs share a budget: `split: shared`, `even` and weighted."""

from __future__ import annotations

import operator
from collections import Counter
from threading import Barrier
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from governor import CallDenied
from governor_langgraph import govern, watch
from tests.langgraph import modes
from tests.langgraph.fakes import Whole, policy

RUN = {"sync": "invoke", "async": "ainvoke"}


class Bag(TypedDict):
    notes: Annotated[list[str], operator.add]


def rules(split: Any, calls: int, **parts: Any) -> dict[str, Any]:
    return policy(budgets=[{"id": "b", "scope": "run", "limit": {"model_calls": calls}, "split": split}], **parts)


def model() -> Whole:
    return Whole(rule=lambda messages: "a note")


def asking(asked: Whole, name: str, times: int) -> list[str]:
    """Ask `times` times, and keep what there is when the branch's share is used up."""
    notes: list[str] = []
    for _ in range(times):
        try:
            asked.invoke(name)
        except CallDenied as denied:
            return [*notes, f"{name}!{denied.reason.code}"]
        notes.append(name)
    return notes


async def aasking(asked: Whole, name: str, times: int) -> list[str]:
    notes: list[str] = []
    for _ in range(times):
        try:
            await asked.ainvoke(name)
        except CallDenied as denied:
            return [*notes, f"{name}!{denied.reason.code}"]
        notes.append(name)
    return notes


def sending(asked: Whole, how: str, wants: dict[str, int], **options: Any) -> Any:
    """A graph that sends one branch for each name to one node, where it asks the model so many times."""

    def work(state: Any) -> Any:
        return {"notes": asking(asked, state["name"], wants[state["name"]])}

    async def awork(state: Any) -> Any:
        return {"notes": await aasking(asked, state["name"], wants[state["name"]])}

    graph = StateGraph(Bag)
    graph.add_node("work", work if how == "sync" else awork)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"name": name}) for name in wants], ["work"])
    return graph.compile(**options)


async def run(app: Any, how: str, given: Any = None, config: Any = None) -> Any:
    return await modes.ALL_MODES[RUN[how]](app, {"notes": []} if given is None else given, config or {})


def used(notes: list[str]) -> dict[str, int]:
    return dict(Counter(note for note in notes if "!" not in note))


@pytest.mark.parametrize("config", [{}, {"max_concurrency": 1}], ids=["at once", "one by one"])
@pytest.mark.parametrize("how", RUN)
async def test_one_greedy_branch_of_five_leaves_the_others_their_share(how: str, config: Any) -> None:
    asked, wants = model(), {"greedy": 50, "a": 2, "b": 2, "c": 2, "d": 2}

    app = govern(sending(asked, how, wants, checkpointer=InMemorySaver()), rules("even", 10))
    config = {**config, "configurable": {"thread_id": "t"}}
    with watch() as runs:
        await run(app, how, config=config)

    notes = app.get_state(config).values["notes"]
    assert dict.fromkeys(wants, 2) == used(notes)
    assert ["greedy!budget.share"] == [note for note in notes if "!" in note]
    assert 10 == len(asked.calls)
    assert runs[0].stopped is None


@pytest.mark.parametrize("how", RUN)
async def test_a_shared_budget_is_one_pool_of_which_one_branch_may_use_all(how: str) -> None:
    asked = model()

    app = govern(sending(asked, how, {"greedy": 10, "a": 0, "b": 0}), rules("shared", 10))
    result = await app.ainvoke({"notes": []}) if how == "async" else app.invoke({"notes": []})

    assert {"greedy": 10} == used(result["notes"])


@pytest.mark.parametrize("split", ["shared", "even", {"weighted": {"*": "10%"}}], ids=str)
def test_a_run_without_a_fan_out_may_use_all_of_a_budget_however_it_is_split(split: Any) -> None:
    asked = model()
    graph = StateGraph(Bag)
    graph.add_node("one", lambda state: {"notes": asking(asked, "one", 5)})
    graph.add_node("two", lambda state: {"notes": asking(asked, "two", 5)})
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")

    result = govern(graph.compile(), rules(split, 10)).invoke({"notes": []})

    assert {"one": 5, "two": 5} == used(result["notes"])


@pytest.mark.parametrize("how", RUN)
async def test_what_a_branch_does_in_nested_graphs_counts_on_its_share(how: str) -> None:
    asked = model()
    inner = sending(asked, how, {"x": 9, "y": 9, "z": 0})

    def fan(state: Any) -> list[Send]:
        return [Send("branch", {"notes": []}), Send("branch", {"notes": []})]

    graph = StateGraph(Bag).add_node("branch", inner).add_conditional_edges(START, fan, ["branch"])
    app = govern(graph.compile(), rules("even", 24))
    result = await app.ainvoke({"notes": []}) if how == "async" else app.invoke({"notes": []})

    assert {"x": 8, "y": 8} == used(result["notes"])  # 12 of 24 for each branch, of which 4 for each of the three in it


async def test_a_fan_out_of_one_within_a_branch_has_what_the_branch_has() -> None:
    asked = model()
    inner = sending(asked, "sync", {"x": 9})

    def fan(state: Any) -> list[Send]:
        return [Send("branch", {"notes": []}), Send("branch", {"notes": []})]

    graph = StateGraph(Bag).add_node("branch", inner).add_conditional_edges(START, fan, ["branch"])
    result = govern(graph.compile(), rules("even", 10)).invoke({"notes": []})

    assert {"x": 10} == used(result["notes"])


def test_a_branch_of_a_weighted_node_may_use_that_share_and_any_other_what_is_left() -> None:
    asked, begun = (
        model(),
        Barrier(3, timeout=60),
    )  # edges announce no width: a branch is one of three once all have begun

    def node(name: str, times: int) -> Any:
        def asks(state: Any) -> dict[str, Any]:
            begun.wait()
            return {"notes": asking(asked, name, times)}

        return asks

    graph = StateGraph(Bag)
    for name, times in (("researcher", 20), ("writer_a", 20), ("other", 3)):
        graph.add_node(name, node(name, times))
        graph.add_edge(START, name)

    split = {"weighted": {"researcher": "50%", "writer*": "20%"}}
    result = govern(graph.compile(), rules(split, 10)).invoke({"notes": []})

    assert 3 == used(result["notes"])["other"]
    assert 5 == used(result["notes"])["researcher"]
    assert 2 == used(result["notes"])["writer_a"]


@pytest.mark.parametrize("how", RUN)
async def test_a_branch_that_is_resumed_goes_on_with_what_was_left_of_its_share(how: str) -> None:
    asked = model()

    def work(state: Any) -> Any:
        first = asking(asked, state["name"], 2)
        interrupt("go on?")
        return {"notes": first + asking(asked, state["name"], 9)}

    graph = StateGraph(Bag).add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"name": name}) for name in "ab"], ["work"])
    app = govern(graph.compile(checkpointer=InMemorySaver()), rules("even", 12))
    config: Any = {"configurable": {"thread_id": "t"}}

    await run(app, how, config=config)
    asked_before = len(asked.calls)
    waiting = {each.id: True for each in app.get_state(config).interrupts}
    await run(app, how, Command(resume=waiting), config)

    assert 4 == asked_before
    assert 12 == len(
        asked.calls
    )  # six for each branch: two before the interrupt, and four of the calls made again and after it
    assert {"a": 4, "b": 4} == used(app.get_state(config).values["notes"])


def test_a_refusal_names_the_branch_its_share_and_what_to_do() -> None:
    said: list[Any] = []

    def work(state: Any) -> Any:
        try:
            model().invoke("x")
            model().invoke("x")
        except CallDenied as denied:
            said.append(denied.reason)
        return {"notes": []}

    graph = StateGraph(Bag).add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", {}), Send("work", {})], ["work"])
    govern(graph.compile(), rules("even", 2)).invoke({"notes": []})

    assert ("budget.share", "b", "1/2 of 2", "work") == (
        said[0].code,
        said[0].rule,
        said[0].limit,
        said[0].evidence["branch"],
    )
    assert "Branch work may use 1/2 of 2 model calls of budget b" in said[0].text
    assert "CallDenied" in said[0].remedy


def test_a_subagent_that_is_one_of_several_tool_calls_has_a_share_of_its_own() -> None:
    asked = model()

    def ask(state: Bag) -> Any:
        return {"notes": asking(asked, state["notes"][0], 9)}

    graph = StateGraph(Bag).add_node("ask", ask)
    subagent = graph.add_edge(START, "ask").compile()

    @tool
    def research(q: str) -> str:
        """Look something up, by an agent of its own."""
        return " ".join(subagent.invoke({"notes": [q]})["notes"][1:])

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        if any(isinstance(message, ToolMessage) for message in messages):
            return "done"
        uses: list[Any] = [{"name": "research", "args": {"q": q}, "id": q, "type": "tool_call"} for q in ("p", "q")]
        return AIMessage(content="", tool_calls=uses)

    app = govern(create_agent(Whole(rule=rule), [research]), rules({"weighted": {"tools": "40%"}}, 10))
    given: Any = {"messages": [("user", "go")]}
    result = app.invoke(given)

    found = [message.text for message in result["messages"] if isinstance(message, ToolMessage)]
    assert ["p p p p p!budget.share", "q q q q q!budget.share"] == found
    assert "done" == result["messages"][-1].text


@pytest.mark.parametrize("how", RUN)
async def test_a_branch_near_the_end_of_its_share_does_not_send_the_whole_run_down_the_ladder(how: str) -> None:
    asked, wants = model(), {"greedy": 50, "a": 3, "b": 3, "c": 3}

    ladder = [{"at": "80%", "do": "compact"}, {"at": "90%", "do": "last_call"}]
    app = govern(sending(asked, how, wants), rules("even", 40, ladder=ladder))
    with watch() as runs:
        result = await app.ainvoke({"notes": []}) if how == "async" else app.invoke({"notes": []})

    assert {"greedy": 10, "a": 3, "b": 3, "c": 3} == used(result["notes"])
    assert 0 == runs[0].state.ladder.rung


@pytest.mark.parametrize("how", RUN)
async def test_a_branch_that_catches_nothing_fails_as_by_any_denied_call(how: str) -> None:
    asked = model()

    def work(state: Any) -> Any:
        return {"notes": [str(asked.invoke("x").text) for _ in range(3)]}

    graph = StateGraph(Bag).add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", {}), Send("work", {})], ["work"])
    app = govern(graph.compile(), rules("even", 4))

    with pytest.raises(CallDenied, match=r"may use 1/2 of 4 model calls"):
        await run(app, how)
    assert len(asked.calls) <= 4


def test_a_run_that_its_branches_bring_down_the_ladder_is_told_of_the_budget_and_not_of_a_share() -> None:
    asked = model()

    app = govern(
        sending(asked, "sync", {"a": 5, "b": 5}), rules("even", 10, ladder=[{"at": "50%", "do": {"fan_out": 9}}])
    )
    with watch() as runs:
        app.invoke({"notes": []})

    ladder = runs[0].state.ladder
    assert (1, "10") == (ladder.rung, ladder.written)
    assert "branch=" not in ladder.ledger
