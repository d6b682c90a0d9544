"""Names and cardinality of what governor emits: spans carry identities, metrics never do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode

from governor.calls import History, ModelCall, ModelRef, RunRef, StepRef, ToolCall
from governor.decisions import Decision, Reason, Verdict
from governor.policy.load import load
from governor.telemetry import PROVIDER_NAMES, Telemetry

POLICY = load({"governor": 1, "name": "desk", "mode": "observe"})
RUN = RunRef(id="r1", thread="t1", scopes={"tenant": "acme", "user": "u7"})
STEP = StepRef(run=RUN, node="worker", path="desk/worker", ns="desk:1|worker:2", depth=1, attempt=3)
CALL = ModelCall(
    step=STEP,
    ordinal=0,
    history=History(messages=(), cumulative=(), index={}),
    model=ModelRef(provider="bedrock_converse", model="amazon.nova-pro-v1:0"),
    streaming=True,
)
TOOL = ToolCall(step=STEP, name="refund", args={"iban": "secret"}, id="c1")
REASON = Reason(
    code="budget.exhausted",
    rule="tenant-day",
    text="Budget tenant-day is spent.",
    limit="25",
    seen="25.01",
    remedy="Raise it.",
    evidence={"ledger": "l1"},
)
DENIED = Decision(control="budget", verdict=Verdict.DENY, reason=REASON)
MODEL_FACTS: dict[str, Any] = {
    "gen_ai.request.model": "nova-pro",
    "governor.tier": "student",
    "gen_ai.usage.input_tokens": 900,
    "gen_ai.usage.output_tokens": 50,
    "governor.context.tokens_before": 2_000,
    "governor.context.tokens_after": 900,
    "governor.cost_nano_usd": 1_500,
}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Telemetry with the SDK behind it, in memory."""

    telemetry: Telemetry
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.exporter.get_finished_spans()
        return span

    def points(self, metric: str) -> list[tuple[dict[str, Any], float]]:
        """Attributes and value (a histogram's sum) of each series."""
        data = self.reader.get_metrics_data()
        found = [
            each
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
        ]
        points = [
            cast("NumberDataPoint | HistogramDataPoint", point) for each in found for point in each.data.data_points
        ]
        return [
            (dict(point.attributes or {}), point.sum if isinstance(point, HistogramDataPoint) else point.value)
            for point in points
        ]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    provider, exporter, reader = TracerProvider(), InMemorySpanExporter(), InMemoryMetricReader()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_METER_PROVIDER", meters)
        telemetry = Telemetry(POLICY, tracer=provider.get_tracer("test"))
    yield Recorded(telemetry=telemetry, exporter=exporter, reader=reader)
    provider.shutdown()
    meters.shutdown()


def test_a_run_is_named_after_its_graph_and_carries_whom_it_works_for(recorded: Recorded) -> None:
    recorded.telemetry.end(recorded.telemetry.run(RUN, "desk"))

    assert ("invoke_workflow desk", SpanKind.INTERNAL) == (recorded.span.name, recorded.span.kind)
    assert {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "desk",
        "gen_ai.conversation.id": "t1",
        "governor.run.id": "r1",
        "governor.policy.hash": POLICY.hash,
        "governor.policy.name": "desk",
        "governor.policy.mode": "observe",
        "governor.scope.tenant": "acme",
        "governor.scope.user": "u7",
    } == dict(recorded.span.attributes or {})


def test_a_run_without_a_thread_is_no_conversation(recorded: Recorded) -> None:
    recorded.telemetry.end(recorded.telemetry.run(RunRef(id="r2"), "desk"))

    assert "gen_ai.conversation.id" not in (recorded.span.attributes or {})


def test_a_step_is_named_by_its_path(recorded: Recorded) -> None:
    recorded.telemetry.end(recorded.telemetry.step(STEP, None))

    assert "step desk/worker" == recorded.span.name
    assert {
        "governor.run.id": "r1",
        "governor.step.node": "worker",
        "governor.step.path": "desk/worker",
        "governor.step.attempt": 3,
        "governor.step.depth": 1,
    } == dict(recorded.span.attributes or {})


