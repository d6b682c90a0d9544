"""When repetition is answered, and how: the thresholds, and what the policy says of single tools."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.loop.results import PENDING, TRANSIENT
from governor.controls.loop.suspicion import CAP
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy.schema import Loops, LoopTool, Policy

__all__ = ["BLOCK", "ESCALATE", "NUDGE", "RECALL", "STOP", "Ladder", "Rules"]

RECALL = "recall"
"""The tool by which the model reads back what compaction left out: re-reading is what it is for."""

NUDGE, BLOCK, ESCALATE, STOP = 1, 2, 3, 4

_NUDGE_AT, _BLOCK_AT, _STOP_AT = 3, 4, 7
"""Identical call and result, counted from the first. The lowest values with less than 1% hard false positives on 335 real clean
runs; peers warn at 3 to 10 and act at 3 to 20."""

_ALL = frozenset({"nudge", "block", "stop"})
_POLLS_BEFORE_NUDGE = 26
"""An unchanged status is worth a word only after the longest legitimate waiting that was seen."""
_PERCENT = {"strict": 150, "batch": 50}

_PATIENCE_WITH_PENDING = 8
"""An unchanged status is a fruitless call only after this many times as many: legitimate waiting was seen up to 25 polls long."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Repetitions, counted from the first occurrence, at which each response sets in."""

    nudge: int
    block: int
    escalate: int
    stop: int

    def level(self, reps: int) -> int:
        """0, or the highest response whose threshold `reps` has reached."""
        for level, at in ((STOP, self.stop), (ESCALATE, self.escalate), (BLOCK, self.block), (NUDGE, self.nudge)):
            if reps >= at:
                return level
        return 0

    def later(self, by: int) -> Ladder:
        """Everything `by` repetitions later, or earlier when negative; two occurrences are the least that can be called one."""
        return Ladder(
            nudge=max(2, self.nudge + by),
            block=max(2, self.block + by),
            escalate=max(2, self.escalate + by),
            stop=max(3, self.stop + by),
        )

    def times(self, factor: int, *, nudge: int | None = None) -> Ladder:
        """Everything `factor` times as late; the nudge at `nudge` if given."""
        return Ladder(
            nudge=nudge or self.nudge * factor,
            block=self.block * factor,
            escalate=self.escalate * factor,
            stop=self.stop * factor,
        )


class Rules:
    """The `loops` part of one policy."""

    def __init__(self, policy: Policy) -> None:
        """Read thresholds and exemptions."""
        loops = policy.loops
        given: frozenset[str] = frozenset(loops.respond)
        observing = given == frozenset({"observe"})
        self.respond = _ALL if observing else given
        self.ends = bool(self.respond & {"stop", "kill"})
        """Whether a run may be ended."""
        self.base = _base(loops)
        self.words = self.base.later(-1)
        """Answers without tool calls, word for word the same and to nobody: nothing can have come between them."""
        self.suspicion = _suspicious(self.base)
        self.cap = self.suspicion.stop + CAP
        after = policy.routing.escalate.after if policy.routing.escalate else ()
        self.signals = "escalate" in self.respond or "loop" in after
        self.observed = observing or policy.mode_of(loops.mode) == "observe"
        self.patience = max(3, self.base.stop - self.base.block + 1)
        """Blocks in a row that may be ignored before the run is stopped: as many as identical calls would need."""
        self._written = {"nudge": loops.nudge_at, "block": loops.block_at, "stop": loops.stop_at}
        self._tools = tuple(
            (re.compile("|".join(fnmatch.translate(glob) for glob in rule.tool)), rule) for rule in loops.tools
        )

    def written(self, step: str, at: int) -> str:
        """A threshold as its author wrote it; as a number when it is governor's own or was moved for the case at hand."""
        given = self._written["stop" if step == "kill" else step]
        return given.written if given is not None and given == at else str(at)

    def of(self, tool: str) -> LoopTool | None:
        """What the policy says of a tool: the first entry whose pattern matches the whole name."""
        for pattern, rule in self._tools:
            if pattern.match(tool):
                return rule
        return None

    def exempt(self, tool: str) -> bool:
        """Whether the tool is never judged."""
        rule = self.of(tool)
        return tool == RECALL or (rule is not None and rule.as_ == "off")

    def ladder(self, tool: str, kinds: Sequence[str]) -> Ladder:
        """The thresholds for a cycle that `tool` is part of, whose results were of these kinds, one for each call of it."""
        rule = self.of(tool)
        found = self.base
        if rule is not None and rule.as_ == "strict":
            found = found.later(-1)
        if rule is not None and rule.as_ == "batch":
            found = found.times(2)
        if PENDING in kinds:
            return found.times(_PATIENCE_WITH_PENDING, nudge=_POLLS_BEFORE_NUDGE)
        return found.later(1) if TRANSIENT in kinds else found

    def percent(self, rule: LoopTool | None) -> int:
        """How much of a tool's repetition counts towards suspicion, in percent."""
        return _PERCENT.get(rule.as_, 100) if rule is not None else 100


def _suspicious(base: Ladder) -> Ladder:
    """The thresholds of suspicion, in hundredths of a repetition, for those of repetitions counted from the first.

    Half a repetition earlier for the nudge, a little later for the block: evidence of several kinds is added up there, and no call of
    it need be the same as another.
    """
    return Ladder(
        nudge=100 * base.nudge - 50,
        block=100 * base.block + 20,
        escalate=100 * base.escalate + 20,
        stop=100 * base.stop,
    )


def _base(loops: Loops) -> Ladder:
    """The policy's thresholds; those it leaves out keep their distance from those it gives."""
    stop = int(loops.stop_at) if loops.stop_at else None
    block = int(loops.block_at) if loops.block_at else None
    nudge = int(loops.nudge_at) if loops.nudge_at else None
    if nudge is None:
        nudge = min(_NUDGE_AT, *(at - 1 for at in (block, stop) if at is not None), _NUDGE_AT)
    if block is None:
        block = max(_BLOCK_AT, nudge + 1)
        block = min(block, stop - 1) if stop is not None else block
    if stop is None:
        stop = max(_STOP_AT, block + _STOP_AT - _BLOCK_AT)
    escalate = block + 1 if "block" in loops.respond else block
    return Ladder(nudge=max(2, nudge), block=max(2, block), escalate=max(2, escalate), stop=max(2, stop))
