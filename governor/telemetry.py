"""Spans, events and metrics, through the OpenTelemetry API alone: without an SDK all of it costs next to nothing.

A run is `invoke_workflow`, a step `step <node>`, a model call `chat <model>`, a tool call `execute_tool <tool>`. A call that governor
makes itself is a `chat` under the call that it is made for, with `governor.purpose` (`summary`, `judge`, `sample`, `shadow`). Names follow
the OpenTelemetry GenAI conventions (status: Development). `governor.*` attributes are ours. Decisions are span events.
Message content is never recorded.

Attributes of metrics are low in cardinality: tier, model, control, verdict, reason code; never a thread, a user or a hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.trace import INVALID_SPAN, SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter
    from opentelemetry.trace import Span, Tracer

    from governor.calls import ModelCall, RunRef, StepRef, ToolCall
    from governor.decisions import Decision
    from governor.effects import Value
    from governor.policy.load import LoadedPolicy

__all__ = ["PROVIDER_NAMES", "Telemetry"]

PROVIDER_NAMES: Mapping[str, str] = {
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "anthropic": "anthropic",
    "openai": "openai",
    "google_genai": "gcp.gemini",
    "azure_openai": "azure.ai.openai",
}
"""LangChain's provider names to the values of `gen_ai.provider.name`."""

NANO = 1_000_000_000

_TOKEN_TYPES: Mapping[str, str] = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read.input_tokens",
    "cache_write": "cache_write.input_tokens",
}
"""`gen_ai.token.type` to the usage attribute that it counts. The cached ones are part of the input."""


