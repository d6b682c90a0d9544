"""`on_exhausted: ask`: a person gives a run more of a budget, or ends it. In any process, once, for that run alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Interrupt, interrupt

from governor import RunStopped
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing.fakes import FakeClock
from governor_langgraph import govern, report_of, watch
from tests.langgraph import graphs, modes, stopping
from tests.langgraph.fakes import Streaming, Whole, policy, times
from tests.langgraph.test_open_calls import open_calls

GIVEN: Any = {"messages": [("user", "x")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
RUN = {"sync": "invoke", "async": "ainvoke"}


def rules(scope: str = "run", **limit: Any) -> dict[str, Any]:
    budget = {"id": "b", "scope": scope, "limit": limit or {"model_calls": 2}}
    return policy(on_exhausted="ask", budgets=[budget], identity={"tenant": "acme"})


def model(turns: int = 5) -> Streaming:
    return Streaming(rule=times("search", turns, lambda n: {"q": str(n)}), max_tokens=10)


def agent(said: Any, **options: Any) -> Any:
    return graphs.agent(said, checkpointer=InMemorySaver(), **options)


def asked(result: Any) -> list[Interrupt]:
    return list(result.get("__interrupt__", ()))


def more(**amounts: Any) -> Command[Any]:
    return Command(resume={"more": amounts})


@pytest.mark.parametrize("how", RUN)
async def test_a_person_is_shown_what_is_used_up_and_what_can_be_answered(how: str) -> None:
    app = govern(agent(model()), rules())

    (result,) = await modes.ALL_MODES[RUN[how]](app, GIVEN, THREAD)

    (question,) = asked(result)
    about = question.value
    assert ("governor.budget", "b", "2") == (about["type"], about["rule"], about["limit"])
    assert "spent 2 model calls" in about["seen"]
    assert {"model_calls": "2"} == about["answers"]["more"]
    assert {"more", "finish", "stop"} == set(about["answers"])
    shown = app.get_state(THREAD)
    assert [question.id] == [each.id for each in shown.interrupts]
    assert ("model",) == shown.next


@pytest.mark.parametrize("how", RUN)
async def test_more_lets_the_run_go_on_where_it_was(how: str) -> None:
    said = model()
    app, run = govern(agent(said), rules()), modes.ALL_MODES[RUN[how]]

    await run(app, GIVEN, THREAD)
    (again,) = await run(app, more(model_calls=3), THREAD)
    (result,) = await run(app, more(model_calls="1"), THREAD)

    assert "2 (+3 granted)" in asked(again)[0].value["text"]
    assert "__interrupt__" not in result
    assert 6 == len(said.calls)
    assert () == app.get_state(THREAD).interrupts
    report = report_of(app, THREAD)
    assert report is not None
    assert (None, [(6, 6)]) == (report.stopped, [(each.spent, each.limit) for each in report.budgets])


@pytest.mark.parametrize(
    ("limit", "answer"),
    [
        ({"tokens": 40}, {"tokens": "50k"}),
        ({"tokens": 40, "model_calls": 9}, {"tokens": "50k", "model_calls": 1}),
        ({"output_tokens": 5}, {"output_tokens": 500}),
        ({"tool_calls": 2, "model_calls": 3}, {"tool_calls": 9, "model_calls": 9}),
        ({"calls": 4}, {"calls": 20}),
    ],
)
def test_more_is_given_in_the_units_of_the_budget(limit: dict[str, Any], answer: dict[str, Any]) -> None:
    app = govern(agent(model(3)), rules(**limit))

    paused = app.invoke(GIVEN, THREAD)
    result = app.invoke(more(**answer), THREAD)

    assert 1 == len(asked(paused))
    assert [] == asked(result)
    assert "the end" == result["messages"][-1].text


@pytest.mark.parametrize(
    "answer",
    [
        "finish",
        "yes",
        True,
        5,
        {"more": 5},
        {"more": {}},
        {"more": {"usd": 1}},
        {"more": {"model_calls": 0}},
        {"more": {"model_calls": -1}},
        {"more": {"model_calls": True}},
        {"more": {"model_calls": float("nan")}},
        {"more": {"model_calls": "all"}},
        {"more": {"model_calls": 5, "tool_calls": 5}},
        {"approve": True},
    ],
    ids=repr,
)
def test_any_other_answer_ends_the_run_with_what_it_has(answer: Any) -> None:
    said = model()
    app = govern(agent(said), rules())
    app.invoke(GIVEN, THREAD)

    with watch() as runs:
        result = app.invoke(Command(resume=answer), THREAD)

    assert [] == asked(result)
    assert ["human", "ai", "tool", "ai", "tool"] == [message.type for message in result["messages"]]
    assert 2 == len(said.calls)
    assert runs[0].stopped is not None
    assert "budget.exhausted" == runs[0].stopped.code
    assert () == app.get_state(THREAD).interrupts


@pytest.mark.parametrize("how", RUN)
async def test_stop_as_an_answer_raises_with_partial_result_and_report(how: str) -> None:
    app, run = govern(agent(model()), rules()), modes.ALL_MODES[RUN[how]]
    await run(app, GIVEN, THREAD)

    with pytest.raises(RunStopped) as stopped:
        await run(app, Command(resume="stop"), THREAD)

    partial: Any = stopped.value.partial
    assert 5 == len(partial["messages"])
    assert stopped.value.report is not None
    assert "model" == stopped.value.report.where


def test_an_answer_counts_once() -> None:
    said, store = model(9), MemoryStore()
    app = govern(agent(said), rules(), store=store)
    question = asked(app.invoke(GIVEN, THREAD))[0].id

    app.invoke(Command(resume={question: {"more": {"model_calls": 1}}}), THREAD)
    app.invoke(Command(resume={question: {"more": {"model_calls": 1}}}), THREAD)

    assert 3 == len(said.calls)


def test_a_resume_without_an_answer_asks_again() -> None:
    said = model()
    app = govern(agent(said), rules())
    first = asked(app.invoke(GIVEN, THREAD))[0]

    second = asked(app.invoke(None, THREAD))[0]

    assert first.id != second.id
    assert [second.id] == [each.id for each in app.get_state(THREAD).interrupts]
    assert 2 == len(said.calls)


def test_a_new_question_on_the_thread_is_a_new_run_and_the_old_one_is_void() -> None:
    app = govern(agent(model()), rules())
    app.invoke(GIVEN, THREAD)

    app.invoke(GIVEN, THREAD)
    result = app.invoke(more(model_calls=20), THREAD)

    assert [] == asked(result)


def test_more_is_for_one_run_even_of_a_shared_budget() -> None:
    said, store = model(9), MemoryStore()
    app = govern(agent(said), rules("tenant", model_calls=2), store=store)
    other: Any = {"configurable": {"thread_id": "other"}}
    app.invoke(GIVEN, THREAD)
    app.invoke(more(model_calls=2), THREAD)

    result = app.invoke(GIVEN, other)

    assert 1 == len(asked(result))
    assert "allows 2 model calls: spent 4" in asked(result)[0].value["text"]
    assert 4 == len(said.calls)


@pytest.mark.parametrize("how", RUN)
async def test_a_fan_out_asks_one_question(how: str) -> None:
    said = Whole(rule=lambda messages: "a note")
    app = govern(graphs.fan_out(said, checkpointer=InMemorySaver()), rules(model_calls=3))
    run = modes.ALL_MODES[RUN[how]]

    (paused,) = await run(app, {"topics": [str(n) for n in range(10)], "notes": []}, THREAD)
    (result,) = await run(app, more(model_calls=7), THREAD)

    assert 1 == len(asked(paused))
    assert 10 == len(said.calls)  # the three that had answered were not called again
    assert 10 == len(result["notes"])


@pytest.mark.parametrize("around", [("node",), ("function",), ("tool",), ("node", "function", "tool")], ids="-".join)
@pytest.mark.parametrize("body", ["plain", "swallows", "siblings", "model_retry"])
def test_the_question_reaches_the_caller_from_any_depth(body: str, around: tuple[str, ...]) -> None:
    rule: Any = stopping.worker(same=False) if body in stopping.AGENTS else stopping.chatter(same=False)
    said = Whole(rule=rule)
    bare = stopping.nested(stopping.build(body, said, same=False), around, checkpointer=InMemorySaver())
    app = govern(bare, rules())

    result = app.invoke({"messages": [HumanMessage("go")]}, THREAD)

    left = app.get_state(THREAD)
    assert 2 == len(said.calls)
    assert set() == open_calls(left.values["messages"])
    assert bool(left.next) == bool(asked(result))  # where nothing is left to do there is nothing to buy


@pytest.mark.parametrize("how", RUN)
@pytest.mark.parametrize("options", [{}, {"checkpointer": InMemorySaver()}], ids=["no checkpointer", "no thread"])
async def test_where_nobody_can_answer_it_is_a_stop_that_says_so(how: str, options: dict[str, Any]) -> None:
    app = govern(graphs.function_node(Whole(rule=lambda messages: "x")), rules(model_calls=1))
    again = StateGraph(MessagesState)
    again.add_node("one", app)
    again.add_node("two", app)
    again.add_edge(START, "one")
    again.add_edge("one", "two")
    twice = govern(again.compile(), rules(model_calls=1))

    with pytest.raises(RunStopped, match="needs a checkpointer and a thread_id") as stopped:
        await modes.ALL_MODES[RUN[how]](twice, GIVEN, {})

    assert 2 == len(stopped.value.partial["messages"])  # pyright: ignore[reportIndexIssue] - the state's values
    assert "checkpointer" in str(stopped.value.reason.remedy)


def test_the_time_that_a_person_took_is_not_the_runs() -> None:
    clock = FakeClock()
    written = {**rules(), "limits": {"time": "10m"}}
    app = govern(agent(model(3)), written, runtime=Runtime(load(written), clock=clock))
    app.invoke(GIVEN, THREAD)
    clock.advance(3_600_000)

    assert "the end" == app.invoke(more(model_calls=9), THREAD)["messages"][-1].text


def test_the_answer_to_a_nodes_own_question_is_the_nodes() -> None:
    """A node asks a person while a sibling uses the budget up: each answer goes to its own question."""
    said = Whole(rule=lambda messages: "x")
    graph = StateGraph(MessagesState)
    graph.add_node("asks", lambda state: {"messages": [("ai", f"told {interrupt('colour?')}")]})
    graph.add_node("calls", lambda state: {"messages": [said.invoke("1"), said.invoke("2")]})
    graph.add_edge(START, "asks")
    graph.add_edge(START, "calls")
    app = govern(graph.compile(checkpointer=InMemorySaver()), rules(model_calls=1))

    paused = app.invoke(GIVEN, THREAD)
    for _ in range(3):
        for each in asked(paused):
            answer = "blue" if each.value == "colour?" else {"more": {"model_calls": 9}}
            paused = app.invoke(Command(resume={each.id: answer}), THREAD)

    assert [] == asked(paused)
    assert {"told blue", "x"} <= {message.text for message in paused["messages"]}


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("mode", ["values", "updates", ["values", "updates"], ["updates"], "messages", ["custom"]])
async def test_a_stream_shows_the_question_as_langgraph_shows_its_own(mode: Any, subgraphs: bool) -> None:
    """The same chunks as for an interrupt in the node: shape by shape."""

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", str(interrupt("?")))]}

    own = StateGraph(MessagesState).add_node("model", node).add_edge(START, "model")
    plain = own.compile(checkpointer=InMemorySaver())
    app = govern(agent(model()), rules())
    config: Any = {"configurable": {"thread_id": str((mode, subgraphs))}}

    def shape(chunk: Any) -> Any:
        if isinstance(chunk, tuple):
            return tuple(shape(each) for each in chunk)
        return sorted(chunk) if isinstance(chunk, dict) else chunk

    def ends(chunks: list[Any]) -> list[Any]:
        return sorted((shape(chunk) for chunk in chunks if "__interrupt__" in str(chunk)), key=str)

    expected = ends(list(plain.stream(GIVEN, config, stream_mode=mode, subgraphs=subgraphs)))
    sync = ends(list(app.stream(GIVEN, config, stream_mode=mode, subgraphs=subgraphs)))
    found = [
        chunk
        async for chunk in app.astream(
            GIVEN, {"configurable": {"thread_id": "a"}}, stream_mode=mode, subgraphs=subgraphs
        )
    ]

    assert expected == sync
    assert expected == ends(found)


def test_the_newer_form_of_results_carries_the_question() -> None:
    output = govern(agent(model()), rules()).invoke(GIVEN, THREAD, version="v2")

    assert ["governor.budget"] == [each.value["type"] for each in output.interrupts]
    assert 5 == len(output.value["messages"])


def in_another_process(folder: Path, resume: Any) -> Any:
    """One invocation of the same graph by a fresh interpreter, over the same files."""
    program = """
