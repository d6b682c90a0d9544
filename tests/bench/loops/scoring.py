"""Scores of a detector on labelled runs, by the rules that the corpus was made for.

A hit is an action at the onset or later, on real runs from two steps before it on: people mark the onset of a loop when they see it. An
action on a run without a loop is a false positive, and one before the onset counts for nothing. A replay ends at the first hard action.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.bench.loops.anchors import HARD, NUDGE, Detector
from tests.bench.loops.corpus import Run

__all__ = ["REAL", "Score", "Seen", "replayed", "scored"]

REAL = ("human", "magentic", "hotpot")
"""Groups whose runs are real loops; `agentrx` labels some of them once more and is not counted twice."""
EARLY = 2
CHARS = 4
"""Characters a token, roughly."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a detector did on one run."""

    run: Run
    nudge: int | None
    """Step of the first action of any kind that counts; on a negative of any action."""
    hard: int | None
    wasted: int
    """Tokens that were new from the onset to the hard action, or to the end."""
    billed: int
    """The same as billed: each step sends what came since the onset again."""


@dataclass(slots=True)
class Score:
    """Hits and false positives by group, counted at both levels."""

    runs: dict[str, int] = field(default_factory=dict)
    nudged: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)
    delays: list[int] = field(default_factory=list)
    wasted: list[int] = field(default_factory=list)
    billed: list[int] = field(default_factory=list)

    def f1(self, hits: dict[str, int]) -> float:
        """F1 on real runs: loops of people, of the judge and of the reflections against every real clean run."""
        true = sum(hits.get(group, 0) for group in REAL)
        missed = sum(self.runs.get(group, 0) for group in REAL) - true
        false = hits.get("clean", 0)
        return 2 * true / (2 * true + false + missed) if true else 0.0

    def share(self, hits: dict[str, int], group: str) -> float:
        """Share of a group's runs."""
        return hits.get(group, 0) / self.runs[group] if self.runs.get(group) else 0.0

    def recall(self, hits: dict[str, int]) -> float:
        """Share of the real loops that were found."""
        runs = sum(self.runs.get(group, 0) for group in REAL)
        return sum(hits.get(group, 0) for group in REAL) / runs if runs else 0.0

    def macro(self, hits: dict[str, int]) -> float:
        """Mean recall of the four real sets."""
        return statistics.fmean(self.share(hits, group) for group in (*REAL, "agentrx"))


def replayed(run: Run, detector: Detector) -> Seen:
    """One run through a fresh detector."""
    earliest = 0 if not run.loop else run.onset if run.group == "constructed" else max(0, run.onset - EARLY)
    nudge = hard = None
    new, since, billed = 0, 0, 0
    for step in run.steps:
        level = detector.see(step)
        if run.loop and step.i >= run.onset:
            since += step.chars
            new, billed = since, billed + since
        if level >= NUDGE and nudge is None and step.i >= earliest:
            nudge = step.i
        if level >= HARD and step.i >= earliest:
            hard = step.i
            break
    return Seen(run, nudge, hard, new // CHARS, billed // CHARS)


def scored(runs: Iterable[Run], make: Callable[[], Detector]) -> tuple[Score, Sequence[Seen]]:
    """Every run, each through a detector of its own."""
    score, every = Score(), [replayed(run, make()) for run in runs]
    for seen in every:
        group = seen.run.group
        score.runs[group] = score.runs.get(group, 0) + 1
        score.nudged[group] = score.nudged.get(group, 0) + (seen.nudge is not None)
        score.stopped[group] = score.stopped.get(group, 0) + (seen.hard is not None)
        if seen.run.loop and group == "constructed":
            score.wasted.append(seen.wasted)
            score.billed.append(seen.billed)
            if seen.hard is not None:
                score.delays.append(seen.hard - seen.run.onset)
    return score, every
