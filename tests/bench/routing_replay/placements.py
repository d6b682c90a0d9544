"""Where a share of a run's steps may be given to the better model, whatever anybody knows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from tests.bench.routing_replay.corpus import Run

__all__ = ["PLACEMENTS", "blocks", "whole_runs"]

Placement = list[tuple[bool, ...]]
"""For each run, which of its steps the better model answers."""


def whole_runs(runs: Sequence[Run], share: float, random: Random) -> Placement:
    """Runs drawn at random until they have the share of all steps."""
    order = list(range(len(runs)))
    random.shuffle(order)
    wanted, taken = share * sum(len(run.steps) for run in runs), set[int]()
    for index in order:
        if wanted <= 0:
            break
        taken.add(index)
        wanted -= len(runs[index].steps)
    return [(index in taken,) * len(run.steps) for index, run in enumerate(runs)]


def _each(choose: Callable[[int, int, Random], set[int]]) -> Callable[[Sequence[Run], float, Random], Placement]:
    def place(runs: Sequence[Run], share: float, random: Random) -> Placement:
        placed: Placement = []
        for run in runs:
            length = len(run.steps)
            up = choose(length, max(1, round(share * length)), random)
            placed.append(tuple(position in up for position in range(length)))
        return placed

    return place


def _block(length: int, count: int, random: Random) -> set[int]:
    start = random.randint(0, length - count)
    return set(range(start, start + count))


def blocks(size: int) -> Callable[[Sequence[Run], float, Random], Placement]:
    """Blocks of so many steps, as many as come nearest to the share."""

    def choose(length: int, count: int, random: Random) -> set[int]:
        starts = list(range(0, length, size))
        up: set[int] = set()
        for start in random.sample(starts, min(len(starts), max(1, round(count / size)))):
            up.update(range(start, min(length, start + size)))
        return up

    return _each(choose)


PLACEMENTS: Mapping[str, Callable[[Sequence[Run], float, Random], Placement]] = {
    "whole runs": whole_runs,
    "first steps": _each(lambda _, count, __: set(range(count))),
    "one random block": _each(_block),
    "scattered steps": _each(lambda length, count, random: set(random.sample(range(length), count))),
    "last steps": _each(lambda length, count, _: set(range(length - count, length))),
}