import json, sys
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern, report_of
from tests.langgraph import graphs
from tests.langgraph.test_asking import GIVEN, THREAD, model, rules
folder, resume = sys.argv[1], json.loads(sys.argv[2])
said = model()
with SqliteSaver.from_conn_string(f"{folder}/c.db") as saver:
    app = govern(graphs.agent(said, checkpointer=saver), rules(), store=SqliteStore(f"{folder}/g.db"))
    result = app.invoke(GIVEN if resume is None else Command(resume=resume), THREAD)
    report = report_of(app, THREAD)
print(json.dumps({"calls": len(said.calls), "asked": len(result.get("__interrupt__", ())), "last": result["messages"][-1].text,
                  "spent": report.budgets[0].spent, "steps": report.state.steps, "finished": report.state.loop.finished}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), json.dumps(resume)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_processes_share_the_question_the_answer_and_the_count(tmp_path: Path) -> None:
    first = in_another_process(tmp_path, None)
    second = in_another_process(tmp_path, {"more": {"model_calls": 2}})
    third = in_another_process(tmp_path, {"more": {"model_calls": 9}})

    assert [(2, 1), (2, 1), (2, 0)] == [(each["calls"], each["asked"]) for each in (first, second, third)]
    assert [2, 4, 6] == [each["spent"] for each in (first, second, third)]
    assert [2, 4, 5] == [each["finished"] for each in (first, second, third)]
    assert "the end" == third["last"]
    assert 11 == third["steps"]
