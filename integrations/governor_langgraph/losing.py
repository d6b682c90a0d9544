"""Runs whose store does not answer when they begin, when they are taken up, and when they are reported on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import StoreError
from governor.policy.kept import HANDLE
from governor.reserving import stopped_by
from governor.storing import catch_up_on
from governor.values import replace

if TYPE_CHECKING:
    from governor.report import GovernorReport
    from governor.runs import Steady
    from governor.runtime import Runtime
    from governor_langgraph.context import GovernedRun

__all__ = ["opened", "pinned", "steady_of", "with_loss"]


def opened(runtime: Runtime, key: str | None, fresh: str, *, resume: bool) -> str:
    """Id of the run to use. Raises StoreError for a store that is lost, before anything runs.

    Where the policy lets calls go on unmetered, a fresh run begins all the same. A resume never does: nobody else knows which run it was,
    and what a person rejected in it.
    """
    try:
        run = runtime.store.open_run(key, fresh, resume=resume)
    except StoreError:
        if resume or not runtime.losses.opens:
            raise
        runtime.telemetry.store_lost("open")
        return fresh
    if run != fresh:
        catch_up_on(runtime, run)
    return run


def steady_of(runtime: Runtime, run: str) -> dict[str, tuple[Steady, ...]]:
    """What the lanes of a run that goes on, or of the thread's run before it, have seen of their system texts.

    A store that is lost is no reason not to begin: they are then sent as they are, until they are seen to change.
    """
    if not runtime.controls.order.steadies:
        return {}
    try:
        state = runtime.store.change(run, lambda before: (before, before))
    except StoreError:
        return {}
    return {key: lane.steady for key, lane in state.lanes.items() if lane.steady}


def pinned(runtime: Runtime, run: str, policy: str) -> None:
    """Keep the policy of a run that is pinned to it. Where it cannot be kept, and calls go on, a resume will be refused for want of it."""
    try:
        runtime.store.keep(run, HANDLE, policy)
    except StoreError:
        if not runtime.losses.opens:
            raise
        runtime.telemetry.store_lost("keep")


def with_loss(run: GovernedRun, report: GovernorReport) -> GovernorReport:
    """The report with why the run was stopped, where the store could not be told: it was what had been lost."""
    reason = run.stopped
    if reason is None or reason.code != "store.lost" or report.state.stopped is not None:
        return report
    return replace(report, state=replace(report.state, stopped=stopped_by(reason)))
