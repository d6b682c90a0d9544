"""The local recorder keeps governor's spans and gives them back as a tree with the cost of every step."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from governor.errors import ConfigurationError, StoreError
from governor_otel import SpanRecorder, Totals, read_run, read_runs


def record(path: Path, run: str = "run-1", *, cost: int = 42) -> None:
    """One run with a step, a paid model call in it, and a span of the user's own between the two."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SpanRecorder(path)))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span(
        "invoke_workflow desk", attributes={"governor.run.id": run, "gen_ai.workflow.name": "desk"}
    ):
        with tracer.start_as_current_span("step planner", attributes={"governor.run.id": run}):
            attributes: dict[str, str | int] = {
                "governor.run.id": run,
                "gen_ai.operation.name": "chat",
                "governor.cost_nano_usd": cost,
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.output_tokens": 3,
            }
            with tracer.start_as_current_span("chat m", attributes=attributes) as span:
                span.add_event("governor.decision", {"governor.verdict": "deny", "governor.control": "budget"})
        with (
            tracer.start_as_current_span("users own span"),
            tracer.start_as_current_span("step worker", attributes={"governor.run.id": run}),
        ):
            pass
    provider.shutdown()


def test_a_run_comes_back_as_a_tree_with_sums_at_every_level(tmp_path: Path) -> None:
    record(tmp_path / "runs.db")

    (root,) = read_run("run-1", tmp_path / "runs.db")

    assert ["step planner", "step worker"] == [child.name for child in root.children]
    assert Totals(cost_nano_usd=42, model_calls=1, input_tokens=10, output_tokens=3) == root.totals
    assert Totals() == root.children[1].totals


def test_spans_of_others_are_not_kept(tmp_path: Path) -> None:
    record(tmp_path / "runs.db")

    with sqlite3.connect(tmp_path / "runs.db") as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM spans")}
    connection.close()

    assert {"invoke_workflow desk", "step planner", "chat m", "step worker"} == names


def test_the_list_of_runs_names_cost_and_refusals_newest_first(tmp_path: Path) -> None:
    record(tmp_path / "runs.db", "run-1", cost=1)
    record(tmp_path / "runs.db", "run-2", cost=2)

    listed = read_runs(tmp_path / "runs.db")

    assert [("run-2", 2, 1), ("run-1", 1, 1)] == [(r.id, r.totals.cost_nano_usd, r.refusals) for r in listed]


@pytest.mark.parametrize(
    ("prefix", "what"), [("nope", "no recorded run"), ("run-", "more than one run"), ("run%", "no recorded")]
)
def test_a_prefix_must_name_one_run(tmp_path: Path, prefix: str, what: str) -> None:
    record(tmp_path / "runs.db", "run-1")
    record(tmp_path / "runs.db", "run-2")

    with pytest.raises(ConfigurationError, match=what):
        read_run(prefix, tmp_path / "runs.db")


def test_a_missing_recording_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nothing\.db: no recording there\. Run"):
        read_runs(tmp_path / "nothing.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_text("x" * 4096)

    with pytest.raises(StoreError, match="cannot be read"):
        read_runs(tmp_path / "runs.db")


def test_somebody_elses_database_is_not_taken_for_a_recording(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()

    with pytest.raises(StoreError, match="no recording of governor"):
        read_runs(tmp_path / "shop.db")


def test_a_recording_that_cannot_be_written_is_logged_once_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "runs.db").mkdir()

    with caplog.at_level(logging.WARNING, logger="governor_otel"):
        record(tmp_path / "runs.db")

    assert 1 == len(caplog.records)
    assert trace.get_current_span() is trace.INVALID_SPAN
