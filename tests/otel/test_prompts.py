"""What becomes of a real graph's prompts: the trace says why a prefix moved, `governor show` and the report add up what that came to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.util._once import Once
from typer.testing import CliRunner

from governor.cli.app import build
from governor_langgraph import GovernorReport, govern
from governor_otel import SpanRecorder, read_run
from governor_sandbox import Sandbox
from tests.langgraph.fakes import policy
from tests.vendors.clients import LONG, anthropic

CACHING: dict[str, Any] = policy(context={"cache": {"ttl": "5m"}, "order": "auto"})
CLOCKED: dict[str, Any] = {**CACHING, "trace": {"content": "full"}}


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Path]:
    """Where this test's spans go."""
    path = tmp_path / "runs.db"
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SpanRecorder(path)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", provider)
        patch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
        yield path
    provider.shutdown()


def chat(box: Sandbox, rules: dict[str, Any], *systems: str) -> GovernorReport:
    """A node that asks a model once per system text, and adds the answer and a question to what it asks next."""
    model, reports = anthropic(box), list[GovernorReport]()

    def talk(state: MessagesState) -> dict[str, Any]:
        asked: list[AnyMessage] = [*state["messages"]]
        for number, system in enumerate(systems):
            asked += [
                model.invoke([SystemMessage(system), *asked]),
                HumanMessage(f"And then ({number})?", id=f"q{number}"),
            ]
        return {"messages": asked}

    graph = StateGraph(MessagesState).add_node("talk", talk).add_edge(START, "talk").compile(name="chat")
    app = govern(graph, rules, on_report=reports.append)
    app.invoke({"messages": [HumanMessage("Where is my order?", id="task")]})
    return reports[0]


def shown(recording: Path, run: str) -> str:
    done = CliRunner().invoke(build(), ["show", run, "--recording", str(recording)], env={"COLUMNS": "200"})
    assert 0 == done.exit_code, done.output
    return done.output


@pytest.mark.moves_prefix("a clock stands in the system text")
@pytest.mark.parametrize("rules", [CACHING, CLOCKED], ids=["silent", "excerpts"])
def test_a_clock_in_the_system_text_is_found_and_what_it_cost_is_added_up(
    recording: Path, rules: dict[str, Any]
) -> None:
    with Sandbox() as box:
        report = chat(box, rules, *(f"It is 10:0{minute}. {LONG}" for minute in (1, 1, 2)))
        metered = [record.usage for record in box.meter.records]

    (root,) = read_run(report.run.id, recording)
    (move,) = root.moves
    totals, text = root.totals, shown(recording, report.run.id)

    assert ("prefix.system", "a time of day", 0) == tuple(
        move[name] for name in ("governor.reason.code", "governor.evidence.kind", "governor.evidence.position")
    )
    assert ("governor.evidence.before" in move) == (rules is CLOCKED)
    assert metered[2].cache_read == 0 < metered[1].cache_read
    assert move["governor.evidence.lost_tokens"] >= metered[1].input * 0.99
    assert totals.ideal_tokens == totals.read_of_ideal_tokens == metered[1].cache_read
    assert {"system": 1} == report.state.prompts.moves
    assert "prefix moved 1 times: system 1" in text
    assert "allow order: The prompt does not begin as the one before it did" in text
    assert "(100.0%)" in text
    assert "the whole history" in text


def test_a_run_that_only_appends_moves_nothing_and_reads_what_an_ideal_cache_would(recording: Path) -> None:
    with Sandbox() as box:
        report = chat(box, CACHING, *[LONG] * 5)
        billed = [record.usage for record in box.meter.records]

    (root,) = read_run(report.run.id, recording)
    totals, sums = root.totals, report.state.prompts

    assert [] == list(root.moves)
    assert sum(each.cache_read for each in billed) == totals.read_of_ideal_tokens
    assert totals.read_of_ideal_tokens >= 0.98 * totals.ideal_tokens
    assert (sums.ideal, sums.read, sums.cost, sums.cached, sums.uncached) == (
        totals.ideal_tokens,
        totals.read_of_ideal_tokens,
        totals.context_cost_nano_usd,
        totals.context_cached_nano_usd,
        totals.context_uncached_nano_usd,
    )
    assert abs(sums.cost - sums.cached) < 0.01 * sums.cached
    assert sums.cost < sums.uncached
    assert "cache: read" in str(report)
