"""Which nodes certainly pass by a model or a tool when they run: what a limit on calls, and loop protection, can hold on to."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from governor.structure.shape import END, START

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.structure.shape import Kind, Shape, Structure

__all__ = ["certainly", "exits"]


def certainly(structure: Structure) -> Callable[[int, str, frozenset[Kind]], bool]:
    """Whether a node of a graph (its key, its name) always runs a node of one of these kinds: itself, or in every way through its graph."""
    nodes = {(shape.key, node.name): node for shape in structure.shapes.values() for node in shape.nodes}
    open_now: set[int] = set()

    @cache
    def passes(key: int, name: str, kinds: frozenset[Kind]) -> bool:
        node = nodes.get((key, name))
        if node is None:
            return False
        return node.kind in kinds or any(always(held.graph, kinds) for held in node.holds)

    def always(key: int, kinds: frozenset[Kind]) -> bool:
        if key in open_now:
            return False  # a graph that holds itself: what is not known to pass does not
        open_now.add(key)
        try:
            return not _avoids(structure.shapes[key], lambda name: passes(key, name, kinds))
        finally:
            open_now.discard(key)

    return passes


def _avoids(shape: Shape, passes: Callable[[str], bool]) -> bool:
    """Whether some way through the graph meets no node that passes."""
    ends, waiting, seen = exits(shape), [START], {START}
    while waiting:
        name = waiting.pop()
        if name == END or name in ends:
            return True
        for edge in shape.edges:
            if edge.source == name and edge.target not in seen and not passes(edge.target):
                seen.add(edge.target)
                waiting.append(edge.target)
    return False


def exits(shape: Shape) -> frozenset[str]:
    """Nodes after which the graph may be over: an edge to the end, no edge at all, or a handover to the graph around it."""
    sources = {edge.source for edge in shape.edges}
    ends = {edge.source for edge in shape.edges if edge.target == END}
    return frozenset({node.name for node in shape.nodes if node.name not in sources} | ends | shape.leaves)