class Telemetry:
    """Turns what the path emits into spans, span events and metrics. Stateless; safe to share between threads."""

    def __init__(self, policy: LoadedPolicy, tracer: Tracer | None = None) -> None:
        """Use the global providers of the process; `tracer` overrides for tests."""
        self._policy = policy
        self._tracer = tracer or trace.get_tracer("governor")
        self.traces = True
        """Whether spans are worth starting."""
        self._counts = True
        self._own_tracer = tracer is not None
        meter = metrics.get_meter("governor")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens per model call, by type.")
        self._cost = meter.create_counter("governor.cost", "USD", "Money settled.")
        self._decisions = meter.create_counter(
            "governor.decisions", "{decision}", "Decisions by control, verdict, code."
        )
        self._calls = meter.create_counter("governor.calls", "{call}", "Model and tool calls made, by outcome.")
        self._reserved = meter.create_counter(
            "governor.reserved", "USD", "Money reserved before calls, at the worst case."
        )
        self._removed = meter.create_counter(
            "governor.context.tokens_removed", "{token}", "Tokens compaction left out."
        )

        self._breach = meter.create_counter(
            "governor.breach", "{call}", "Calls billed beyond what was held for them, by budget."
        )

        self._lost = meter.create_counter(
            "governor.store_lost", "{operation}", "Store operations that failed, by kind."
        )
        self._unsettled = meter.create_up_down_counter(
            "governor.unsettled", "{charge}", "Charges of finished calls that wait for their store."
        )

    def under(self, policy: LoadedPolicy) -> Telemetry:
        """The same for another policy: it names what it reports by that one's hash."""
        return Telemetry(policy, self._tracer if self._own_tracer else None)

    def look(self) -> None:
        """See who listens, when a run begins. Until a provider is set, what the API does leads nowhere and is not worth asking for."""
        self.traces = self._own_tracer or not _of_the_api(trace.get_tracer_provider(), trace.TracerProvider)
        self._counts = not _of_the_api(metrics.get_meter_provider(), metrics.MeterProvider)

    def run(self, run: RunRef, name: str) -> Span:
        """Start the span of a run. It is a child of whatever span the caller is in."""
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": name,
            "governor.run.id": run.id,
            "governor.policy.hash": self._policy.hash,
            "governor.policy.name": self._policy.policy.name or "",
            "governor.policy.mode": self._policy.policy.mode,
        }
        if run.thread is not None:
            attributes["gen_ai.conversation.id"] = run.thread
        attributes.update({f"governor.scope.{scope}": value for scope, value in run.scopes.items()})
        return self._tracer.start_span(f"invoke_workflow {name}", kind=SpanKind.INTERNAL, attributes=attributes)

    def step(self, step: StepRef, parent: Context | None) -> Span:
        """Start the span of one node execution."""
        attributes: dict[str, Value] = {
            "governor.run.id": step.run.id,
            "governor.step.node": step.node,
            "governor.step.path": step.path,
            "governor.step.attempt": step.attempt,
            "governor.step.depth": step.depth,
        }
        return self._tracer.start_span(f"step {step.path}", context=parent, attributes=attributes)

    def model(self, call: ModelCall, parent: Context | None) -> Span:
        """Start the span of a model call. Its name carries the model that user code asked for; attributes say which one answered."""
        attributes = self._call(call.step, "chat")
        attributes["gen_ai.provider.name"] = PROVIDER_NAMES.get(call.model.provider, call.model.provider)
        attributes["governor.requested_model"] = call.model.model
        attributes["governor.streaming"] = call.streaming
        return self._tracer.start_span(
            f"chat {call.model.model}", context=parent, kind=SpanKind.CLIENT, attributes=attributes
        )

    def tool(self, call: ToolCall, parent: Context | None) -> Span:
        """Start the span of a tool call."""
        attributes = self._call(call.step, "execute_tool")
        attributes["gen_ai.tool.name"] = call.name
        return self._tracer.start_span(f"execute_tool {call.name}", context=parent, attributes=attributes)

    def end(self, span: Span, error: BaseException | None = None, *, expected: bool = False) -> None:
        """End a span. `expected` errors (interrupts, stops: LangGraph's control flow) are named but are no failure."""
        if span is INVALID_SPAN:
            return
        if error is not None:
            span.set_attribute("error.type", type(error).__qualname__)
            if not expected:
                span.set_status(Status(StatusCode.ERROR, type(error).__qualname__))
        span.end()

    def decided(self, span: Span, step: StepRef, decision: Decision) -> None:
        """One decision: an event on the call's span and a count."""
        if not self._counts and span is INVALID_SPAN:
            return
        reason = decision.reason
        code = reason.code if reason else decision.control
        verdict = f"would_{decision.verdict}" if decision.observed else str(decision.verdict)
        self._decisions.add(1, {"control": decision.control, "verdict": verdict, "code": code})
        if reason is not None and code == "budget.breach":
            self._breach.add(1, {"budget": reason.rule})
        if not span.is_recording():
            return
        attributes: dict[str, Value] = {
            "governor.control": decision.control,
            "governor.verdict": verdict,
            "governor.reason.code": code,
            "governor.policy.hash": self._policy.hash,
            "governor.step.path": step.path,
        }
        if reason is not None:
            attributes["governor.rule"] = reason.rule
            attributes["governor.reason"] = reason.text
            optional = {"limit": reason.limit, "seen": reason.seen, "remedy": reason.remedy}
            attributes.update({f"governor.reason.{key}": value for key, value in optional.items() if value is not None})
            attributes.update({f"governor.evidence.{key}": value for key, value in reason.evidence.items()})
        span.add_event("governor.decision", attributes)

    def store_lost(self, operation: str) -> None:
        """A store did not answer."""
        self._lost.add(1, {"operation": operation})

    def unsettled(self, change: int) -> None:
        """So many more charges wait for their store (negative: fewer)."""
        self._unsettled.add(change)

    def measured(self, span: Span, facts: Callable[[], Mapping[str, Value]]) -> None:
        """Facts of a finished call: attributes on its span, and the metrics that come of them."""
        if not self._counts and span is INVALID_SPAN:
            return
        attributes = facts()
        provider = attributes.get("gen_ai.provider.name")
        if span.is_recording():
            span.set_attributes(dict(attributes))
            if isinstance(provider, str):  # of the tier that answered, which need not be the one that was asked
                span.set_attribute("gen_ai.provider.name", PROVIDER_NAMES.get(provider, provider))
        if "gen_ai.usage.input_tokens" not in attributes:
            outcome = "failed" if attributes.get("governor.tool.failed") else "ok"
            self._calls.add(1, {"kind": "tool", "outcome": outcome})
            self._money(self._cost, attributes, "governor.cost_nano_usd", {"kind": "tool"})
            return
        labels: dict[str, Value] = {
            "gen_ai.request.model": attributes["gen_ai.request.model"],
            "governor.tier": attributes["governor.tier"],
        }
        self._calls.add(
            1, {"kind": "model", "outcome": "failed" if "governor.failed" in attributes else "ok", **labels}
        )
        for kind, name in _TOKEN_TYPES.items():
            count = _number(attributes, f"gen_ai.usage.{name}")
            if count or kind in ("input", "output"):
                self._tokens.record(count, {"gen_ai.token.type": kind, **labels})
        removed = _number(attributes, "governor.context.tokens_before") - _number(
            attributes, "governor.context.tokens_after"
        )
        if removed > 0:
            self._removed.add(removed, labels)
        self._money(self._cost, attributes, "governor.cost_nano_usd", {"kind": "model", **labels})
        self._money(self._reserved, attributes, "governor.budget.reserved_nano_usd", labels)

    def beside(
        self,
        span: Span,
        call: ModelCall,
        since_ms: int,
        facts: Callable[[], Mapping[str, Value]],
        purpose: str = "summary",
    ) -> None:
        """A finished model call that governor made by itself: a span of its own under the current one, and its metrics.

        `since_ms`: when it began, milliseconds since the epoch. It may end after the call that it was made for.
        """
        if not (span.is_recording() or span.get_span_context().trace_flags.sampled):
            self.measured(INVALID_SPAN, facts)
            return
        attributes = self._call(call.step, "chat")
        attributes["governor.requested_model"] = call.model.model
        attributes["governor.purpose"] = purpose
        own = self._tracer.start_span(
            f"chat {call.model.model}",
            context=trace.set_span_in_context(span),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=since_ms * 1_000_000,
        )
        self.measured(own, facts)
        own.end()

    def _money(self, counter: Counter, attributes: Mapping[str, Value], name: str, labels: Mapping[str, Value]) -> None:
        amount = _number(attributes, name)
        if amount:
            counter.add(amount / NANO, labels)  # metrics are for charts; the ledger keeps the integer

    def _call(self, step: StepRef, operation: str) -> dict[str, Value]:
        return {
            "gen_ai.operation.name": operation,
            "governor.run.id": step.run.id,
            "governor.step.path": step.path,
            "governor.policy.hash": self._policy.hash,
        }


def _of_the_api(provider: object, base: type[object]) -> bool:
    """Whether a provider is one of the API's own, which stand where none was set: they live in the package of their base class."""
    return f"{type(provider).__module__}.".startswith(f"{base.__module__}.")


def _number(attributes: Mapping[str, Value], name: str) -> int:
    value = attributes.get(name, 0)
    return value if isinstance(value, int) else 0
