"""A user's folder as the current one, and the command line run in it as they would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once
from typer.testing import CliRunner, Result

from governor.cli.app import build
from tests.cli import desk

Governor = Callable[..., Result]
Process = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `app.py` and `open.yaml`. What is imported from it is forgotten afterwards."""
    (tmp_path / "app.py").write_text(desk.APP)
    (tmp_path / "open.yaml").write_text(desk.OPEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOVERNOR_RECORDER", str(tmp_path / "runs.db"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "app", None)
    monkeypatch.delitem(sys.modules, "app")
    return tmp_path


@pytest.fixture
def governor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    """Run the command line in this process, with telemetry of its own."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(metrics, "_METER_PROVIDER", None)
    monkeypatch.setattr(metrics, "_METER_PROVIDER_SET_ONCE", Once())

    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(build(), list(arguments), **options)

    yield run
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


@pytest.fixture
def process(folder: Path) -> Process:
    """Run the command line as a process of its own, in the user's folder; keywords are further environment variables."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])  # the sources, and the fakes that `app.py` imports

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from governor.cli import main; main()", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1", **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
