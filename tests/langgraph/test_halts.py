"""One process runs a graph, another halts and lets it go on by the command line, on one SQLite file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Send

from governor.errors import RunStopped
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern, report_of
from tests.langgraph.fakes import Streaming, Whole, calling, policy
from tests.langgraph.modes import Mode, ainvoke, astream, invoke, stream
from tests.sampled import sampled

ROOT = Path(__file__).parents[2]
CONFIG: Any = {"configurable": {"thread_id": "t", "tenant": "acme"}}
GIVEN: Any = {"messages": [("user", "work")]}
TURNS = 4
MODES: dict[str, Mode] = {mode.__name__: mode for mode in (invoke, stream, ainvoke, astream)}
RULES: dict[str, Any] = {"identity": {"tenant": "config.tenant"}}


class Operator:
    """The other process: the command line on the same file."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "governor.db"
        self.at: dict[str, tuple[str, ...]] = {}
        """What it does while the provider is asked this."""

    def __call__(self, *arguments: str) -> str:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])
        done = subprocess.run(
            [sys.executable, "-c", "from governor.cli import main; main()", *arguments, "--why", "runaway"],
            env={**os.environ, "PYTHONPATH": paths, "GOVERNOR_STORE": f"sqlite:///{self.store}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout


class Work:
    """What really happened: what the provider and the tools were asked, in order."""

    def __init__(self, operator: Operator) -> None:
        self.done: list[str] = []
        self.operator = operator

    def happens(self, what: str) -> None:
        self.done.append(what)
        if what in self.operator.at:
            self.operator(*self.operator.at.pop(what))

    def rule(self, messages: list[BaseMessage]) -> AIMessage | str:
        if messages[-1].text.startswith("branch"):
            self.happens(messages[-1].text)
            return messages[-1].text
        turn = sum(isinstance(message, ToolMessage) for message in messages)
        self.happens(f"turn {turn}")
        return "the end" if turn == TURNS else calling("look", {"q": str(turn)}, call_id=f"c{turn}")

    def look(self) -> Any:
        @tool
        def look(q: str) -> str:
            """Look."""
            self.happens(f"look {q}")
            return f"seen {q}"

        return look


def agent(work: Work, model: Any, saver: Any = None) -> Any:
    built = StateGraph(MessagesState)

    async def alone(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def together(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    from langgraph._internal._runnable import RunnableCallable

    built.add_node("agent", RunnableCallable(together, alone, name="agent"))
    built.add_node("tools", ToolNode([work.look()]))
    built.add_edge(START, "agent")
    built.add_conditional_edges("agent", tools_condition)
    built.add_edge("tools", "agent")
    return built.compile(checkpointer=saver)


def subagent(work: Work, model: Any, saver: Any) -> Any:
    built = StateGraph(MessagesState)
    built.add_node("inner", agent(work, model))
    built.add_edge(START, "inner")
    return built.compile(checkpointer=saver)


def _branch(model: Any) -> Any:
    def branch(state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [model.invoke([("user", state["name"])])]}

    return branch


def branches(work: Work, model: Any, saver: Any) -> Any:
    """The agent first, then branches side by side."""
    built = StateGraph(MessagesState)
    built.add_node("first", agent(work, model))
    built.add_node("branch", _branch(model))
    built.add_edge(START, "first")
    built.add_conditional_edges(
        "first", lambda state: [Send("branch", {"name": f"branch {number}"}) for number in range(3)], ["branch"]
    )
    return built.compile(checkpointer=saver)


KINDS: dict[str, Callable[..., Any]] = {each.__name__: each for each in (agent, subagent, branches)}


def expected(kind: str) -> list[str]:
    turns = [part for turn in range(TURNS) for part in (f"turn {turn}", f"look {turn}")]
    return [*turns, f"turn {TURNS}", *([f"branch {number}" for number in range(3)] if kind == "branches" else [])]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    found = Operator(tmp_path)
    SqliteStore(found.store).halts()  # makes the file: an operator's command never does
    return found


@pytest.mark.parametrize("scope", ["--tenant=acme", "--thread=t", "--all"])
@pytest.mark.parametrize("model", [Whole, Streaming])
async def test_every_scope_is_halted_and_the_answer_under_way_is_kept(
    operator: Operator, model: Any, scope: str
) -> None:
    work = Work(operator)
    operator.at["turn 2"] = ("halt", scope, "--yes")
    app = govern(agent(work, model(rule=work.rule), InMemorySaver()), policy(**RULES), store=str(operator.store))

    result = app.invoke(GIVEN, CONFIG)

    assert expected("agent")[:5] == work.done  # turn 2 is the last: its tool is refused
    assert any(
        getattr(message, "tool_calls", None) and "c2" == message.tool_calls[0]["id"] for message in result["messages"]
    )
    report: Any = report_of(app, CONFIG)
    assert "halted" == report.stopped.code
    assert "runaway" in report.stopped.text
    assert f"governor resume {report.stopped.rule}" in report.stopped.remedy


@pytest.mark.parametrize(
    ("at", "kind", "mode"),
    sampled(["turn 1", "look 1", f"turn {TURNS}"], list(KINDS), list(MODES), keep=1, of=2),
)
async def test_a_halted_thread_goes_on_after_resume_and_repeats_no_finished_call(
    operator: Operator, kind: str, mode: str, at: str
) -> None:
    work = Work(operator)
    operator.at[at] = ("halt", "tenant=acme")
    app = govern(KINDS[kind](work, Whole(rule=work.rule), InMemorySaver()), policy(**RULES), store=str(operator.store))
    await MODES[mode](app, GIVEN, CONFIG)
    halted = list(work.done)

    await MODES[mode](app, None, CONFIG)
    still = list(work.done)
    operator("resume", "tenant=acme")
    await MODES[mode](app, None, CONFIG)

    whole, until = expected(kind), expected(kind).index(at) + 1
    assert whole[:until] == halted
    assert halted == still
    assert whole[:until] == work.done[:until]
    # A tool call that was refused has that for its answer, as with every stop: the model that reads it may ask again.
    refused = ["look 1"] if at == "turn 1" else []
    assert sorted(whole) == sorted(work.done + refused)
    assert None is getattr(report_of(app, CONFIG), "stopped", "no report")


async def test_a_halt_raises_where_the_policy_says_stop(operator: Operator) -> None:
    work = Work(operator)
    operator("halt", "tenant=acme")
    rules = policy(**RULES, on_exhausted="stop")
    app = govern(agent(work, Whole(rule=work.rule), InMemorySaver()), rules, store=str(operator.store))

    with pytest.raises(RunStopped) as caught:
        app.invoke(GIVEN, CONFIG)

    assert "halted" == caught.value.reason.code
    assert [] == work.done


async def test_a_halt_asks_nobody_for_more_budget(operator: Operator) -> None:
    work = Work(operator)
    operator("halt", "tenant=acme")
    rules = policy(**RULES, on_exhausted="ask")
    app = govern(agent(work, Whole(rule=work.rule), InMemorySaver()), rules, store=str(operator.store))

    result = app.invoke(GIVEN, CONFIG)

    assert "__interrupt__" not in result
    assert [] == work.done


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", ["grant", "reset"])
async def test_more_budget_at_run_time_lets_a_stopped_thread_go_on(operator: Operator, mode: str, change: str) -> None:
    work = Work(operator)
    budget = {"id": "acme", "scope": "tenant", "limit": {"model_calls": 2}}
    app = govern(
        agent(work, Whole(rule=work.rule), InMemorySaver()),
        policy(**RULES, budgets=[budget]),
        store=str(operator.store),
    )
    await MODES[mode](app, GIVEN, CONFIG)
    stopped, report = list(work.done), report_of(app, CONFIG)
    await MODES[mode](app, None, CONFIG)
    still = list(work.done)

    ledger = "acme/tenant=acme/life/model_calls"
    operator("budget", *(("grant", ledger, "2") if change == "grant" else ("reset", ledger, "--yes")))
    await MODES[mode](app, None, CONFIG)

    assert expected("agent")[:4] == stopped == still
    assert report is not None
    assert report.stopped is not None
    assert "budget.exhausted" == report.stopped.code
    assert expected("agent")[:8] == work.done


def speaker(work: Work, saver: Any) -> Any:
    """A graph whose node reads its model's stream by itself."""
    model: Any = Streaming(rule=work.rule)

    async def alone(state: MessagesState) -> dict[str, Any]:
        pieces = [piece async for piece in model.astream(state["messages"])]
        return {"messages": [AIMessage("".join(each.text for each in pieces))]}

    def together(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("".join(each.text for each in model.stream(state["messages"])))]}

    from langgraph._internal._runnable import RunnableCallable

    built = StateGraph(MessagesState)
    built.add_node("speaker", RunnableCallable(together, alone, name="speaker"))
    built.add_edge(START, "speaker")
    return built.compile(checkpointer=saver)


@pytest.mark.parametrize("mode", MODES)
async def test_a_halt_cuts_a_stream_that_a_node_reads_and_after_resume_it_is_asked_for_again(
    operator: Operator, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("governor.drive.BEAT_MS", 0)
    work = Work(operator)
    operator.at["branch"] = ("halt", "tenant=acme")  # before the first piece of its answer
    rules = policy(**RULES, budgets=[{"id": "all", "scope": "tenant", "limit": {"tokens": "100k"}}])
    app = govern(speaker(work, InMemorySaver()), rules, store=str(operator.store))

    await MODES[mode](app, {"messages": [("user", "branch")]}, CONFIG)
    halted: Any = report_of(app, CONFIG)
    store = SqliteStore(operator.store)
    charged = [(each.spent > 0, each.reserved) for each in store.balances()]
    store.close()
    operator("resume", "tenant=acme")
    await MODES[mode](app, None, CONFIG)

    assert "halted" == halted.stopped.code
    assert [(True, 0)] == charged
    assert ["branch", "branch"] == work.done
    assert "branch" == app.get_state(CONFIG).values["messages"][-1].text
