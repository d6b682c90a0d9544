"""A ladder's `fan_out` in real graphs: all branches of a fan-out end, and no more than so many of them ask a provider at once."""

from __future__ import annotations

import asyncio
import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from governor_langgraph import govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Calls, Streaming, Whole, policy

LADDER: list[dict[str, Any]] = [{"at": "1%", "do": {"fan_out": 2}}]
BRANCHES = 12


def rules(limit: int = 200, **parts: Any) -> dict[str, Any]:
    return policy(budgets=[{"id": "b", "scope": "run", "limit": {"model_calls": limit}}], ladder=LADDER, **parts)


class Meeting(Calls):
    """Lets calls answer in pairs: each waits until another is under way. Remembers how many there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.here = self.most = 0
        self.pair, self.apair = threading.Barrier(2, timeout=60), asyncio.Barrier(2)

    def come(self) -> None:
        with self.lock:
            self.here += 1
            self.most = max(self.most, self.here)

    def go(self) -> None:
        with self.lock:
            self.here -= 1


class Paired(Whole):
    """A model whose calls meet."""

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.calls.come()
        try:
            self.calls.pair.wait()
            return super()._generate(messages, stop, run_manager, **kwargs)
        finally:
            self.calls.go()

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.calls.come()
        try:
            await self.calls.apair.wait()
            return super()._generate(messages, stop, run_manager, **kwargs)
        finally:
            self.calls.go()


class Bag(TypedDict):
    notes: Annotated[list[str], operator.add]


def spread(model: Any, count: int = BRANCHES, inner: Any = None) -> Any:
    """A fan-out whose branches ask a model, or run a graph."""

    def work(state: Any) -> Bag:
        return {"notes": [model.invoke([HumanMessage(str(state))]).text]}

    async def awork(state: Any) -> Bag:
        return {"notes": [(await model.ainvoke([HumanMessage(str(state))])).text]}

    graph: Any = StateGraph(Bag)
    graph.add_node("work", inner or RunnableLambda(work, awork))
    graph.add_conditional_edges(START, lambda _: [Send("work", {"notes": []}) for _ in range(count)], ["work"])
    return graph.compile()


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
async def test_all_branches_end_and_no_more_than_the_rung_allows_ask_at_once(how: str, nested: bool) -> None:
    calls = Meeting()
    model = Paired(rule=lambda _: "a note", calls=calls)
    graph = spread(model, 4, spread(model, BRANCHES // 4)) if nested else spread(model)

    with watch() as runs:
        await modes.ALL_MODES[how](govern(graph, rules()), {"notes": []}, {})

    assert runs[0].stopped is None
    assert (BRANCHES, 2) == (len(calls), calls.most)
    (balance,) = runs[0].budgets
    assert (BRANCHES, 0) == (balance.spent, balance.reserved)


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_limit_still_refuses_what_a_rung_lets_wait(how: str) -> None:
    model = Whole(rule=lambda _: "a note")

    with watch() as runs:
        await modes.ALL_MODES[how](govern(spread(model), rules(limits={"fan_out": 4})), {"notes": []}, {})

    assert runs[0].stopped is not None
    assert "limits.fan_out" == runs[0].stopped.code


async def test_branches_that_fail_let_the_others_go_on() -> None:
    calls = Calls()

    def rule(messages: list[BaseMessage]) -> str:
        if len(calls) % 2:
            message = "boom"
            raise RuntimeError(message)
        return "a note"

    model = Whole(rule=rule, calls=calls)

    async def work(state: Any) -> Bag:
        try:
            return {"notes": [(await model.ainvoke([HumanMessage(str(state))])).text]}
        except RuntimeError:
            return {"notes": ["none"]}

    graph: Any = StateGraph(Bag)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda _: [Send("work", {"notes": []}) for _ in range(BRANCHES)], ["work"])

    result = await govern(graph.compile(), rules()).ainvoke({"notes": []})

    assert {"none": BRANCHES // 2, "a note": BRANCHES // 2} == {
        each: result["notes"].count(each) for each in ("none", "a note")
    }


def test_an_agent_with_such_a_rung_works_as_without() -> None:
    model = Streaming(rule=lambda _: "the end", max_tokens=10)

    result = govern(graphs.agent(model), rules()).invoke({"messages": [("user", "what is x?")]})

    assert "the end" == result["messages"][-1].text
