"""`governor explain`: why a call went where it went, out of the recording, with every number that entered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from typer.testing import CliRunner

from governor.errors import ConfigurationError
from governor_otel import SpanRecorder, read_run
from governor_otel.explaining import calls_of, explain, explained
from governor_otel.reading import Node, Totals

APP = typer.Typer()
APP.command()(explain)
NUMBERS = {
    "gain": 0.12,
    "records": 400,
    "frontier.switch_nano_usd": 94_000_000,
    "layer": "table agent",
    "pending": False,
}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two calls of a planner's and one of a worker's, routed by gain, by default and not at all."""
    path = tmp_path / "runs.db"
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SpanRecorder(path)))
    tracer = provider.get_tracer("test")
    run = {"governor.run.id": "run-1"}
    with tracer.start_as_current_span("invoke_workflow desk", attributes=run):
        for node, code, numbers in (
            ("desk/planner", "route.gain", NUMBERS),
            ("desk/planner", "route.default", {}),
            ("worker", "", {}),
        ):
            chat: dict[str, str | int] = {
                **run,
                "gen_ai.operation.name": "chat",
                "gen_ai.response.model": "m-1",
                "governor.tier": "frontier",
                "governor.cost_nano_usd": 1_234_000,
            }
            with (
                tracer.start_as_current_span(f"step {node}", attributes={**run, "governor.step.path": node}),
                tracer.start_as_current_span("chat m", attributes=chat) as span,
            ):
                if code:
                    evidence = {f"governor.evidence.{name}": value for name, value in numbers.items()}
                    told = {"governor.control": "route", "governor.verdict": "modify", "governor.reason.code": code}
                    span.add_event("governor.decision", {**told, "governor.reason": "It is worth it.", **evidence})
    with tracer.start_as_current_span("invoke_workflow desk", attributes={"governor.run.id": "empty"}):
        pass
    provider.shutdown()
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(APP, arguments, env={"COLUMNS": "200"})
    return done.exit_code, done.stdout, done.stderr


def test_every_number_that_entered_is_printed_as_a_table(recording: Path) -> None:
    code, printed, _ = run("run-1", "1", "--recording", str(recording))

    assert 0 == code
    lines = [line.split() for line in printed.splitlines()]
    assert ["frontier.switch", "$0.094000"] in lines
    assert ["gain", "0.1200"] in lines
    assert ["records", "400"] in lines
    assert ["layer", "table", "agent"] in lines
    assert ["pending", "False"] in lines
    assert "call 1, desk/planner: frontier m-1, $0.001234" in printed
    assert "It is worth it." in printed


def test_a_node_names_all_calls_that_it_made_and_json_holds_the_same(recording: Path) -> None:
    code, printed, _ = run("run-1", "planner", "--recording", str(recording), "--json")
    first, second = json.loads(printed)

    assert (0, 1, 2) == (code, first["call"], second["call"])
    assert NUMBERS == first["decisions"][0]["evidence"]
    assert ("route.default", {}) == (second["decisions"][0]["code"], second["decisions"][0]["evidence"])


def test_a_call_without_numbers_says_so(recording: Path) -> None:
    code, printed, _ = run("run-1", "3", "--recording", str(recording))

    assert 0 == code
    assert "No number entered the choice of the tier" in printed


def test_the_beginning_of_a_spans_id_names_its_call(recording: Path) -> None:
    nodes = read_run("run-1", recording)
    span = calls_of(nodes)[1].span

    assert [2] == [each.number for each in explained(nodes, span[:8])]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run-1", "7"), "no model call of this run is '7'. There is: 1 desk/planner, 2 desk/planner, 3 worker."),
        (("run-1", "nobody"), "There is: 1 desk/planner"),
        (("run-9", "1"), "no recorded run begins with 'run-9'"),
        (("empty", "1"), "made no model call"),
    ],
)
def test_a_run_or_step_that_is_not_there_is_answered_by_what_there_is(
    recording: Path, arguments: tuple[str, str], told: str
) -> None:
    code, printed, said = run(*arguments, "--recording", str(recording))

    assert (2, "") == (code, printed)
    assert told in said.replace("\n", " ")


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, _, said = run("run-1", "1", "--recording", str(tmp_path / "none.db"))

    assert 2 == code
    assert "no recording there" in said


def test_a_long_run_lists_its_first_calls_alone() -> None:

    chats = [
        Node(
            id=f"{number:016x}",
            name="chat",
            start_ns=number,
            end_ns=number,
            status="OK",
            attributes={"gen_ai.operation.name": "chat"},
            decisions=(),
            own=Totals(),
        )
        for number in range(60)
    ]

    with pytest.raises(ConfigurationError, match=r"40 \? and 20 more"):
        explained(chats, "61")
