"""What a backend receives of a real governed graph: spans and metrics as protobuf over HTTP, decoded by the collector's own schema.

The graph has a node that calls a model, a nested agent with a tool that is allowed and one that is not, and a real client whose prompt
cache is hit. Nothing a person wrote, no argument, result or answer may be in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.util._once import Once

from governor_langgraph import govern
from governor_otel import flush, setup
from governor_sandbox import Record, Sandbox, Scenario
from tests.otel.receiver import Received, Span, receiving
from tests.vendors.clients import anthropic

MODEL = "claude-sonnet-4-6"
SECRETS = ("violet umbrella", "order 4711", "Rue Morgue", "lost in Ghent", "shall be refunded", "House rules")
SYSTEM = "House rules: be kind and quote the order. " * 400
POLICY: dict[str, Any] = {
    "governor": 1,
    "name": "desk",
    "identity": {"tenant": "config.tenant"},
    "tiers": {"frontier": {"model": f"anthropic:{MODEL}", "max_output_tokens": 500}},
    "routing": {"default": "frontier"},
    "context": {"cache": {"ttl": "5m"}, "order": "auto"},
    "budgets": [{"id": "run", "scope": "run", "limit": {"usd": 5}}],
    "tools": {"rules": [{"id": "reads", "tool": "look_up", "decide": "allow"}]},
}
SCENARIO = """
rules:
  - {when: {system: planner}, reply: "1. find the violet umbrella"}
  - when: {calls: {look_up: 0}}
    reply: {tool_calls: [{name: look_up, args: {order: "order 4711"}}]}
  - when: {calls: {refund: 0}}
    reply: {tool_calls: [{name: refund, args: {address: "Rue Morgue"}}]}
default: "It shall be refunded."
"""


@tool
def look_up(order: str) -> str:
    """Find an order."""
    with trace.get_tracer("shop").start_as_current_span("SELECT orders"):
        return f"{order} was lost in Ghent"


@tool
def refund(address: str) -> str:
    """Refund an order."""
    raise AssertionError(address)


def desk(model: Any) -> Any:
    def planner(state: MessagesState) -> dict[str, Any]:
        plan = model.invoke([SystemMessage("You are the planner. " + SYSTEM), *state["messages"]])
        return {"messages": [HumanMessage(plan.text)]}

    graph = StateGraph(MessagesState)
    graph.add_node("planner", planner)
    graph.add_node("desk", create_agent(model, [look_up, refund], system_prompt=SYSTEM, name="desk"))
    graph.add_edge(START, "planner")
    graph.add_edge("planner", "desk")
    return graph.compile(name="shop")


@pytest.fixture(scope="module")
def exported() -> Iterator[tuple[Received, tuple[Record, ...]]]:
    """One governed run, sent over OTLP: what the collector received, and what the provider metered."""
    with pytest.MonkeyPatch.context() as patch, receiving() as received:
        patch.setattr(trace, "_TRACER_PROVIDER", None)
        patch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
        patch.setattr(metrics, "_METER_PROVIDER", None)
        patch.setattr(metrics, "_METER_PROVIDER_SET_ONCE", Once())
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        patch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        patch.setenv("OTEL_SERVICE_NAME", "shop-agents")
        tracer_provider = setup(recorder=False)
        with Sandbox(Scenario.from_text(SCENARIO)) as box:
            model = anthropic(box, model=MODEL)
            app = govern(desk(model), POLICY, clients={"frontier": model})
            app.invoke(
                {"messages": [HumanMessage("Where is my violet umbrella?")]},
                {"configurable": {"tenant": "acme", "thread_id": "t-1"}},
            )
            records = box.meter.records
        flush()
        meter_provider = metrics.get_meter_provider()
        assert isinstance(meter_provider, MeterProvider)
        meter_provider.shutdown()
        tracer_provider.shutdown()
        yield received, records


@pytest.fixture
def received(exported: tuple[Received, tuple[Record, ...]]) -> Received:
    return exported[0]


@pytest.fixture
def records(exported: tuple[Received, tuple[Record, ...]]) -> tuple[Record, ...]:
    """The provider's own meter, in the order of the calls."""
    return exported[1]


def chats(received: Received) -> list[Span]:
    return received.named("chat ")


def test_the_wire_is_gzipped_protobuf_to_the_standard_paths(received: Received) -> None:
    assert {"/v1/traces", "/v1/metrics"} == {path for path, _ in received.headers}
    assert {("gzip", "application/x-protobuf")} == {
        (headers["content-encoding"], headers["content-type"]) for _, headers in received.headers
    }
    assert {"shop-agents"} == {resource["service.name"] for resource in received.resources}


def test_a_run_is_one_trace_with_steps_under_the_run_and_calls_under_their_steps(received: Received) -> None:
    root = received.one("invoke_workflow shop")

    assert b"" == root.parent
    assert {root.trace} == {span.trace for span in received.spans}
    assert ["step desk", *["step desk/model"] * 3, *["step desk/tools"] * 2, "step planner"] == sorted(
        span.name for span in received.named("step ")
    )
    assert {"invoke_workflow shop"} == {received.parent(span).name for span in received.named("step ")}
    assert ["step desk/model"] * 3 + ["step planner"] == sorted(received.parent(span).name for span in chats(received))
    assert {"step desk/tools"} == {received.parent(span).name for span in received.named("execute_tool ")}
    assert 1 + 7 + 4 + 2 == len(received.ours)


def test_spans_of_clients_and_of_user_code_hang_below_the_call_that_they_belong_to(received: Received) -> None:
    others = [span for span in received.spans if span not in received.ours]

    assert "execute_tool look_up" == received.parent(received.one("SELECT orders")).name
    assert [] == [span.name for span in others if not received.parent(span).name.startswith(("chat ", "execute_tool "))]


