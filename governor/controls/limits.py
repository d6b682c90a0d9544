"""Bounds of one run, summed over nested graphs: steps, depth, branches at once, time.

They catch what no loop detector sees, a run that is new at every step and never ends, so they count before a node runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import ALLOWED, Decision, Reason, Verdict
from governor.runs import RunState
from governor.values import copier, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.calls import StepRef
    from governor.policy.schema import Policy

__all__ = ["Limits"]

_changed = copier(RunState)

_OPEN_STEPS = 256
"""Namespaces remembered of steps that have begun and not ended; one beyond them that resumes is counted again, never less."""


class Limits:
    """The `limits` part of one policy."""

    def __init__(self, policy: Policy) -> None:
        """Read the limits. One that is absent bounds nothing; steps are counted all the same."""
        self._limits = policy.limits
        self._observed = policy.mode == "observe"

    def enter(self, state: RunState, step: StepRef, now: int) -> tuple[RunState, Decision]:
        """Count a step that is about to run and hold the run against its limits. `now` is milliseconds since the epoch.

        A retry, or a resume after an interrupt, keeps its namespace and is the step it was. A refused step is not counted.
        """
        started = state.started_ms or step.run.started_ms or now
        again = step.ns in state.open_steps
        counted = replace(state, started_ms=started) if again else _counted(state, step, started)
        reason = next(self._passed(counted, step, now, again=again), None)
        if reason is None:
            return counted, ALLOWED
        decision = Decision(control="limits", verdict=Verdict.STOP, reason=reason, observed=self._observed)
        return (counted if self._observed else replace(state, started_ms=started)), decision

    def leave(self, state: RunState, step: StepRef) -> RunState:
        """Forget a step that has ended for good. Its namespace never comes back."""
        if step.ns not in state.open_steps:
            return state
        return _changed(state, open_steps=tuple([ns for ns in state.open_steps if ns != step.ns]))

    def _passed(self, state: RunState, step: StepRef, now: int, *, again: bool) -> Iterator[Reason]:
        """The limits that are passed, each with the number seen."""
        limits = self._limits
        if limits.steps is not None and state.steps > limits.steps and not again:
            yield _reason("steps", limits.steps.written, str(state.steps), f"{state.steps} node executions")
        if limits.depth is not None and step.depth > limits.depth:
            yield _reason("depth", limits.depth.written, str(step.depth), f"graphs nested {step.depth} deep")
        if limits.fan_out is not None and not again:
            branches = _branches(state, step)
            if branches > limits.fan_out:
                yield _reason("fan_out", limits.fan_out.written, str(branches), f"{branches} branches at once")
        if limits.time is not None and now - state.started_ms > limits.time:
            seconds = _seconds(now - state.started_ms)
            yield _reason("time", limits.time.written, seconds, f"{seconds} since the run began")


def _counted(state: RunState, step: StepRef, started: int) -> RunState:
    opened = (*state.open_steps[-(_OPEN_STEPS - 1) :], step.ns)
    return _changed(state, steps=state.steps + 1, open_steps=opened, started_ms=started)


def _branches(state: RunState, step: StepRef) -> int:
    """Open steps of the same graph execution: namespaces nest by `|`, so siblings have the same parent."""
    parent = step.ns.rpartition("|")[0]
    return sum(1 for ns in state.open_steps if ns.rpartition("|")[0] == parent)


def _seconds(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1_000)
    return f"{whole}.{rest // 100}s" if rest >= 100 else f"{whole}s"


def _reason(limit: str, written: str, seen: str, fact: str) -> Reason:
    rule = f"limits.{limit}"
    return Reason(
        code=rule,
        rule=rule,
        text=f"The run was stopped: {fact}, and {rule} is {written}.",
        limit=written,
        seen=seen,
        remedy=f"If runs like this one are legitimate, raise {rule} in the policy; else look for what keeps the run going.",
    )
