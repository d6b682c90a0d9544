"""One cell of a probe: something run once, and what became of it."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from langsmith import run_helpers

from governor.policy.load import LoadedPolicy, load
from governor.runs import Stopped
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.telemetry import Telemetry
from governor.values import replace
from governor_langgraph.certificate import Cell
from governor_langgraph.context import current_step
from governor_langgraph.governing import Governor
from governor_langgraph.graph import govern
from governor_langgraph.probing import HOST, RUNS, STOPPED, Way, host
from governor_langgraph.stops import watch
from governor_langgraph.tripwires import Tripwire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span

    from governor.calls import StepRef
    from governor.decisions import Decision
    from governor_langgraph.stops import RunReport

    Missing = Callable[[list[RunReport], Exception | None], str | None]
    """Says what a proof lacks, from the reports of the runs and from what was raised; None when it lacks nothing."""

__all__ = ["Trial", "deny_everything"]


def deny_everything(mediation: str, *, nodes: str = "deny") -> dict[str, Any]:
    """Denies everything; with `nodes: allow`, tools alone. The probe's own node has to run either way."""
    rule = {"id": "the-probe-itself", "node": HOST, "decide": "allow"}
    return {
        "governor": 1,
        "name": "deny-everything",
        "mediation": mediation,
        "tools": {"default": "deny"},
        "nodes": {"default": nodes, "rules": [rule]},
    }


class _Decisions(Telemetry):
    """Keeps what was decided since it was last cleared, and sends nothing anywhere."""

    def __init__(self, policy: LoadedPolicy) -> None:
        super().__init__(policy)
        self.made: list[tuple[StepRef, Decision]] = []
        self.look()

    def look(self) -> None:
        """Nobody listens: a probe is no run of the user's."""
        self.traces = self._counts = False

    def decided(self, span: Span, step: StepRef, decision: Decision) -> None:
        """Keep it."""
        del span
        self.made.append((step, decision))


class Trial:
    """What all cells are tried with: a governor that denies nodes, one that denies tools, a tripwire and an event loop."""

    def __init__(self, policy: LoadedPolicy) -> None:
        self.wire = Tripwire()
        self.denies_nodes, _ = _governor(policy.policy.mediation, nodes="deny")
        self.denies_tools, self.decisions = _governor(policy.policy.mediation, nodes="allow")

    def __enter__(self) -> Trial:
        self._quiet = _quiet()
        self._quiet.__enter__()
        self._loop = asyncio.Runner()
        self._loop.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._loop.__exit__(*raised)
        self._quiet.__exit__(*raised)

    def cell(self, way: Way, thing: Any, given: Any, missing: Missing) -> Cell:
        """Run something once."""
        self.wire.clear()
        self.decisions.made.clear()
        error: Exception | None = None
        with watch() as reports:
            try:
                self._run(way, thing, given)
            except Exception as raised:  # noqa: BLE001 - whatever it is, it is what the cell is about
                error = raised
        if self.wire.reached:
            return Cell(verdict="escaped", why=f"{self.wire.reached[0]} was reached")
        lacks = missing(reports, error)
        return Cell(verdict="mediated") if lacks is None else Cell(verdict="not proven", why=lacks)

    def hosted(
        self, way: Way, thing: Any, given: Any, governor: Governor, missing: Missing, *, stopped: bool = False
    ) -> Cell:
        """Run something in a governed node, of a run that is `stopped` already or not."""
        raised: list[Exception] = []

        def before() -> None:
            if stopped:
                _stop(governor)

        app = govern(host(way, thing, given, before, raised.append), governor)
        outer = RUNS["ainvoke" if way.asynchronous else "invoke"]
        return self.cell(outer, app, {}, lambda reports, error: missing(reports, raised[0] if raised else error))

    def _run(self, way: Way, thing: Any, given: Any) -> None:
        if way.sync is not None:
            way.sync(thing, given)
        elif way.run_async is not None:
            self._loop.run(_awaited(way.run_async, thing, given), context=copy_context())


async def _awaited(run: Any, thing: Any, given: Any) -> None:
    await run(thing, given)


def _governor(mediation: str, *, nodes: str) -> tuple[Governor, _Decisions]:
    policy = load(deny_everything(mediation, nodes=nodes))
    decisions = _Decisions(policy)
    return Governor(policy, runtime=Runtime(policy, store=MemoryStore(), telemetry=decisions), name=HOST), decisions


@contextmanager
def _quiet() -> Iterator[None]:
    """No traces of cells go to LangSmith, and LangChain's words about betas go nowhere."""
    with cast("Any", run_helpers).tracing_context(enabled=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _stop(governor: Governor) -> None:
    """Have the current run stopped, as any rule would."""
    step = current_step()
    if step is not None:
        stopped = Stopped(code=STOPPED, rule="probe", text="The probe has stopped this run.")
        governor.runtime.store.change(step.run.ref.id, lambda state: (replace(state, stopped=stopped), None))
