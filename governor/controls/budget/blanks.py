"""Holds without their amounts, made once for a step: a run's calls hold on the same few ledgers again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.budget.lines import MissingScope
from governor.controls.budget.texts import missing_scope
from governor.controls.budget.windows import DAY_MS, frame_of
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.calls import RunRef, StepRef
    from governor.controls.budget.lines import Line
    from governor.decisions import Decision
    from governor.ledger import Hold
    from governor.policy.windows import Window
    from governor.weighing import Weighing

__all__ = ["Blank", "Blanks"]

_KNOWN = 1024
"""Steps remembered. When there are more, all are forgotten: making them anew costs some microseconds."""


@cheap
@dataclass(frozen=True, slots=True)
class Blank:
    """Holds with an amount of 1, and what the tokens of each weigh."""

    holds: tuple[Hold, ...]
    weighings: tuple[Weighing | None, ...] = ()
    """In step with `holds`; empty when no token weighs anything but 1."""

    def with_more(self, other: Blank) -> Blank:
        """These holds, then the other's."""
        if not other.holds:
            return self
        mine = self.weighings or (None,) * len(self.holds)
        return Blank((*self.holds, *other.holds), (*mine, *(other.weighings or (None,) * len(other.holds))))


class Blanks:
    """The holds of any step on some lines, each with an amount of 1. Threads share it."""

    def __init__(self, lines: Sequence[Line], counts: Callable[[Line, str], bool] | None = None) -> None:
        """`counts` says whether calls of a tool count on a line; None when all calls count on all of them."""
        self._lines = lines
        self._counts = counts
        self._windows: tuple[Window, ...] = tuple(line.budget.per for line in lines if line.budget.per is not None)
        self._until = (0, 0)
        """From when until when no window ends, milliseconds since the epoch: a hold is the same at all moments between."""
        self._known: dict[tuple[object, ...], tuple[RunRef, Blank]] = {}

    def of(self, step: StepRef, now: int, tool: str | None = None) -> Blank | Decision:
        """The holds, outermost scope first. A Decision when a limit is counted by something that the run does not name."""
        begins, ends = until = self._until
        if not begins <= now < ends:
            until = self._until = self._between(now)
        key = (step.run.id, step.path, tool, until)
        known = self._known.get(key)
        if known is not None and known[0] is step.run:
            return known[1]
        made = self._made(step, now, tool)
        if isinstance(made, Blank):
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[key] = (step.run, made)
        return made

    def _made(self, step: StepRef, now: int, tool: str | None) -> Blank | Decision:
        holds: list[Hold] = []
        weighings: list[Weighing | None] = []
        for line in self._lines:
            if tool is not None and self._counts is not None and not self._counts(line, tool):
                continue
            try:
                holds.append(line.hold(step, 1, now, tool=tool))
            except MissingScope as missing:
                if line.limit is not None:
                    return missing_scope(line, missing.scope)
            else:
                weighings.append(line.weighing)
        return Blank(tuple(holds), tuple(weighings) if any(weighings) else ())

    def _between(self, now: int) -> tuple[int, int]:
        """The latest moment before `now`, and the earliest after it, at which some window changes; at least a day's."""
        begins, ends = now // DAY_MS * DAY_MS, (now // DAY_MS + 1) * DAY_MS
        for per in self._windows:
            frame = frame_of(per, now)
            begins, ends = max(begins, frame.begins_ms), min(ends, frame.ends_ms or ends)
        return begins, ends
