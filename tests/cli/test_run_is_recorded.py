"""What `governor run` records and sends, and what it says when it could not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Governor, Process
from tests.otel.receiver import silence

RUN = ("run", "app:graph", "-p", "open.yaml", "-i", '{"messages": [["user", "hi"]]}')


def test_a_run_in_a_process_of_its_own_is_recorded_before_it_ends(folder: Path, process: Process) -> None:
    ran = process(*RUN, "--json", "--recording", "own.db")
    shown = process("show", json.loads(ran.stdout)["run"][:10], "--recording", "own.db")

    assert (0, "") == (ran.returncode, ran.stderr)
    assert "step model" in shown.stdout


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("OTEL_SDK_DISABLED", "true", "OTEL_SDK_DISABLED is true"),
        ("OTEL_TRACES_SAMPLER", "always_off", "OTEL_TRACES_SAMPLER=always_off may have left it out"),
    ],
)
def test_a_run_that_was_not_recorded_says_so_instead_of_costing_nothing(
    folder: Path, governor: Governor, monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(name, value)

    printed = governor(*RUN)
    ran = json.loads(governor(*RUN, "--json").stdout)

    assert printed.stdout.endswith(": finished, cost not recorded\n")
    assert "nothing was recorded of this run, so its steps and its cost are not known here: " in printed.stderr
    assert why in printed.stderr
    assert 0 == printed.exit_code
    assert ("finished", None, None) == (ran["outcome"], ran["steps"], ran["totals"])


@pytest.mark.slow
def test_a_collector_that_never_answers_does_not_hold_up_the_shell(folder: Path, process: Process) -> None:
    with silence() as url:
        began = time.monotonic()
        done = process(*RUN, "--json", OTEL_EXPORTER_OTLP_ENDPOINT=url)
        took = time.monotonic() - began

    assert 2 == json.loads(done.stdout)["totals"]["model_calls"]
    assert 0 == done.returncode
    assert took < 30  # seconds, of which starting takes some: the SDK's own timeouts alone are thirty


def test_an_otlp_protocol_that_is_not_there_is_refused_before_anything_runs(folder: Path, process: Process) -> None:
    done = process(
        *RUN, "--json", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
    )

    assert "governor sends http/protobuf only" in json.loads(done.stderr)["error"]["message"]
    assert (2, "") == (done.returncode, done.stdout)
