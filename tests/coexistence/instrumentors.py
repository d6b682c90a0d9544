"""The instrumentations of LangChain that people run beside governor, each with how its spans of model calls are told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@dataclass(frozen=True)
class Kind:
    """One instrumentation."""

    make: Callable[[], Any]
    is_model: Callable[[ReadableSpan], bool]
    is_tool: Callable[[ReadableSpan], bool]


def _genai() -> Any:
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    return LangChainInstrumentor()


def _openinference() -> Any:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    return LangChainInstrumentor()


def _openllmetry() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    return LangchainInstrumentor()


def _has(name: str, *values: str) -> Callable[[ReadableSpan], bool]:
    return lambda span: str((span.attributes or {}).get(name)) in values


REMOVABLE = ("genai", "openinference")
"""OpenLLMetry 0.62 goes on recording after `uninstrument`, with governor or without."""

KINDS = {
    "genai": Kind(_genai, _has("gen_ai.operation.name", "chat"), _has("gen_ai.operation.name", "execute_tool")),
    "openinference": Kind(
        _openinference, _has("openinference.span.kind", "LLM"), _has("openinference.span.kind", "TOOL")
    ),
    "openllmetry": Kind(_openllmetry, lambda span: span.name.endswith(".chat"), _has("traceloop.span.kind", "tool")),
}


class Instrumented:
    """An instrumentation at work, with what it recorded. `on` and `off` may be called in any order with governor's."""

    def __init__(self, name: str) -> None:
        self.kind = KINDS[name]
        self.instrumentor = self.kind.make()
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def on(self) -> None:
        self.instrumentor.instrument(tracer_provider=self.provider, skip_dep_check=True)

    def off(self) -> None:
        if self.instrumentor.is_instrumented_by_opentelemetry:
            self.instrumentor.uninstrument()

    def take(self) -> Sequence[ReadableSpan]:
        """The spans since the last time."""
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return spans

    def counts(self) -> tuple[int, int, list[str]]:
        """Model calls, tool calls, and every span's name, since the last time."""
        spans = self.take()
        return sum(map(self.kind.is_model, spans)), sum(map(self.kind.is_tool, spans)), sorted(s.name for s in spans)
