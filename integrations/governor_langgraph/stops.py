"""How a refusal travels through a graph, and what a user learns of it.

Inside a graph a stop is a LangGraph bubble-up: retry policies, error handlers, `handle_tool_errors` and the retry and fallback
middlewares let it pass, state is saved, and a resume repeats nothing that was done. Only the outermost governed graph turns it into what
the policy's `on_exhausted` says. A denied call is no stop: it is answered (tools) or raised as `CallDenied` (models).
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NoReturn

from langgraph.errors import GraphBubbleUp

from governor.decisions import Reason
from governor.errors import RunStopped
from governor.report import GovernorReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor_langgraph.context import GovernedRun, GovernedStep

__all__ = ["DrainText", "GovernorReport", "GovernorStop", "RunReport", "drain", "stop", "watch"]


class GovernorStop(GraphBubbleUp, RunStopped):
    """The run must end, on its way up through the graph.

    Caught by the outermost governed graph. Where there is none (`GovernorMiddleware` alone, a governed graph as a node of an
    ungoverned one) it reaches the caller, who can catch it as `governor.RunStopped`.
    """

    def __init__(self, reason: Reason, run: GovernedRun | None = None, *, begun: bool = True) -> None:
        """`run` is the run that must end; an outer run lets the stop of an inner one pass to whoever called that.

        `begun`: whether a tool through which it passes had begun its work; not, when an outer policy refused the tool call itself.
        """
        self.run = run
        self.begun = begun
        super().__init__(reason, policy_hash=run.ref.policy_hash if run else "")


class DrainText(str):
    """Why governor asked LangGraph to drain; its class tells it from the text of anyone else who did."""


def stop(step: GovernedStep, reason: Reason) -> NoReturn:
    """End the run of `step`: ask LangGraph to drain, which holds even if user code swallows the exception, then raise."""
    drain(step, reason)
    raise GovernorStop(reason, step.run)


def drain(step: GovernedStep, reason: Reason) -> bool:
    """End the run of `step` once what it is doing is saved. False when nobody can be asked for that, and only raising is left."""
    step.run.stopped = step.run.stopped or reason
    if step.soft:
        return True  # refused from now on, and told to the model: it ends by itself
    if step.control is None:
        return False
    step.control.request_drain(DrainText(reason.text))
    return True


RunReport = GovernorReport
"""Its name in 0.1."""

_watchers: ContextVar[tuple[list[GovernorReport], ...]] = ContextVar("governor_watchers", default=())


@contextmanager
def watch() -> Iterator[list[GovernorReport]]:
    """Collect a report of every governed run that ends inside the block.

    A stopped run under `on_exhausted: finish` returns its partial result like any other; this is how to tell::

        with watch() as runs:
            result = app.invoke(question)
        if runs[-1].stopped:
            print(runs[-1])  # why, where, how much
    """
    reports: list[GovernorReport] = []
    token = _watchers.set((*_watchers.get(), reports))
    try:
        yield reports
    finally:
        _watchers.reset(token)


def watched() -> bool:
    """Whether anyone wants a report, so that the store is only asked for a reader."""
    return bool(_watchers.get())


def publish(report: GovernorReport) -> None:
    """Hand a report to every open `watch` block."""
    for reports in _watchers.get():
        reports.append(report)
