"""What a step of governor's detector costs: CPU time of the thread, for the steps of the corpus, for large results and for long runs.

Everything that the path does of a step for the loop control is in it, the values that it makes of the step included. The figures are those
of one run on one machine; sizes of the state are exact.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from governor.runs import dump_state
from tests.bench.loops.corpus import Run, Step
from tests.bench.loops.ours import Ours

__all__ = ["costs"]

LARGE = 100_000
LARGE_STEPS = 200
LONG = 10_000
PART = 1_000


def costs(runs: Sequence[Run]) -> dict[str, Any]:
    """Microseconds a step (median, 99th percentile), and bytes of the serialised state early and late in a long run."""
    detector = Ours()
    long: list[int] = []
    sizes: dict[str, int] = {}
    for number, spent in enumerate(_spent(detector, made(LONG, 600)), 1):
        long.append(spent)
        if number in (PART, LONG):
            sizes[f"{number:,} steps"] = len(dump_state(detector.state))
    corpus = [spent for run in runs for spent in _spent(Ours(), run.steps)]
    return {
        "corpus": _us(corpus),
        f"results of {LARGE // 1_000} KB": _us(list(_spent(Ours(), made(LARGE_STEPS, LARGE)))),
        f"steps 1 to {PART:,}": _us(long[:PART]),
        f"steps {LONG - PART + 1:,} to {LONG:,}": _us(long[-PART:]),
        "bytes of state": sizes,
    }


def _spent(detector: Ours, steps: Iterable[Step]) -> Iterator[int]:
    """Nanoseconds of this thread for each step."""
    for step in steps:
        began = time.thread_time_ns()
        detector.see(step)
        yield time.thread_time_ns() - began


def _us(spent: list[int]) -> dict[str, float]:
    spent = sorted(spent)
    return {"median": spent[len(spent) // 2] / 1_000, "p99": spent[len(spent) * 99 // 100] / 1_000}


def made(count: int, characters: int) -> Iterator[Step]:
    """A run that always gets on: searches, reads and edits, each with a result of its own. The same at every call."""
    chance = random.Random(7)
    words = [f"{chance.choice('bcdfgklmnprst')}{chance.choice('aeiou')}{number:x}" for number in range(5_000)]
    for number in range(count):
        name = ("search", "read", "edit")[number % 3]
        text: list[str] = []
        size = 0
        while size < characters:
            line = " ".join(chance.choices(words, k=12))
            text.append(line)
            size += len(line) + 1
        yield Step(
            i=number,
            agent="agent",
            kind="tool",
            name=name,
            args={"path": f"src/{chance.choice(words)}.py", "line": number},
            text=" ".join(chance.choices(words, k=20)),
            result="\n".join(text)[:characters],
            err=False,
        )
