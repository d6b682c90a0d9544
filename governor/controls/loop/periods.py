"""Suffix periods: whether a growing sequence has begun to repeat itself, at a cost that does not grow with it.

For every period p the run is the number of latest items in a row that equal the item p before them:
`run_p += (c_t == c_{t-p})`, else 0. A word of length p said k times in a row has a run of (k - 1) * p, so its repetitions are
`1 + run_p / p`, whatever the alphabet and wherever in the word the count began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MAX_PERIOD", "NO_RUNS", "Cycle", "advance", "extend", "halve", "second_round", "strongest", "would_repeat"]

T = TypeVar("T")

MAX_PERIOD = 16
"""Longest cycle that is looked for, in calls."""

NO_RUNS: tuple[int, ...] = (0,) * MAX_PERIOD


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """The last `period` items, said `reps` times in a row (whole repetitions)."""

    period: int
    reps: int


def advance(runs: Sequence[int], window: Sequence[str], item: str) -> tuple[int, ...]:
    """The runs after `item` follows `window` (oldest first)."""
    if item not in window:
        return NO_RUNS
    known = len(window)
    before = runs or NO_RUNS
    return tuple(before[p - 1] + 1 if p <= known and window[-p] == item else 0 for p in range(1, MAX_PERIOD + 1))


def extend(window: tuple[T, ...], item: T) -> tuple[T, ...]:
    """The window with one more item; the oldest beyond the longest period is dropped."""
    return (*window[-(MAX_PERIOD - 1) :], item)


def halve(runs: Sequence[int]) -> tuple[int, ...]:
    """Half the suspicion, and no more than one repetition of it: what is asked for anew gets its chance."""
    return tuple(min(run // 2, period) for period, run in enumerate(runs, start=1))


def strongest(runs: Sequence[int]) -> Cycle | None:
    """The cycle with the most whole repetitions, the shortest of equals; None when nothing repeats.

    A part of a repetition does not count, so a short cycle's multiples never outrank it.
    """
    best: Cycle | None = None
    if not any(runs):
        return None
    for period, run in enumerate(runs, start=1):
        if run >= period and (best is None or 1 + run // period > best.reps):
            best = Cycle(period=period, reps=1 + run // period)
    return best


def second_round(runs: Sequence[int]) -> int | None:
    """The period, of two at least, whose second round the latest item ends; None when it ends none."""
    if not runs or runs[0]:
        return None
    period = next((period for period, run in enumerate(runs, start=1) if run >= period), None)
    return period if period is not None and runs[period - 1] == period else None


def would_repeat(
    runs: Sequence[int], at: Callable[[int], int], known: int, continues: Callable[[int], bool]
) -> Cycle | None:
    """The cycle that one more call would carry to its threshold: what to refuse before it happens.

    `at(p)` is the number of repetitions not to be reached with period p, `continues(p)` whether the call is the one p before.
    """
    for period in range(1, min(len(runs), known) + 1):
        run = runs[period - 1] + 1
        if run >= period and run >= (at(period) - 1) * period and continues(period):
            return Cycle(period=period, reps=1 + run // period)
    return None
