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
        self.counts_fans = (
            policy.limits.fan_out is not None
            or any(budget.split != "shared" for budget in policy.budgets)
            or policy.mode_of(policy.loops.mode) == "enforce"
        )
        """Whether anything asks which branches run side by side: a bound, a share, or what is a loop."""

    def enter(self, state: RunState, step: StepRef, now: int) -> tuple[RunState, Decision]:
        """Count a step that is about to run and hold the run against its limits. `now` is milliseconds since the epoch.

        A retry, or a resume after an interrupt, keeps its namespace and is the step it was. A refused step is not counted.
        """
        started = state.started_ms or step.run.started_ms or now
        if not state.policy:
            state = replace(
                state, policy=step.run.policy_hash
            )  # here, because a change of its own would cost every run one more
        again = step.ns in state.open_steps
        counted = replace(state, started_ms=started) if again else _counted(state, step, started)
        if self.counts_fans and not again:
            counted = _fanned(counted, step)
        reason = next(self._passed(counted, step, now, again=again), None)
        if reason is None:
            return counted, ALLOWED
        decision = Decision(control="limits", verdict=Verdict.STOP, reason=reason, observed=self._observed)
        return (counted if self._observed else replace(state, started_ms=started)), decision

    def leave(self, state: RunState, step: StepRef) -> RunState:
        """Forget a step that has ended for good. Its namespace never comes back."""
        if step.ns not in state.open_steps:
            return state
        used = tuple(each for each in state.used if each[0] != step.ns) if state.used else state.used
        fans = {ns: fan for ns, fan in state.fans.items() if not f"{ns}|".startswith(f"{step.ns}|")}
        fans = fans if len(fans) < len(state.fans) else state.fans
        return _changed(state, open_steps=tuple([ns for ns in state.open_steps if ns != step.ns]), used=used, fans=fans)

    def ends(self, state: RunState) -> int | None:
        """When the run's time is over, milliseconds since the epoch; None when it has no bound, or has not begun."""
        time = self._limits.time
        return None if time is None or self._observed or not state.started_ms else state.started_ms + int(time)

    def overdue(self, state: RunState, now: int) -> Decision:
        """Whether a run whose call has waited for others has used up its time meanwhile."""
        reason = self._late(state, now) if state.started_ms else None
        if reason is None:
            return ALLOWED
        return Decision(control="limits", verdict=Verdict.STOP, reason=reason, observed=self._observed)

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
        if (late := self._late(state, now)) is not None:
            yield late

    def _late(self, state: RunState, now: int) -> Reason | None:
        time = self._limits.time
        if time is None or now - state.started_ms <= time:
            return None
        seconds = _seconds(now - state.started_ms)
        return _reason("time", time.written, seconds, f"{seconds} since the run began")


def _counted(state: RunState, step: StepRef, started: int) -> RunState:
    opened = (*state.open_steps[-(_OPEN_STEPS - 1) :], step.ns)
    return _changed(state, steps=state.steps + 1, open_steps=opened, started_ms=started)


def _fanned(state: RunState, step: StepRef) -> RunState:
    """The state with this step as one more branch of its superstep; what ran in its graph's supersteps before is over."""
    if step.superstep is None:
        return state
    parent, (checkpoint, number) = _parent(step.ns), step.superstep
    known = state.fans.get(parent)
    if known is not None and known[0] == checkpoint:
        return replace(state, fans={**state.fans, parent: (checkpoint, number, known[2] + 1)})
    sent = {ns: width for ns, width in state.sent.items() if ns in state.fans and ns != parent}
    if step.sent > 1:
        sent[parent] = step.sent
    inside = f"{parent}|" if parent else ""
    fans = {ns: fan for ns, fan in state.fans.items() if ns != parent and not ns.startswith(inside)}
    opened = state.open_steps
    if known is not None and number > known[1]:  # a step that failed, and was answered by an error handler, never ends
        opened = tuple(ns for ns in opened if ns == step.ns or _parent(ns) != parent)
    return replace(state, fans={**fans, parent: (checkpoint, number, 1)}, open_steps=opened, sent=sent)


def _branches(state: RunState, step: StepRef) -> int:
    """Branches side by side: of the step's own superstep, however fast some of them end, and over all graphs that run nested.

    A nested graph takes the place of the branch that runs it. Steps of one parent that are open at once count too: a node may start
    several graphs.
    """
    around = _around(step.ns)
    open_now = sum(1 for ns in state.open_steps if _around(ns) == around)
    nested = sum(1 for ns in state.fans if ns)
    return max(open_now, sum(width for _, _, width in state.fans.values()) - (nested if "" in state.fans else 0))


def _parent(ns: str) -> str:
    """The namespace of the graph that runs a step: they nest by `|`."""
    return ns.rpartition("|")[0]


def _around(ns: str) -> str:
    """The namespace of the step around the graph that runs a step. The second graph that a step starts is `step|1`, and so on."""
    parent, _, last = _parent(ns).rpartition("|")
    return parent if last.isdigit() else _parent(ns)


def _seconds(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1_000)
    return f"{whole}.{rest // 100}s" if rest >= 100 else f"{whole}s"


def _reason(limit: str, written: str, seen: str, fact: str) -> Reason:
    code = f"limits.{limit}"
    return Reason(
        code=code,
        rule=code,
        text=f"The run was stopped: {fact}, and {code} is {written}.",
        limit=written,
        seen=seen,
        remedy=f"If runs like this one are legitimate, raise {code} in the policy; else look for what keeps the run going.",
    )
