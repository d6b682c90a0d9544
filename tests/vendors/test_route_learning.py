"""Routing learns from a real graph on the wire: runs with shadow calls, a snapshot of what they were worth, promoted and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from typer.testing import CliRunner

import governor
from governor.cli.app import build
from governor.errors import PolicyError
from governor.routing.outcomes import Outcomes
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_sandbox import Sandbox
from tests.core.test_shadowing import others
from tests.vendors.clients import openai

POLICY = """
governor: 1
name: desk
tiers:
  frontier: {model: "openai:gpt-4.1", max_output_tokens: 200}
  student: {model: "openai:gpt-4.1-nano", max_output_tokens: 200}
routing:
  default: frontier
  estimator: hashed
  quality: {max_loss: 60%, confidence: 80%, SHADOW}
  SNAPSHOT
  outcomes: outcomes.db
budgets: [{id: all, scope: run, limit: {usd: 1}}]
tools: {default: allow}
"""
RUNS = 60


def desk(box: Sandbox) -> Any:
    """One node that answers a question."""
    model = openai(box)

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "desk.yaml").write_text(POLICY.replace("SHADOW", "shadow: 100%").replace("  SNAPSHOT\n", ""))
    return tmp_path


def governed(box: Sandbox, folder: Path, store: MemoryStore | None = None) -> Any:
    clients = {"frontier": openai(box, model="gpt-4.1"), "student": openai(box, model="gpt-4.1-nano")}
    return govern(desk(box), folder / "desk.yaml", store=store or MemoryStore(), clients=clients)


def ask(app: Any, number: int) -> str:
    return app.invoke({"messages": [HumanMessage(f"Where is order {number}?")]})["messages"][-1].text


def models(box: Sandbox) -> list[str]:
    return [record.model for record in box.meter.records]


def command(folder: Path, *arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(build(), ["route", *arguments, "--policy", str(folder / "desk.yaml"), "--json"])
    assert 0 == done.exit_code, done.output
    return json.loads(done.stdout)


def test_shadows_are_billed_by_the_provider_as_the_ledger_says_and_the_graph_sees_one_answer(
    box: Sandbox, folder: Path
) -> None:
    store = MemoryStore()
    app = governed(box, folder, store)

    streamed = [chunk for chunk, _ in app.stream({"messages": [HumanMessage("Hi")]}, stream_mode="messages")]

    assert "ok" == "".join(chunk.text for chunk in streamed)
    assert ["gpt-4.1", "gpt-4.1-nano"] == [name.removesuffix("-2025-04-14") for name in models(box)]
    (spent,) = [each for each in store.balances() if each.budget == "all"]
    assert box.meter.bill().nano_usd == spent.spent
    assert 0 == spent.reserved


@pytest.mark.anyio
async def test_the_async_graph_does_the_same(box: Sandbox, folder: Path) -> None:
    app = governed(box, folder)

    done = await app.ainvoke({"messages": [HumanMessage("Hi")]})

    assert "ok" == done["messages"][-1].text
    await others()
    assert 2 == len(models(box))
    file = Outcomes(folder / "outcomes.db")
    assert 1 == len(list(file.pairs()))
    file.close()


def test_from_runs_to_a_cheaper_tier_and_back(box: Sandbox, folder: Path) -> None:
    app = governed(box, folder)
    assert {"ok"} == {ask(app, number) for number in range(RUNS)}
    file = Outcomes(folder / "outcomes.db")
    runs = [each.run for each in file.steps()]
    assert RUNS == len(set(runs)) == len(list(file.pairs()))
    assert governor.feedback(runs[0], 1, step=1, outcomes=file.path)
    file.close()

    (folder / "desk.yaml").write_text(POLICY.replace(", SHADOW", "").replace("SNAPSHOT", "snapshot: routing.json"))
    with pytest.raises(PolicyError, match="the snapshot cannot be used"):
        governed(box, folder)

    trained = command(folder, "train")
    assert RUNS == trained["records"]
    assert [True] == [row["open"] for row in trained["guard"] if row["node"] == "answer"]
    assert ["frontier"] == answered_by(box, folder)

    command(folder, "promote", trained["id"], "--why", "the pairs say so")
    assert ["student"] == answered_by(box, folder)

    command(folder, "rollback", "--why", "try again")
    assert ["frontier"] == answered_by(box, folder)


def answered_by(box: Sandbox, folder: Path) -> list[str]:
    """Which tiers answer a run of a process that starts now."""
    box.reset()
    assert "ok" == ask(governed(box, folder), 7)
    names = {"gpt-4.1": "frontier", "gpt-4.1-nano": "student"}
    return [names[name.removesuffix("-2025-04-14")] for name in models(box)]
