"""Names agents that hand over to each other in turn, from the handovers of one run."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from governor.structure.networks import library

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["pingpong"]

_LATEST = 64
"""Handovers looked at, latest first: naming is asked for at a step, and stays cheap however long the run is."""


def pingpong(edges: Sequence[tuple[str, str]], *, least: int = 2) -> str | None:
    """The cycle that the latest handovers went round and round: `planner -> coder -> planner, x4`; None when they did not.

    `edges`: handovers in order, as (from, to). `least`: full rounds before it is one. Other handovers may come between the rounds: what
    counts is that the last handover closes a cycle of the run's handover graph, each of whose edges was taken that often.
    """
    latest = list(edges)[-_LATEST:]
    if len(latest) < max(1, least):
        return None
    taken: dict[tuple[str, str], int] = {}
    for edge in latest:
        taken[edge] = taken.get(edge, 0) + 1
    last = latest[-1]
    if taken[last] < least:
        return None
    nx = library()

    often: Any = nx.DiGraph([edge for edge, times in taken.items() if times >= least])
    begin, end = last
    try:
        back: list[str] = nx.shortest_path(often, end, begin)
    except nx.NetworkXNoPath:
        return None
    around = [begin, *back] if begin != end else [begin, begin]
    first = min(range(len(around) - 1), key=lambda at: latest.index((around[at], around[at + 1])))
    ordered = [*around[first:-1], *around[:first], around[first]]
    rounds = min(taken[pair] for pair in pairwise(ordered))
    return f"{' -> '.join(ordered)}, x{rounds}"
