"""Where spans and metrics go, signal by signal, by the standard environment variables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once

from governor.errors import ConfigurationError
from governor_otel import flush, read_runs, setup
from tests.otel.receiver import Received, receiving, silence

TRACES, METRICS = "/v1/traces", "/v1/metrics"


@pytest.fixture
def collector() -> Iterator[Received]:
    with receiving() as received:
        yield received


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, collector: Received) -> Iterator[None]:
    """A process that nobody has set up yet; what is set up here ends with the test, and before the collector does."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(_internal, "_METER_PROVIDER", None)
    monkeypatch.setattr(_internal, "_METER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(_internal, "_PROXY_METER_PROVIDER", _internal._ProxyMeterProvider())
    yield
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if isinstance(provider, TracerProvider | MeterProvider):
            provider.shutdown()


def emit() -> None:
    """One span and one measurement, sent as far as anything sends them."""
    with trace.get_tracer("app").start_as_current_span("work", attributes={"governor.run.id": "run-1"}):
        metrics.get_meter("app").create_counter("calls").add(1)
    flush()


def paths(collector: Received) -> set[str]:
    return {path for path, _ in collector.headers}


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        pytest.param({}, set(), id="nothing said"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, set(), id="set and empty is not set"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "{}"}, {TRACES, METRICS}, id="both"),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{}/v1/traces"}, {TRACES}, id="traces alone"),
        pytest.param({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "{}/v1/metrics"}, {METRICS}, id="metrics alone"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "{}", "OTEL_METRICS_EXPORTER": "none"}, {TRACES}, id="metrics off"
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "{}", "OTEL_TRACES_EXPORTER": "None"}, {METRICS}, id="traces off"),
        pytest.param(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "{}",
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_METRICS_EXPORTER": "otlp,console",
            },
            {TRACES, METRICS},
            id="said twice",
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "{}", "OTEL_SDK_DISABLED": "true"}, set(), id="all off"),
        pytest.param(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "{}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                "OTEL_METRICS_EXPORTER": "none",
            },
            {TRACES},
            id="the signal's own protocol goes first",
        ),
    ],
)
def test_each_signal_goes_where_its_variables_say(
    collector: Received, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sent: set[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(collector.url))

    setup(recorder=False)
    emit()

    assert sent == paths(collector)


def test_an_applications_own_tracer_provider_does_not_silence_metrics(
    collector: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = TracerProvider()
    trace.set_tracer_provider(own)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)

    assert own is setup(recorder=False)
    emit()

    assert {TRACES, METRICS} == paths(collector)
    assert ["work"] == [span.name for span in collector.spans]


def test_an_applications_own_meter_provider_is_kept_and_takes_the_metrics(
    collector: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    own = MeterProvider(metric_readers=[reader])
    metrics.set_meter_provider(own)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)

    setup(recorder=False)
    emit()

    assert own is metrics.get_meter_provider()
    assert reader.get_metrics_data() is not None
    assert {TRACES} == paths(collector)


@pytest.mark.parametrize(
    "name",
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"],
)
@pytest.mark.parametrize("protocol", ["grpc", "http/json"])
def test_another_protocol_is_refused_with_the_one_there_is(
    monkeypatch: pytest.MonkeyPatch, name: str, protocol: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv(name, protocol)

    with pytest.raises(ConfigurationError, match=f"^{name}={protocol}: governor sends http/protobuf only"):
        setup(recorder=False)
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)


def test_the_protocol_of_a_signal_that_is_not_sent_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")

    assert isinstance(setup(recorder=False), TracerProvider)


def test_an_exporter_that_is_the_applications_to_set_up_is_named(
    collector: Received, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")

    with caplog.at_level(logging.WARNING, logger="governor_otel"):
        setup(recorder=False)
    emit()

    assert ["OTEL_METRICS_EXPORTER: prometheus is left to the application to set up"] == caplog.messages
    assert {TRACES} == paths(collector)


@pytest.mark.parametrize(
    ("variables", "service"),
    [
        ({}, "governor"),
        ({"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,team=a"}, "shop"),
    ],
    ids=["default", "by its name", "among the attributes"],
)
def test_the_service_is_named_as_the_environment_names_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], service: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert service == setup(recorder=False).resource.attributes["service.name"]


def test_a_collector_that_never_answers_does_not_keep_the_run_from_being_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silence() as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{url}/v1/traces")
        setup(recorder=tmp_path / "runs.db", timeout_s=0.2)
        with trace.get_tracer("app").start_as_current_span("work", attributes={"governor.run.id": "run-1"}):
            pass
        flush(100)  # milliseconds: less than the collector takes to fail

    assert ["run-1"] == [run.id for run in read_runs(tmp_path / "runs.db")]


def test_otlp_without_its_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governor_otel.setting_up.find_spec", lambda name: None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

    with pytest.raises(ImportError, match=r"pip install 'langgraph-governor\[otlp\]'"):
        setup(recorder=False)
