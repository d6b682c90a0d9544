"""Sets up the OpenTelemetry SDK: OTLP by the standard environment variables, and the local recorder.

Traces and metrics are looked at apart, as the standard has it. A signal is sent when `OTEL_EXPORTER_OTLP_<SIGNAL>_ENDPOINT` or
`OTEL_EXPORTER_OTLP_ENDPOINT` names a place, or `OTEL_<SIGNAL>_EXPORTER` says `otlp`; it is not when the latter says `none`, or an exporter
that the application sets up by itself. `OTEL_SDK_DISABLED=true` silences all of it, the recorder too.
Source: the SDK environment variables and the OTLP exporter pages of the OpenTelemetry specification.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from governor.errors import ConfigurationError
from governor_otel.recorder import SpanRecorder

__all__ = ["disabled", "flush", "record", "setup"]

Signal = Literal["TRACES", "METRICS"]
NEEDS_EXTRA = "an OTLP endpoint is set but its exporter is not installed: pip install 'langgraph-governor[otlp]'"
PROTOCOL = "http/protobuf"
"""The one protocol whose exporter the extra brings, and the standard's default."""
_log = logging.getLogger("governor_otel")


def setup(
    *,
    recorder: Path | bool = True,
    otlp: bool | None = None,
    service: str = "governor",
    timeout_s: float | None = None,
) -> TracerProvider:
    """Send governor's spans and metrics where they can be seen; call it once, at start-up.

    `recorder` True writes to the default recording, a path to that file, False nowhere. `otlp` None follows the environment (see this
    module), True and False overrule it for both signals. `timeout_s` is how many seconds one export may take, retries included, where no
    `OTEL_EXPORTER_OTLP_*TIMEOUT` says so; the SDK's own default is 10. Providers that the application has installed are kept: its tracer
    provider gets further processors, its meter provider sends governor's metrics along with the application's own.

    Raises ImportError when OTLP is wanted and its extra is missing, ConfigurationError when it is wanted by another protocol.
    """
    traces, measures = _wanted("TRACES", otlp), _wanted("METRICS", otlp)
    if (traces or measures) and find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        raise ImportError(NEEDS_EXTRA)
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider(resource=_resource(service))
        trace.set_tracer_provider(provider)
    if recorder is not False:
        # Before OTLP: processors are flushed in turn, and a collector that does not answer must not use up the recorder's time.
        record(provider, None if recorder is True else recorder)
    if traces:
        _send_traces(provider, timeout_s)
    if measures and not isinstance(metrics.get_meter_provider(), MeterProvider):
        _send_metrics(provider.resource, timeout_s)
    return provider


def record(provider: TracerProvider, path: Path | None = None) -> BatchSpanProcessor:
    """Record a provider's spans in a file, the default one for None. `force_flush` of what is returned writes what is buffered.

    Batched, off the application's path; half a second is soon enough for eyes.
    """
    processor = BatchSpanProcessor(SpanRecorder(path), schedule_delay_millis=500)
    provider.add_span_processor(processor)
    return processor


def flush(timeout_ms: int = 10_000) -> None:
    """Send what is buffered, before a short-lived process ends. At most `timeout_ms` milliseconds each for spans and metrics."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if isinstance(provider, TracerProvider | MeterProvider):
            provider.force_flush(timeout_ms)


def disabled() -> bool:
    """Whether the environment switches the SDK off, so that nothing is sent and nothing recorded."""
    return _variable("OTEL_SDK_DISABLED").lower() == "true"


def _variable(name: str) -> str:
    """A variable's value; one that is set and empty counts as not set, as the standard says."""
    return os.environ.get(name, "").strip()


def _wanted(signal: Signal, otlp: bool | None) -> bool:
    """Whether a signal goes out over OTLP. Raises ConfigurationError when it should by a protocol that is not there."""
    exporters = {word for each in _variable(f"OTEL_{signal}_EXPORTER").split(",") if (word := each.strip().lower())}
    others = exporters - {"otlp", "none"}
    if others and otlp is None:
        _log.warning("OTEL_%s_EXPORTER: %s is left to the application to set up", signal, ", ".join(sorted(others)))
    endpoint = _variable(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or _variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    wanted = "otlp" in exporters or (not exporters and bool(endpoint)) if otlp is None else otlp
    if disabled() or not wanted:
        return False
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = _variable(name)
        if protocol and protocol.lower() != PROTOCOL:
            raise ConfigurationError(
                f"{name}={protocol}: governor sends {PROTOCOL} only. Set it to {PROTOCOL} and the endpoint to the collector's HTTP port "
                f"(4318 by default), or OTEL_{signal}_EXPORTER=none to send nothing."
            )
        if protocol:
            break  # the signal's own variable goes before the general one
    return True


def _resource(service: str) -> Resource:
    """Whose telemetry this is: as `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say, else `service`."""
    found = Resource.create()
    named = not str(found.attributes["service.name"]).startswith("unknown_service")
    return found if named else found.merge(Resource({"service.name": service}))


def _timeout_s(signal: Signal, given: float | None) -> float | None:
    """None leaves it to the exporter, which reads the environment."""
    said = _variable(f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT") or _variable("OTEL_EXPORTER_OTLP_TIMEOUT")
    return None if said else given


def _send_traces(provider: TracerProvider, timeout_s: float | None) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_timeout_s("TRACES", timeout_s))))


def _send_metrics(resource: Resource, timeout_s: float | None) -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=_timeout_s("METRICS", timeout_s)))
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader], resource=resource))