def test_a_model_call_is_a_client_span_named_by_the_requested_model(recorded: Recorded) -> None:
    recorded.telemetry.end(recorded.telemetry.model(CALL, None))

    assert ("chat amazon.nova-pro-v1:0", SpanKind.CLIENT) == (recorded.span.name, recorded.span.kind)
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "governor.requested_model": "amazon.nova-pro-v1:0",
        "governor.streaming": True,
        "governor.run.id": "r1",
        "governor.step.path": "desk/worker",
        "governor.policy.hash": POLICY.hash,
    } == dict(recorded.span.attributes or {})


def test_a_call_beside_another_is_its_child_even_if_it_ends_after_it(recorded: Recorded) -> None:
    parent = recorded.telemetry.model(CALL, None)
    recorded.telemetry.end(parent)

    recorded.telemetry.beside(parent, CALL, 1_000, lambda: {"governor.judge": True}, "judge")

    call, judge = recorded.exporter.get_finished_spans()
    assert judge.parent is not None
    assert call.context is not None
    assert call.context.span_id == judge.parent.span_id
    assert judge.attributes is not None
    assert ("judge", True) == (judge.attributes["governor.purpose"], judge.attributes["governor.judge"])


def test_a_tool_call_is_named_by_its_tool_and_shows_no_argument(recorded: Recorded) -> None:
    recorded.telemetry.end(recorded.telemetry.tool(TOOL, None))

    assert "execute_tool refund" == recorded.span.name
    assert "secret" not in str(recorded.span.attributes)


@pytest.mark.parametrize(("provider", "name"), [*PROVIDER_NAMES.items(), ("ollama", "ollama")])
def test_providers_have_the_names_of_the_conventions_and_others_their_own(
    recorded: Recorded, provider: str, name: str
) -> None:
    call = ModelCall(step=STEP, ordinal=0, history=CALL.history, model=ModelRef(provider=provider, model="m"))
    recorded.telemetry.end(recorded.telemetry.model(call, None))

    assert name == (recorded.span.attributes or {})["gen_ai.provider.name"]


def test_a_decision_is_an_event_with_its_reason_in_parts(recorded: Recorded) -> None:
    span = recorded.telemetry.tool(TOOL, None)
    recorded.telemetry.decided(span, STEP, DENIED)
    span.end()

    (event,) = recorded.span.events
    assert "governor.decision" == event.name
    assert {
        "governor.control": "budget",
        "governor.verdict": "deny",
        "governor.rule": "tenant-day",
        "governor.reason": "Budget tenant-day is spent.",
        "governor.reason.code": "budget.exhausted",
        "governor.reason.limit": "25",
        "governor.reason.seen": "25.01",
        "governor.reason.remedy": "Raise it.",
        "governor.evidence.ledger": "l1",
        "governor.policy.hash": POLICY.hash,
        "governor.step.path": "desk/worker",
    } == dict(event.attributes or {})


def test_an_observed_decision_says_what_would_have_happened(recorded: Recorded) -> None:
    observed = Decision(control="budget", verdict=Verdict.DENY, reason=REASON, observed=True)
    span = recorded.telemetry.tool(TOOL, None)
    recorded.telemetry.decided(span, STEP, observed)
    span.end()

    assert "would_deny" == dict(recorded.span.events[0].attributes or {})["governor.verdict"]
    assert [({"control": "budget", "verdict": "would_deny", "code": "budget.exhausted"}, 1)] == recorded.points(
        "governor.decisions"
    )


def test_decisions_are_counted_even_where_no_span_is_recorded(recorded: Recorded) -> None:
    recorded.telemetry.decided(INVALID_SPAN, STEP, DENIED)
    recorded.telemetry.decided(INVALID_SPAN, STEP, Decision(control="route", verdict=Verdict.ALLOW))

    assert [
        ({"control": "budget", "verdict": "deny", "code": "budget.exhausted"}, 1),
        ({"control": "route", "verdict": "allow", "code": "route"}, 1),
    ] == recorded.points("governor.decisions")


