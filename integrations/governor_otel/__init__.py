"""OpenTelemetry for governor: SDK set-up, OTLP, and a local recorder that `governor runs` and `governor show` read.

from governor_otel import setup
setup()          # OTLP as the standard OTEL_* variables say; recorded to ~/.governor/runs.db too
"""

from __future__ import annotations

from governor_otel.reading import Node, RunSummary, Totals, read_run, read_runs
from governor_otel.recorder import SpanRecorder, default_path
from governor_otel.setting_up import disabled, flush, record, setup

__all__ = [
    "Node",
    "RunSummary",
    "SpanRecorder",
    "Totals",
    "default_path",
    "disabled",
    "flush",
    "read_run",
    "read_runs",
    "record",
    "setup",
]
