"""LangGraph's own development server, as a process of its own on loopback, for the whole folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import ROOT

pytest.importorskip("langgraph_api", reason="the development server is not installed here")

GRAPHS = ("agent", "bare_agent", "steps", "bare_steps", "pair", "books")
QUIET = {
    "LANGSMITH_TRACING": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",  # or the command would report its use
    "NO_COLOR": "1",
}
STARTED = "Application started up"


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


class Server:
    """`langgraph dev`, until closed. What it writes is read to its end, so that it never waits for a reader."""

    def __init__(self, folder: Path) -> None:
        settings = {"dependencies": ["."], "graphs": {name: f"tests.served.desk:{name}" for name in GRAPHS}}
        (folder / "langgraph.json").write_text(json.dumps(settings), encoding="utf-8")
        paths = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])
        env = {**os.environ, **QUIET, "PYTHONPATH": paths, "SERVED_LEDGERS": str(folder / "ledgers.db")}
        self.port = _free_port()
        options = ["--no-browser", "--no-reload", "--n-jobs-per-worker", "4", "--port", str(self.port)]
        command = [sys.executable, "-m", "langgraph_cli", "dev", *options]
        self._process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if STARTED in line:
                self._started.set()
        self._started.set()  # or it ended

    def wait(self) -> str:
        """Its address, once it answers."""
        assert self._started.wait(60), "".join(self.lines)
        assert any(STARTED in line for line in self.lines), "".join(self.lines)
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Server(tmp_path_factory.mktemp("served"))
    try:
        yield server.wait()
    finally:
        server.close()
