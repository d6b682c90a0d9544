"""Sets up the OpenTelemetry SDK: OTLP by the standard environment variables, and the local recorder."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from governor_otel.recorder import SpanRecorder

__all__ = ["flush", "setup"]

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
NEEDS_EXTRA = "an OTLP endpoint is set but its exporter is not installed: pip install 'langgraph-governor[otlp]'"


def setup(*, recorder: Path | bool = True, otlp: bool | None = None, service: str = "governor") -> TracerProvider:
    """Send governor's spans and metrics where they can be seen; call it once, at start-up.

    `recorder` True writes to the default recording, a path to that file, False nowhere. `otlp` None follows the standard environment
    variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin). A tracer provider that the application has installed is kept and only
    gets a further processor. Raises ImportError when OTLP is wanted and its extra is missing.
    """
    wanted = any(os.environ.get(name) for name in _ENDPOINTS) if otlp is None else otlp
    if wanted and find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        raise ImportError(NEEDS_EXTRA)
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", service)})
        provider = TracerProvider(resource=resource)
        trace.set_tracer_provider(provider)
        if wanted:
            metrics.set_meter_provider(MeterProvider(metric_readers=[_otlp_metrics()], resource=resource))
    if wanted:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    if recorder is not False:
        # Batched, off the application's path; half a second is soon enough for eyes, and `flush` or the process's end hurries it.
        spans = SpanRecorder(None if recorder is True else recorder)
        provider.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=500))
    return provider


def flush(timeout_ms: int = 10_000) -> None:
    """Send what is buffered, before a short-lived process ends. At most `timeout_ms` milliseconds each for spans and metrics."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if isinstance(provider, TracerProvider | MeterProvider):
            provider.force_flush(timeout_ms)


def _otlp_metrics() -> MetricReader:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return PeriodicExportingMetricReader(OTLPMetricExporter())
