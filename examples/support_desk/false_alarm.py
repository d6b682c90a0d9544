"""A false alarm: an agent that waits for a scale, which looks like a loop. The trace says why, and one line of policy lets it wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples.support_desk.ways import frontier, provider
from governor.policy import load
from governor.runtime import Runtime
from governor.telemetry import Telemetry
from governor_langgraph import govern, watch
from governor_sandbox import Conversation, Reply, Scenario, ScriptedCall

__all__ = ["EXEMPTION", "LOOKS", "FalseAlarm", "run_false_alarm"]

RULES: dict[str, Any] = {"governor": 1, "name": "warehouse", "tools": {"default": "allow"}}
EXEMPTION = "loops: {tools: [{tool: get_scale_reading, as: poll}]}"
EXEMPT: dict[str, Any] = RULES | {"loops": {"tools": [{"tool": "get_scale_reading", "as": "poll"}]}}
LOOKS = 9
"""Looks until somebody has put the parcel on the scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarm:
    """What was found in the trace of the first run, and what became of the second."""

    code: str
    reason: str
    remedy: str
    stopped: bool
    """Whether the first run was ended."""
    looks: int
    """How often the exempt agent looked."""
    answer: str


def run_false_alarm() -> FalseAlarm:
    """The same agent twice: under a policy that does not know its tool, and with the exemption."""
    spans = InMemorySpanExporter()
    stopped, _, _ = _one(RULES, spans)
    found = next(
        event.attributes or {}
        for span in spans.get_finished_spans()
        for event in span.events
        if (event.attributes or {}).get("governor.reason.code") == "loop.block"
    )
    _, looks, answer = _one(EXEMPT, InMemorySpanExporter())
    return FalseAlarm(
        code=str(found["governor.reason.code"]),
        reason=str(found["governor.reason"]),
        remedy=str(found["governor.reason.remedy"]),
        stopped=stopped,
        looks=looks,
        answer=answer,
    )


def _one(rules: dict[str, Any], spans: InMemorySpanExporter) -> tuple[bool, int, str]:
    looks = 0

    @tool
    def get_scale_reading(scale: str) -> str:
        """Read a scale of the warehouse."""
        nonlocal looks
        looks += 1
        return f"Scale {scale}: {'1.84' if looks >= LOOKS else '0.00'} kg."

    policy = load(rules)
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    runtime = Runtime(policy, telemetry=Telemetry(policy, tracing.get_tracer("demo")))
    with provider(Scenario.from_callable(_waits)), watch() as runs:
        agent: Any = create_agent(frontier(), [get_scale_reading])
        question = {"messages": [("user", "Tell me the parcel's weight once it is on scale 2.")]}
        result = govern(agent, policy, runtime=runtime).invoke(question)
    return runs[0].stopped is not None, looks, str(result["messages"][-1].text)


def _waits(conversation: Conversation) -> Reply:
    """A model that looks again until there is something on the scale."""
    if any("1.84" in result.text for result in conversation.last.tool_results):
        return Reply(text="The parcel weighs 1.84 kg.")
    return Reply(text="Not yet.", tool_calls=(ScriptedCall(name="get_scale_reading", args={"scale": "2"}),))
