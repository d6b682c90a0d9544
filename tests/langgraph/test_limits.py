"""Steps, depth, branches and time are those of the whole run, whatever graphs it is made of."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, Send

from governor_langgraph import govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Streaming, once, policy

RUN = {"sync": "invoke", "async": "ainvoke"}


class Bag(TypedDict):
    items: Annotated[list[int], operator.add]


def wide(width: int, body: Any) -> Any:
    """A graph that sends `width` branches to one node."""
    graph = StateGraph(Bag)
    graph.add_node("work", body)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"items": []}) for _ in range(width)], ["work"])
    return graph.compile()


def one(state: Any) -> dict[str, Any]:
    return {"items": [1]}


def side_by_side(width: int) -> Any:
    graph = StateGraph(Bag)
    for number in range(width):
        graph.add_node(f"n{number}", one)
        graph.add_edge(START, f"n{number}")
    return graph.compile()


async def stopped_by(app: Any, given: Any, how: str) -> Any:
    with watch() as runs:
        await modes.ALL_MODES[RUN[how]](app, given, {})
    return runs[0].stopped


@pytest.mark.parametrize("how", RUN)
@pytest.mark.parametrize("build", [lambda n: wide(n, one), side_by_side], ids=["send", "edges"])
async def test_branches_of_one_superstep_are_counted_however_fast_they_end(build: Any, how: str) -> None:
    limit = policy(limits={"fan_out": 4})

    assert await stopped_by(govern(build(4), limit), {"items": []}, how) is None
    reason = await stopped_by(govern(build(5), limit), {"items": []}, how)
    assert ("limits.fan_out", "4", "5") == (reason.code, reason.limit, reason.seen)
    assert "raise limits.fan_out" in reason.remedy


@pytest.mark.parametrize("how", RUN)
async def test_a_fan_out_inside_of_a_fan_out_multiplies(how: str) -> None:
    inner = wide(3, one)
    graph = StateGraph(Bag)
    graph.add_node("first", inner)
    graph.add_node("second", inner)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")

    assert await stopped_by(govern(graph.compile(), policy(limits={"fan_out": 3})), {"items": []}, how) is None
    assert await stopped_by(govern(wide(3, inner), policy(limits={"fan_out": 9})), {"items": []}, how) is None
    assert await stopped_by(govern(wide(3, inner), policy(limits={"fan_out": 4})), {"items": []}, how) is not None


def test_supersteps_one_after_the_other_are_no_fan_out() -> None:
    graph, child = StateGraph(Bag), side_by_side(1)
    graph.add_node("loop", lambda state: [child.invoke({"items": []}) for _ in range(6)] and {"items": [1]})
    graph.add_node("after", one)
    graph.add_edge(START, "loop")
    graph.add_edge("loop", "after")

    with watch() as runs:
        govern(graph.compile(), policy(limits={"fan_out": 1})).invoke({"items": []})

    assert runs[0].stopped is None
    assert 8 == runs[0].state.steps


def test_tasks_one_after_the_other_are_no_fan_out_and_count_as_steps() -> None:
    @task
    def step(number: int) -> int:
        return number + 1

    @entrypoint()
    def flow(number: int) -> int:
        for _ in range(5):
            number = step(number).result()
        return number

    with watch() as runs:
        assert 5 == govern(flow, policy(limits={"fan_out": 2})).invoke(0)

    assert runs[0].stopped is None
    assert 6 == runs[0].state.steps


async def test_graphs_that_a_node_starts_side_by_side_are_branches() -> None:
    reached, go_on = list[int](), asyncio.Event()

    async def body(state: Any) -> dict[str, Any]:
        reached.append(1)
        await go_on.wait()
        return {"items": [1]}

    child = StateGraph(Bag).add_node("body", body).add_edge(START, "body").compile()

    async def node(state: Any) -> dict[str, Any]:
        running = [asyncio.ensure_future(child.ainvoke({"items": []})) for _ in range(5)]
        await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)  # until one is refused
        go_on.set()
        await asyncio.wait(running)
        return {"items": [sum(each.exception() is None for each in running)]}

    graph = StateGraph(Bag).add_node("node", node).add_edge(START, "node").compile()

    with watch() as runs:
        async with asyncio.timeout(20):
            await govern(graph, policy(limits={"fan_out": 3})).ainvoke({"items": []})

    assert runs[0].stopped is not None
    assert 3 == len(reached)


def test_a_step_that_failed_and_was_handled_is_no_branch_for_ever() -> None:
    def fails(state: Any) -> Any:
        raise ValueError

    graph = StateGraph(Bag)
    retry: Any = RetryPolicy(max_attempts=2, initial_interval=0, jitter=False, retry_on=Exception)
    graph.add_node("fails", fails, retry_policy=retry, error_handler=one)
    graph.add_node("after", one)
    graph.add_edge(START, "fails")
    graph.add_edge("fails", "after")

    with watch() as runs:
        govern(graph.compile(), policy(limits={"fan_out": 2})).invoke({"items": []})

    assert runs[0].stopped is None


@pytest.mark.parametrize("where", ["node", "function", "tool"])
def test_graphs_in_nodes_functions_and_tools_count_into_the_same_run(where: str) -> None:
    model = Streaming(rule=lambda messages: "an answer")

    @tool
    def search(q: str) -> str:
        """Search."""
        return str(graphs.function_node(model).invoke({"messages": [("user", q)]})["messages"][-1].text)

    build = {
        "node": lambda: graphs.subgraph(model),
        "function": lambda: graphs.graph_in_function(model),
        "tool": lambda: graphs.tool_loop(Streaming(rule=once("search", {"q": "x"})), [search]),
    }[where]
    given: Any = {"messages": [("user", "x")]}

    def run(**limits: Any) -> Any:
        with watch() as runs:
            govern(build(), policy(limits=limits)).invoke(given)
        return runs[0]

    free = run()
    assert free.stopped is None
    steps = free.state.steps
    assert steps >= 2
    assert run(steps=steps).stopped is None
    assert "limits.steps" == run(steps=steps - 1).stopped.code
    assert run(depth=1).stopped is None


def test_depth_is_that_of_graphs_inside_of_graphs() -> None:
    def nested(levels: int) -> Any:
        graph = StateGraph(MessagesState)
        inner = nested(levels - 1) if levels else (lambda state: {"messages": []})
        graph.add_node("node", inner)
        graph.add_edge(START, "node")
        return graph.compile()

    def run(levels: int) -> Any:
        with watch() as runs:
            govern(nested(levels), policy(limits={"depth": 2})).invoke({"messages": []})
        return runs[0].stopped

    assert run(2) is None
    assert ("limits.depth", "2", "3") == (run(3).code, run(3).limit, run(3).seen)
