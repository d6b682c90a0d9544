"""One count over everything that a run is made of: agents that hand on, nested graphs, branches, processes; and what is no loop there."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from governor_langgraph import govern, report_of, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Streaming, Whole, calling
from tests.langgraph.looping import GIVEN, PAGE, rules, stubborn, unanswered
from tests.langgraph.test_enforcement import Bodies

THREAD: Any = {"configurable": {"thread_id": "t"}}
FOUR = ["invoke", "stream", "ainvoke", "astream"]


def handing(target: str) -> Any:
    return Whole(rule=stubborn(f"transfer_to_{target}", lambda n: {}))


def swarm() -> Any:
    from langgraph_swarm import create_handoff_tool, create_swarm

    agents: list[Any] = [
        create_agent(handing(other), [create_handoff_tool(agent_name=other)], name=name)
        for name, other in (("planner", "writer"), ("writer", "planner"))
    ]
    return create_swarm(agents, default_active_agent="planner").compile(checkpointer=InMemorySaver())


def supervisor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langgraph_supervisor import create_supervisor

        worker = create_agent(Whole(rule=lambda messages: "I could not find it."), [graphs.search], name="worker")
        return create_supervisor([worker], model=handing("worker")).compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("mode", FOUR)
@pytest.mark.parametrize("build", [swarm, supervisor])
async def test_agents_that_hand_on_for_ever_are_ended_and_named(build: Any, mode: str) -> None:
    app = govern(build(), rules())

    await modes.ALL_MODES[mode](app, GIVEN, {**THREAD, "recursion_limit": 200})

    report: Any = report_of(app, THREAD)
    assert "loop.stop" == report.stopped.code
    assert "transfer" in report.stopped.text or " -> " in report.stopped.text


@pytest.mark.skipif(find_spec("deepagents") is None, reason="it does not install beside the oldest supported versions")
def test_a_subagent_that_is_given_the_same_task_again_and_again_is_refused() -> None:
    from deepagents import create_deep_agent

    model = Whole(rule=stubborn("task", lambda n: {"description": "Study the river ledger", "subagent_type": "unit"}))
    unit = graphs.function_node(Whole(rule=lambda messages: "Nothing was found about it."))
    deep: Any = create_deep_agent(model, subagents=[{"name": "unit", "description": "Works.", "runnable": unit}])
    app = govern(deep, rules())

    with watch() as runs:
        app.invoke(GIVEN)

    assert runs[0].stopped is not None
    assert "loop.stop" == runs[0].stopped.code


def test_a_count_begun_by_one_process_is_taken_up_by_the_next(tmp_path: Path) -> None:
    """Another runtime on the same file has nothing of the first but what that wrote."""
    store, saver, bodies = str(tmp_path / "governor.db"), InMemorySaver(), Bodies()
    rule = stubborn()
    kept: list[int] = []
    for given in (GIVEN, None, None, None):
        inner = graphs.agent(Whole(rule=rule), [bodies.tool], checkpointer=saver, interrupt_after=["tools"])
        govern(inner, rules(respond=["block"]), store=store).invoke(given, THREAD)
        kept.append(len(bodies.ran))

    assert [1, 2, 3, 3] == kept


# --- tools


@pytest.mark.parametrize("handled", [True, False])
def test_a_tool_that_raises_counts_as_a_failure(handled: bool) -> None:
    ran: list[str] = []

    @tool
    def fetch(q: str) -> str:
        """Fetch."""
        ran.append(q)
        raise ValueError("no such page")

    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def tools(state: MessagesState) -> dict[str, Any]:
        last: Any = state["messages"][-1]
        try:
            return {"messages": [fetch.invoke(last.tool_calls[0])]}
        except ValueError:
            return {"messages": [HumanMessage("It raised.")]}

    model = Whole(rule=stubborn("fetch"))
    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", ToolNode([fetch], handle_tool_errors=True) if handled else tools)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "tools")
    graph.add_edge("tools", "agent")

    with watch() as runs:
        govern(graph.compile(), rules(respond=["nudge", "block", "stop"])).invoke(GIVEN)

    assert runs[0].stopped is not None
    assert "loop.stop" == runs[0].stopped.code
    assert 3 == len(ran)


class Todo(MessagesState):
    todo_done: int


@pytest.mark.parametrize("rises", [True, False])
def test_progress_that_the_state_tells_of_beats_what_calls_look_like(rises: bool) -> None:
    def agent(state: Todo) -> dict[str, Any]:
        call = {"name": "search", "args": {"q": "same"}, "id": f"c{len(state['messages'])}", "type": "tool_call"}
        done = state["todo_done"] + 1 if rises else state["todo_done"]
        return {"messages": [AIMessage("", tool_calls=[call])], "todo_done": done}

    def ends(state: Todo) -> str:
        return END if len(bodies.ran) + 1 > 10 else "agent"

    bodies = Bodies()
    graph = StateGraph(Todo)
    graph.add_node("agent", agent)
    graph.add_node("tools", ToolNode([bodies.tool]))
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "tools")
    graph.add_conditional_edges("tools", ends, ["agent", END])

    app: Any = govern(graph.compile(), rules(progress="state.todo_done"))
    with watch() as runs:
        app.invoke({**GIVEN, "todo_done": 0})

    assert (10 if rises else 3) == len(bodies.ran)
    assert rises is (runs[0].stopped is None)


def test_what_a_tool_says_of_itself_makes_its_answers_no_effects() -> None:
    """`touch` answers ok: by its hint that changes nothing, so looking again after it is repetition."""
    looked: list[int] = []
    for hint in (True, False):
        seen: list[str] = []

        @tool
        def look() -> str:
            """Look."""
            seen.append("look")  # noqa: B023 - used within this round
            return PAGE

        @tool
        def touch(n: int) -> str:
            """Touch."""
            return "ok"

        touch.metadata = {"annotations": {"readOnlyHint": hint}}

        turns = iter(range(200))

        def rule(messages: list[Any]) -> Any:
            n = next(turns)  # noqa: B023 - used within this round
            if n > 30:
                return "the end"
            return calling("touch", {"n": n}, call_id=f"c{n}") if n % 2 else calling("look", {}, call_id=f"c{n}")

        model = Streaming(rule=rule)
        govern(graphs.agent(model, [look, touch]), rules(respond=["block"])).invoke(GIVEN)
        looked.append(len(seen))
        assert set() == unanswered(model.calls.seen[-1][1])

    assert looked[0] < looked[1]
