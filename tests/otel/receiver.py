"""An OTLP collector on loopback: takes what exporters really send, gzip and protobuf, and keeps it decoded."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Attributes = dict[str, Any]


def attributes_of(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    if value.WhichOneof("value") == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, value.WhichOneof("value") or "string_value")


@dataclass(frozen=True, kw_only=True)
class Event:
    name: str
    attributes: Attributes


@dataclass(frozen=True, kw_only=True)
class Span:
    name: str
    kind: int
    id: bytes
    parent: bytes
    trace: bytes
    status: int
    attributes: Attributes
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True)
class Point:
    """The latest value of one series: a sum, or what a histogram holds."""

    metric: str
    unit: str
    attributes: Attributes
    value: float
    count: int = 0


@dataclass
class Received:
    """What arrived. `headers` are those of each request, by path."""

    url: str
    spans: list[Span] = field(default_factory=list[Span])
    points: dict[tuple[str, str], Point] = field(default_factory=dict[tuple[str, str], Point])
    headers: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    resources: list[Attributes] = field(default_factory=list[Attributes])
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ours(self) -> list[Span]:
        """Governor's spans: vendors' clients and users' code have some of their own between and below them."""
        return [span for span in self.spans if "governor.run.id" in span.attributes]

    def named(self, start: str) -> list[Span]:
        return [span for span in self.ours if span.name.startswith(start)]

    def one(self, name: str) -> Span:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def parent(self, span: Span) -> Span:
        (parent,) = [each for each in self.spans if each.id == span.parent]
        return parent

    def series(self, metric: str) -> list[Point]:
        return [point for point in self.points.values() if point.metric == metric]

    def take_spans(self, body: bytes) -> bytes:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes_of(resource.resource.attributes))
            for scope in resource.scope_spans:
                for span in scope.spans:
                    events = tuple(Event(name=e.name, attributes=attributes_of(e.attributes)) for e in span.events)
                    self.spans.append(
                        Span(
                            name=span.name,
                            kind=span.kind,
                            id=span.span_id,
                            parent=span.parent_span_id,
                            trace=span.trace_id,
                            status=span.status.code,
                            attributes=attributes_of(span.attributes),
                            events=events,
                        )
                    )
        return ExportTraceServiceResponse().SerializeToString()

    def take_metrics(self, body: bytes) -> bytes:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in metric.sum.data_points:
                    value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
                    self._keep(metric.name, metric.unit, attributes_of(point.attributes), value, 0)
                for point in metric.histogram.data_points:
                    self._keep(metric.name, metric.unit, attributes_of(point.attributes), point.sum, point.count)
        return ExportMetricsServiceResponse().SerializeToString()

    def _keep(self, name: str, unit: str, attributes: Attributes, value: float, count: int) -> None:
        key = (name, repr(sorted(attributes.items())))
        self.points[key] = Point(metric=name, unit=unit, attributes=attributes, value=value, count=count)


@contextmanager
def receiving() -> Iterator[Received]:
    """A collector for the length of the block."""

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with received.lock:
                received.headers.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
                take = {"/v1/traces": received.take_spans, "/v1/metrics": received.take_metrics}[self.path]
                answer = take(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    received = Received(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silence() -> Iterator[str]:
    """The address of a collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