def test_a_model_call_feeds_every_metric_once(recorded: Recorded) -> None:
    recorded.telemetry.measured(INVALID_SPAN, lambda: MODEL_FACTS)

    labels = {"gen_ai.request.model": "nova-pro", "governor.tier": "student"}
    assert [({"kind": "model", "outcome": "ok", **labels}, 1)] == recorded.points("governor.calls")
    assert [
        ({"gen_ai.token.type": "input", **labels}, 900),
        ({"gen_ai.token.type": "output", **labels}, 50),
    ] == recorded.points("gen_ai.client.token.usage")
    assert [(labels, 1_100)] == recorded.points("governor.context.tokens_removed")
    assert [({"kind": "model", **labels}, pytest.approx(1.5e-6))] == recorded.points("governor.cost")


def test_a_tool_call_counts_as_a_call_and_by_its_fee(recorded: Recorded) -> None:
    recorded.telemetry.measured(
        INVALID_SPAN, lambda: {"gen_ai.tool.name": "refund", "governor.cost_nano_usd": 10_000_000}
    )

    assert [({"kind": "tool", "outcome": "ok"}, 1)] == recorded.points("governor.calls")
    assert [({"kind": "tool"}, pytest.approx(0.01))] == recorded.points("governor.cost")
    assert [] == recorded.points("gen_ai.client.token.usage")


def test_what_costs_nothing_and_removes_nothing_makes_no_series(recorded: Recorded) -> None:
    free = {**MODEL_FACTS, "governor.cost_nano_usd": 0, "governor.context.tokens_after": 2_000}
    recorded.telemetry.measured(INVALID_SPAN, lambda: free)

    assert [] == recorded.points("governor.cost")
    assert [] == recorded.points("governor.context.tokens_removed")


def test_facts_are_not_even_worked_out_where_nobody_set_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_METER_PROVIDER", None)
    telemetry = Telemetry(POLICY)
    made: list[str] = []

    telemetry.look()
    telemetry.measured(INVALID_SPAN, lambda: made.append("facts") or {})

    assert [] == made


@pytest.mark.parametrize(("expected", "status"), [(True, StatusCode.UNSET), (False, StatusCode.ERROR)])
def test_only_an_unexpected_error_makes_a_span_a_failure_and_its_text_stays_out(
    recorded: Recorded, expected: bool, status: StatusCode
) -> None:
    recorded.telemetry.end(recorded.telemetry.step(STEP, None), ValueError("card 1234"), expected=expected)

    assert status is recorded.span.status.status_code
    assert "ValueError" == dict(recorded.span.attributes or {})["error.type"]
    assert "card 1234" not in recorded.span.to_json()


WORDS = st.text(min_size=1, max_size=20)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), min_size=2, max_size=8, unique=True))
def test_series_do_not_multiply_with_runs_threads_steps_users_tools_or_rules(
    names: list[tuple[str, str, str, str]],
) -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_METER_PROVIDER", meters)
        telemetry = Telemetry(POLICY)
    for run, user, node, rule in names:
        ref = RunRef(id=run, thread=f"thread {run}", scopes={"user": user})
        step = StepRef(run=ref, node=node, path=node, ns=f"{node}:{run}")
        reason = Reason(code="loop.period", rule=rule, text=f"{rule} saw {run}", seen=run, evidence={"hash": run})
        telemetry.decided(INVALID_SPAN, step, Decision(control="loop", verdict=Verdict.NUDGE, reason=reason))
        telemetry.measured(INVALID_SPAN, lambda: MODEL_FACTS)
        tool = {"gen_ai.tool.name": node, "gen_ai.tool.call.id": run, "governor.cost_nano_usd": 1}
        telemetry.measured(INVALID_SPAN, partial(dict[str, Any], tool))

    data = reader.get_metrics_data()
    assert data is not None
    series = {
        each.name: len(each.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for each in scope.metrics
    }
    meters.shutdown()
    assert {
        "gen_ai.client.token.usage": 2,
        "governor.calls": 2,
        "governor.context.tokens_removed": 1,
        "governor.cost": 2,
        "governor.decisions": 1,
    } == series
