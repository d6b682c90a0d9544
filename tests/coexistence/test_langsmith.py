"""With LangSmith tracing, by its real client to a collector on loopback: the trace of a governed run is that of the bare one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langsmith import Client
from langsmith.run_helpers import tracing_context

from governor_langgraph import govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import OPEN, Streaming, once

GIVEN: Any = {"messages": [("user", "look it up")]}


class Collector:
    """What LangSmith's client posts, as its server would take it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: dict[str, dict[str, Any]] = {}
        collector = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._take()

            def do_PATCH(self) -> None:
                self._take()

            def _take(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                identity = body.get("id") or self.path.rpartition("/")[2]
                with collector.lock:
                    collector.runs.setdefault(identity, {}).update(
                        {key: value for key, value in body.items() if value is not None}
                    )
                self._answer()

            def _answer(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def take(self) -> list[tuple[str, str, str, bool]]:
        """Kind, name, parent's name and whether it ended, of every run since the last time."""
        with self.lock:
            runs, self.runs = self.runs, {}
        names = {identity: run["name"] for identity, run in runs.items()}
        return sorted(
            (run["run_type"], run["name"], names.get(str(run.get("parent_run_id")), ""), "end_time" in run)
            for run in runs.values()
        )


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_the_trace_is_the_bare_runs_and_calls_are_counted_once(collector: Collector, mode: str) -> None:
    host, port = collector.server.server_address[:2]
    client = Client(api_url=f"http://{host!s}:{port}", api_key="none", auto_batch_tracing=False)
    model = Streaming(rule=once("search", {"q": "it"}))
    bare = graphs.agent(model)

    with tracing_context(enabled=True, client=client):
        expected = await modes.ALL_MODES[mode](bare, GIVEN, {})
        alone = collector.take()
        app = govern(bare, OPEN)
        with watch() as runs:
            result = await modes.ALL_MODES[mode](app, GIVEN, {})
        together = collector.take()

    assert expected == result
    assert (2, 1) == tuple(sum(kind == each for kind, *_ in alone) for each in ("llm", "tool"))
    assert alone == together
    assert all(ended for *_, ended in together)
    assert [(2, 1)] == [(run.state.model_calls, run.state.tool_calls) for run in runs]
    assert 4 == len(model.calls)
