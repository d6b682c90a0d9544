"""Holds without their amounts, made once for a step: a run's calls hold on the same few ledgers again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.controls.budget.lines import DAY_MS, MissingScope
from governor.controls.budget.texts import missing_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.calls import RunRef, StepRef
    from governor.controls.budget.lines import Line
    from governor.decisions import Decision
    from governor.ledger import Hold

__all__ = ["Blanks"]

_KNOWN = 1024
"""Steps remembered. When there are more, all are forgotten: making them anew costs some microseconds."""


class Blanks:
    """The holds of any step on some lines, each with an amount of 1. Threads share it."""

    def __init__(self, lines: Sequence[Line], counts: Callable[[Line, str], bool] | None = None) -> None:
        """`counts` says whether calls of a tool count on a line; None when all calls count on all of them."""
        self._lines = lines
        self._counts = counts
        durations = {line.budget.per for line in lines if isinstance(line.budget.per, int)}
        self._units = (DAY_MS, *sorted(int(each) for each in durations))
        """Time is cut into these, in milliseconds; a hold is the same at all moments between two cuts."""
        self._known: dict[tuple[object, ...], tuple[RunRef, tuple[Hold, ...]]] = {}

    def of(self, step: StepRef, now: int, tool: str | None = None) -> tuple[Hold, ...] | Decision:
        """The holds, outermost scope first. A Decision when a limit is counted by something that the run does not name."""
        key = (step.run.id, step.path, tool, *[now // unit for unit in self._units])
        known = self._known.get(key)
        if known is not None and known[0] is step.run:
            return known[1]
        holds: list[Hold] = []
        for line in self._lines:
            if tool is not None and self._counts is not None and not self._counts(line, tool):
                continue
            try:
                holds.append(line.hold(step, 1, now, tool=tool))
            except MissingScope as missing:
                if line.limit is not None:
                    return missing_scope(line, missing.scope)
        if len(self._known) >= _KNOWN:
            self._known.clear()
        made = tuple(holds)
        self._known[key] = (step.run, made)
        return made
