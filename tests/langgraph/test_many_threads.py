"""One governed graph, run by many threads and by many tasks at once: each run has its own answer and counts, the budget is everyone's."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from governor.report import GovernorReport
from governor.stores.contract import Store
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, calling, policy

MANY = 64
ALLOWED = 100
"""Model calls that all runs may make together. Each would make two."""


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


def rule(messages: list[BaseMessage]) -> AIMessage | str:
    """Looks up what was asked for, then repeats what was found: any mixture of two runs shows in the answer."""
    asked = next(message.text for message in messages if isinstance(message, HumanMessage))
    found = [message.text for message in messages if isinstance(message, ToolMessage)]
    return f"{asked}: {found[0]}" if found else calling("look", {"q": asked}, call_id=f"call {asked}")


def given(number: int) -> tuple[Any, Any]:
    return {"messages": [("user", f"q{number}")]}, {"configurable": {"thread_id": f"t{number}"}}


def by_threads(app: Any) -> list[Any]:
    """Every run in a thread of its own; none begins before all threads stand."""
    together = threading.Barrier(MANY)

    def one(number: int) -> Any:
        asked, config = given(number)
        together.wait(60)
        return app.invoke(asked, config)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, range(MANY)))


def by_tasks(app: Any) -> list[Any]:
    """Every run in a task of its own, on one loop."""

    async def all_of_them() -> list[Any]:
        together = asyncio.Barrier(MANY)

        async def one(number: int) -> Any:
            asked, config = given(number)
            await together.wait()
            return await app.ainvoke(asked, config)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(MANY)]
        return [task.result() for task in tasks]

    return asyncio.run(all_of_them())


def stores(kind: str, folder: Path) -> Store:
    return MemoryStore() if kind == "memory" else SqliteStore(folder / "ledgers.db")


@pytest.mark.parametrize("build", [graphs.agent, graphs.tool_loop], ids=["agent", "graph"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("run", [by_threads, by_tasks], ids=["threads", "tasks"])
def test_runs_at_once_answer_and_count_as_if_each_were_alone(run: Any, kind: str, build: Any, tmp_path: Path) -> None:
    model, store, reports = Streaming(rule=rule), stores(kind, tmp_path), list[GovernorReport]()
    app = govern(build(model, [look], checkpointer=InMemorySaver()), policy(), store=store, on_report=reports.append)

    results = run(app)

    assert [f"q{number}: found q{number}" for number in range(MANY)] == [r["messages"][-1].text for r in results]
    assert [4] * MANY == [len(result["messages"]) for result in results]
    assert 2 * MANY == len(model.calls)
    assert {f"t{number}": (2, 1) for number in range(MANY)} == {
        report.run.thread: (report.state.model_calls, report.state.tool_calls) for report in reports
    }
    assert MANY == len({report.run.id for report in reports})
    store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("run", [by_threads, by_tasks], ids=["threads", "tasks"])
def test_a_budget_that_runs_share_is_spent_to_the_last_call_and_not_one_further(
    run: Any, kind: str, tmp_path: Path
) -> None:
    model, store, reports = Streaming(rule=rule), stores(kind, tmp_path), list[GovernorReport]()
    shared = policy(
        identity={"org": "acme"}, budgets=[{"id": "all", "scope": "org", "limit": {"model_calls": ALLOWED}}]
    )
    app = govern(
        graphs.agent(model, [look], checkpointer=InMemorySaver()), shared, store=store, on_report=reports.append
    )

    results = run(app)

    assert ALLOWED == len(model.calls)
    (balance,) = store.balances()
    assert (ALLOWED, 0) == (balance.spent, balance.reserved)
    finished = [
        number for number, each in enumerate(results) if each["messages"][-1].text == f"q{number}: found q{number}"
    ]
    stopped = {report.run.thread for report in reports if report.stopped}
    assert {f"t{number}" for number in range(MANY)} - {f"t{number}" for number in finished} == stopped
    assert len(finished) <= ALLOWED // 2
    store.close()
