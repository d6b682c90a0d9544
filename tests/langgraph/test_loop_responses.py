"""Loops in real graphs beyond nudge, block and stop: kill, compaction, progress, hints of tools, handoffs, tools that raise."""

from __future__ import annotations

import operator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Send
from langgraph_swarm import create_handoff_tool, create_swarm

from governor.errors import Refused
from governor.ledger import Adjustment, AdjustmentKind
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern, report_of, watch
from tests.langgraph import modes
from tests.langgraph.fakes import Streaming, Whole, calling, policy, times

GIVEN: Any = {"messages": [("user", "work")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
MODES = ("invoke", "ainvoke", "stream", "astream")


def loops(**parts: Any) -> dict[str, Any]:
    return policy(loops={"mode": "enforce", **parts})


@tool
def search(q: str) -> str:
    """Search."""
    return f"found {q}: " + "a page with enough on it to be content rather than an acknowledgement. " * 4


def stuck(tools: list[BaseTool] | None = None, **options: Any) -> Any:
    """An agent that asks the same for ever."""
    return create_agent(Streaming(rule=times("search", 99, lambda n: {"q": "x"})), tools or [search], **options)


# --- kill


@pytest.mark.parametrize("mode", MODES)
async def test_a_killed_thread_is_refused_everywhere_until_somebody_resumes_it(mode: str, tmp_path: Path) -> None:
    rules = loops(respond=["nudge", "block", "kill"])
    app = govern(stuck(checkpointer=InMemorySaver()), rules, store=SqliteStore(tmp_path / "g.db"))
    await modes.ALL_MODES[mode](app, GIVEN, THREAD)
    report = report_of(app, THREAD)
    assert report is not None
    assert report.stopped is not None
    assert "loop.kill" == report.stopped.code

    elsewhere = SqliteStore(tmp_path / "g.db")
    (halt,) = elsewhere.halts()
    assert ("thread=t", "governor") == (halt.scope, halt.who)
    fine = create_agent(Whole(rule=lambda messages: "fine"), [search], checkpointer=InMemorySaver())
    other = govern(fine, rules, store=elsewhere)
    other.invoke(GIVEN, THREAD)
    refused = report_of(other, THREAD)
    assert refused is not None
    assert refused.stopped is not None
    assert "halted" in refused.stopped.code

    change = Adjustment(
        id="1", kind=AdjustmentKind.RESUME, subject="thread=t", who="ada", why="mended", at_ms=halt.at_ms + 1
    )
    elsewhere.adjust(change)
    again = govern(
        create_agent(Whole(rule=lambda messages: "fine"), [search], checkpointer=InMemorySaver()),
        rules,
        store=elsewhere,
    )
    assert "fine" == again.invoke(GIVEN, THREAD)["messages"][-1].text


# --- compaction


def test_what_was_repeated_is_left_out_of_the_next_prompt() -> None:
    long = "\n".join(f"line {n} of a page with a good deal on it that is of no use" for n in range(400))

    @tool
    def read(path: str) -> str:
        """Read."""
        return long

    turns = 0

    def rule(messages: list[BaseMessage]) -> AIMessage | str:  # what it is shown gets shorter, so it counts for itself
        nonlocal turns
        turns += 1
        return "the end" if turns > 9 else calling("read", {"path": "a.py"}, call_id=f"c{turns}")

    model = Whole(rule=rule)
    rules = loops(respond=["compact"]) | {"context": {"tool_results": {"cap": "100k"}, "compact": {"keep_tail": "1k"}}}
    app = govern(create_agent(model, [read]), rules)

    app.invoke(GIVEN)

    sizes = [sum(len(str(message.text)) for message in messages) for _, messages, _ in model.calls.seen]
    shorter = [n for n in range(1, len(sizes)) if sizes[n] < sizes[n - 1]]
    assert shorter
    assert 3 <= shorter[0] <= 6
    for _, messages, _ in model.calls.seen:
        asked = {call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls}
        answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
        assert answered == asked


# --- progress


class Work(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    todo_done: int


def worker(*, rises: bool, turns: int = 20) -> Any:
    model = Whole(rule=lambda messages: "I go on with the next point of the list as planned.")

    def work(state: Work) -> dict[str, Any]:
        answer = model.invoke([HumanMessage("go on")])
        return {"messages": [answer], "todo_done": state["todo_done"] + rises}

    graph = StateGraph(Work)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: END if len(state["messages"]) > turns else "work", [END, "work"])
    return graph.compile()


@pytest.mark.parametrize(("rises", "progress", "ends"), [(True, True, False), (False, True, True), (True, False, True)])
def test_a_state_value_that_rises_is_progress(*, rises: bool, progress: bool, ends: bool) -> None:
    rules = loops(**({"progress": "state.todo_done"} if progress else {}))
    with watch() as runs:
        govern(worker(rises=rises), rules).invoke({"messages": [("user", "work")], "todo_done": 0})

    assert ends is (runs[0].stopped is not None)


# --- hints of tools


@pytest.mark.parametrize(
    "metadata", [{"readOnlyHint": True}, {"annotations": {"readOnlyHint": True}}, {"readOnlyHint": False}, None]
)
def test_a_tool_that_says_it_only_reads_makes_no_verification_of_a_second_look(metadata: dict[str, Any] | None) -> None:
    @tool
    def ping(n: int) -> str:
        """Ping."""
        return f"pong {n}"

    ping.metadata = metadata
    turns = 0

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        nonlocal turns
        turns += 1
        if turns > 24:
            return "the end"
        name, args = ("search", {"q": "x"}) if turns % 2 else ("ping", {"n": turns})
        return calling(name, args, call_id=f"c{turns}")

    model = Whole(rule=rule)
    with watch() as runs:
        govern(create_agent(model, [search, ping]), loops()).invoke(GIVEN)

    noted = any("run's governor" in str(messages[-1].text) for _, messages, _ in model.calls.seen)
    reads_only = metadata is not None and "True" in str(metadata)
    assert reads_only is (noted or runs[0].stopped is not None)


# --- branches


class Fan(TypedDict):
    found: Annotated[list[str], operator.add]


@pytest.mark.parametrize("mode", MODES)
async def test_branches_of_one_superstep_may_do_the_same_however_fast_they_are(mode: str) -> None:
    """Each has ended before the next begins."""
    ran = 0

    @tool
    def look(q: str) -> str:
        """Look."""
        nonlocal ran
        ran += 1
        return f"found {q}"

    def worker(state: Any) -> dict[str, Any]:
        call = {"name": "look", "args": {"q": "same"}, "id": f"c{state['n']}", "type": "tool_call"}
        return {"found": [look.invoke(call).text]}

    graph = StateGraph(Fan)
    graph.add_node("worker", worker)
    graph.add_conditional_edges(START, lambda state: [Send("worker", {"n": n}) for n in range(12)], ["worker"])

    with watch() as runs:
        await modes.ALL_MODES[mode](govern(graph.compile(), loops()), {"found": []}, {"max_concurrency": 1})

    assert (12, None) == (ran, runs[0].stopped)


def test_a_node_that_is_run_again_and_again_is_no_branch_of_itself() -> None:
    ran = 0

    @tool
    def look(q: str) -> str:
        """Look."""
        nonlocal ran
        ran += 1
        return f"found {q}"

    def worker(state: Any) -> dict[str, Any]:
        call = {"name": "look", "args": {"q": "same"}, "id": f"c{len(state['found'])}", "type": "tool_call"}
        return {"found": [look.invoke(call).text]}

    graph = StateGraph(Fan)
    graph.add_node("worker", worker)
    graph.add_edge(START, "worker")
    graph.add_conditional_edges("worker", lambda state: END if len(state["found"]) > 20 else "worker", [END, "worker"])

    with watch() as runs, suppress(Refused):
        govern(graph.compile(), loops()).invoke({"found": []})

    assert 3 == ran
    assert runs


# --- handoffs


@pytest.mark.parametrize("mode", MODES)
async def test_two_agents_that_pass_a_task_back_and_forth_are_ended_and_named(mode: str) -> None:
    def passes_to(target: str) -> Any:
        turns = 0

        def rule(messages: list[BaseMessage]) -> AIMessage:
            nonlocal turns
            turns += 1
            return calling(
                f"transfer_to_{target}",
                {},
                call_id=f"{target}{turns}{len(messages)}",
                text="Please see to the quarterly report.",
            )

        return rule

    first = create_agent(Whole(rule=passes_to("bob")), [create_handoff_tool(agent_name="bob")], name="alice")
    second = create_agent(Whole(rule=passes_to("alice")), [create_handoff_tool(agent_name="alice")], name="bob")
    app = govern(create_swarm([first, second], default_active_agent="alice").compile(), loops())

    with watch() as runs:
        await modes.ALL_MODES[mode](app, GIVEN, {"recursion_limit": 60})

    assert runs[0].stopped is not None
    assert "loop.stop" == runs[0].stopped.code


# --- tools that raise


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_that_raises_again_and_again_is_a_loop_though_its_graph_goes_on(mode: str) -> None:
    ran = 0

    @tool
    def broken(q: str) -> str:
        """Break."""
        nonlocal ran
        ran += 1
        raise ValueError("no such table: orders")

    def work(state: Work) -> dict[str, Any]:
        try:
            broken.invoke({"q": f"select {len(state['messages'])}"})
        except ValueError as error:
            return {"messages": [HumanMessage(str(error))]}
        return {}

    graph = StateGraph(Work)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: END if len(state["messages"]) > 20 else "work", [END, "work"])

    with watch() as runs, suppress(Refused):  # how a node that calls a tool itself is told
        await modes.ALL_MODES[mode](govern(graph.compile(), loops()), {"messages": [], "todo_done": 0}, {})

    assert 3 <= ran < 10
    assert runs


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_started_again_and_again_goes_on_counting(mode: str) -> None:
    """Each start makes one call and says the same: no single run of the inner graph has a loop."""
    ran, asked = 0, 0

    @tool
    def look(q: str) -> str:
        """Look."""
        nonlocal ran
        ran += 1
        return f"found {q}"

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        nonlocal asked
        asked += 1
        answered = isinstance(messages[-1], ToolMessage)
        return "nothing yet" if answered else calling("look", {"q": "same"}, call_id=f"c{asked}")

    inner: Any = create_agent(Whole(rule=rule), [look])

    def work(state: Work) -> dict[str, Any]:
        inner.invoke({"messages": [("user", "find x")]})
        return {"todo_done": state["todo_done"] + 1}

    graph = StateGraph(Work)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: END if state["todo_done"] > 30 else "work", [END, "work"])

    with watch() as runs:
        await modes.ALL_MODES[mode](govern(graph.compile(), loops()), {"messages": [], "todo_done": 0}, {})

    assert runs[0].stopped is not None
    assert "loop.stop" == runs[0].stopped.code
    assert ran <= 4