def test_the_run_carries_whom_it_works_for_and_which_policy_ruled_it(received: Received) -> None:
    run = received.one("invoke_workflow shop").attributes

    assert {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "shop",
        "gen_ai.conversation.id": "t-1",
        "governor.policy.name": "desk",
        "governor.policy.mode": "enforce",
        "governor.scope.tenant": "acme",
        "governor.scope.agent": "shop",
    } == {key: value for key, value in run.items() if key not in ("governor.run.id", "governor.policy.hash")}
    assert {run["governor.run.id"]} == {span.attributes["governor.run.id"] for span in received.ours}


def test_a_model_call_is_a_client_span_with_the_attributes_of_the_genai_conventions(received: Received) -> None:
    (plan,) = [span for span in chats(received) if received.parent(span).name == "step planner"]

    client = 3  # opentelemetry.proto.trace.v1.Span.SPAN_KIND_CLIENT
    assert (f"chat {MODEL}", client) == (plan.name, plan.kind)
    conventions = {
        key: value for key, value in plan.attributes.items() if key.startswith("gen_ai.") and "usage" not in key
    }
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.request.max_tokens": 500,
    } == conventions


def test_every_model_call_carries_what_the_provider_metered(received: Received, records: tuple[Record, ...]) -> None:
    sent = [
        (
            span.attributes["gen_ai.usage.input_tokens"],
            span.attributes["gen_ai.usage.cache_read.input_tokens"],
            span.attributes["gen_ai.usage.cache_creation.input_tokens"],
            span.attributes["gen_ai.usage.output_tokens"],
            span.attributes["governor.cost_nano_usd"],
        )
        for span in chats(received)
    ]
    metered = [
        (
            record.usage.uncached + record.usage.cache_read + record.usage.cache_write,
            record.usage.cache_read,
            record.usage.cache_write,
            record.usage.output,
            record.nano_usd,
        )
        for record in records
    ]

    assert sorted(metered) == sorted(sent)
    assert any(read for _, read, _, _, _ in sent), "the prompt cache was never hit: this test would show nothing"
    assert any(write for _, _, write, _, _ in sent)


def test_every_model_call_says_why_its_tier_what_it_was_shown_and_what_was_held(received: Received) -> None:
    for span in chats(received):
        facts = span.attributes
        assert ("frontier", "route.default") == (facts["governor.tier"], facts["governor.route.reason"])
        assert 0 < facts["governor.context.tokens_after"] <= facts["governor.context.tokens_before"]
        assert 0 < facts["governor.cost_nano_usd"] <= facts["governor.budget.reserved_nano_usd"]
        assert MODEL == facts["governor.requested_model"]


def test_a_denied_tool_call_is_an_event_with_the_reason_in_parts(received: Received) -> None:
    allowed, denied = received.one("execute_tool look_up"), received.one("execute_tool refund")

    decisions = [event.attributes for event in denied.events if event.name == "governor.decision"]
    assert [("access", "deny", "tools.default", "access.default_deny")] == [
        (
            decision["governor.control"],
            decision["governor.verdict"],
            decision["governor.rule"],
            decision["governor.reason.code"],
        )
        for decision in decisions
    ]
    assert decisions[0]["governor.reason"]
    assert decisions[0]["governor.reason.remedy"]
    assert "governor.cost_nano_usd" not in denied.attributes
    assert 0 == allowed.attributes["governor.cost_nano_usd"]
    assert not [e for e in allowed.events if e.attributes.get("governor.verdict") == "deny"]


def test_a_refused_call_and_the_run_around_it_are_no_failures(received: Received) -> None:
    error = 2  # opentelemetry.proto.trace.v1.Status.STATUS_CODE_ERROR
    assert [] == [span.name for span in received.spans if span.status == error]


def test_nothing_that_was_said_is_in_what_was_sent(received: Received) -> None:
    values = [
        str(value)
        for span in received.ours
        for attributes in (span.attributes, *(event.attributes for event in span.events))
        for pair in attributes.items()
        for value in pair
    ]
    values += [str(point.attributes) for point in received.points.values()]

    assert [] == [value for value in values for secret in SECRETS if secret.lower() in value.lower()]


def test_metrics_add_up_to_the_spans(received: Received) -> None:
    spans = chats(received)
    tokens = {point.attributes["gen_ai.token.type"]: point for point in received.series("gen_ai.client.token.usage")}
    (cost,) = received.series("governor.cost")
    calls = {point.attributes["kind"]: point.value for point in received.series("governor.calls")}

    total = sum(span.attributes["gen_ai.usage.input_tokens"] for span in spans)
    assert (total, 4, "{token}") == (tokens["input"].value, tokens["input"].count, tokens["input"].unit)
    assert sum(span.attributes["gen_ai.usage.output_tokens"] for span in spans) == tokens["output"].value
    assert sum(span.attributes["governor.cost_nano_usd"] for span in spans) == round(cost.value * 1e9)
    assert {"model": 4, "tool": 1} == calls


def test_decisions_are_counted_by_control_verdict_and_code(received: Received) -> None:
    counted = {
        (point.attributes["control"], point.attributes["verdict"], point.attributes["code"]): point.value
        for point in received.series("governor.decisions")
    }

    assert 1 == counted["access", "deny", "access.default_deny"]
    assert 4 == sum(value for (control, _, _), value in counted.items() if control == "route")


def test_no_metric_is_labelled_by_run_thread_user_or_tenant(received: Received) -> None:
    labels = {key for point in received.points.values() for key in point.attributes}

    assert {
        "kind",
        "outcome",
        "gen_ai.request.model",
        "gen_ai.token.type",
        "governor.tier",
        "control",
        "verdict",
        "code",
    } == labels
