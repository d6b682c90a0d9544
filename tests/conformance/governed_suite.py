"""The pytest plugin that runs a suite written for LangGraph with every graph governed, and writes down each test's outcome.

Loaded by name (`-p governed_suite`) into the suite's own pytest, whose test package is called `tests` as this project's is: so it
imports nothing from here. Three environment variables say what to do:

    GOVERNED   `each`: every graph by a policy that allows everything, with a store of its own, so that graphs in graphs are governed
               twice. `shared`: one store for all, so that they are governed once. `wide`: every limit, budget and loop check at work and
               traced, far from being reached. Empty: no graph is governed.
    ALONE      not empty: models say nothing of the langchain that is installed beside them
    OUTCOMES   the file that gets the outcome of each test, and how much was governed
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import base
from langgraph.func import entrypoint
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from governor.stores.memory import MemoryStore
from governor_langgraph import RunReport, govern

OPEN: dict[str, Any] = {"governor": 1, "name": "open", "tools": {"default": "allow"}, "loops": {"mode": "observe"}}
"""A policy that allows everything and changes nothing."""

WIDE: dict[str, Any] = {
    "governor": 1,
    "name": "wide",
    "tools": {"default": "allow"},
    "limits": {"steps": "1M", "depth": 100, "time": "1d"},
    "budgets": [
        {"id": "run", "scope": "run", "limit": {"model_calls": "1M", "tool_calls": "1M"}},
    ],
    "on_exhausted": "stop",
}
"""The same with every counter at work, none of which is ever reached."""

_shared = MemoryStore()
_graphs: list[str] = []
"""Names of the graphs that were governed; with the reports a proof that the suite was governed at all."""
_reports: list[RunReport] = []


def _governed(graph: Any) -> Any:
    way = os.environ["GOVERNED"]
    _graphs.append(type(graph).__name__)
    if way == "shared":
        return govern(
            graph, OPEN, store=_shared
        )  # nobody asks for reports here: that is a way of its own through the code
    store = MemoryStore() if way == "each" else _shared
    return govern(graph, OPEN if way == "each" else WIDE, store=store, on_report=_reports.append)


def _returning(make: Callable[..., Any]) -> Callable[..., Any]:
    """`make`, whose graphs are governed before anybody sees them."""

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        return _governed(make(*args, **kwargs))

    return made


def _initialising(original: Callable[..., None]) -> Callable[..., None]:
    """`Pregel.__init__`, after which a graph that somebody built by hand is governed in its place.

    Subclasses and entrypoints finish their graphs later, and are governed then.
    """

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if type(self) is Pregel and self.nodes:
            governed = _governed(self)
            vars(self).update(vars(governed))
            self.__class__ = type(governed)

    return init


def pytest_configure(config: pytest.Config) -> None:
    if os.environ["ALONE"]:
        base._get_langchain_version = lambda: None
    if os.environ["GOVERNED"] == "wide":
        trace.set_tracer_provider(TracerProvider())
    if os.environ["GOVERNED"]:
        StateGraph.compile = _returning(StateGraph.compile)
        entrypoint.__call__ = _returning(entrypoint.__call__)
        Pregel.__init__ = _initialising(Pregel.__init__)


_outcomes: dict[str, str] = {}
_counted: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test failed if any of its phases did; it passed or was skipped if its call, or its set-up, says so."""
    if report.failed:
        _outcomes[report.nodeid] = "failed"
    elif report.skipped or report.when == "call":
        _outcomes.setdefault(report.nodeid, report.outcome)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = "failed"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker ended: what it counted counts here."""
    output: dict[str, int] = getattr(node, "workeroutput", {})
    _counted.update({name: output.get(name, 0) for name in ("graphs", "runs")})


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, int] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output.update(graphs=len(_graphs), runs=len(_reports))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write it all down: by now every worker has ended."""
    if not hasattr(config, "workerinput"):
        told = {
            "tests": _outcomes,
            "graphs": _counted["graphs"] + len(_graphs),
            "runs": _counted["runs"] + len(_reports),
        }
        Path(os.environ["OUTCOMES"]).write_text(json.dumps(told, indent=0, sort_keys=True), encoding="utf-8")
