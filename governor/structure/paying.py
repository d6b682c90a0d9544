"""Steps of a run that ends at a budget on model calls: how many can lie between one call and the next."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from governor.structure.amounts import Amount
from governor.structure.certain import exits
from governor.structure.shape import START, places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.structure.shape import Structure

__all__ = ["steps_by_calls"]

_Link = tuple[str, str, int | None]
"""From, to, and how many runs of the second one run of the first can start; None: any number."""


def steps_by_calls(structure: Structure, calls: Amount, *, fan_out: int | None) -> Amount | None:
    """Steps when the run can make so many model calls; without a bound when branches have none, None when this tells nothing.

    A node that calls a model starts at most a certain number of others before the next that does. Its last run is the one whose call is
    refused, which ends the run; as many may stand there as run side by side.
    """
    if calls.most is None:
        return None
    models, weights = set[str](), dict[str, int]()
    for shape, prefix in places(structure):
        weights[prefix + START] = 0
        for node in shape.nodes:
            weights[prefix + node.name] = 1 + node.tasks
            if node.asks and node.kind == "model":
                models.add(prefix + node.name)
    links = list(_links(structure, fan_out))
    beside = _beside(structure, links, models, fan_out)
    wide = next(((source, target) for source, target, times in links if times is None), None)
    if wide is not None:
        return Amount(None, f"`{wide[0]}` may send any number of branches to `{wide[1]}`")
    if beside is None:
        return None
    worth = _worth(weights, links, models)
    if worth is None:
        return None
    rounds = max((worth[name] for name in models), default=0)
    return Amount(worth[START] + (calls.most + beside) * rounds, f"{calls.why}, and at most {rounds} steps a call")


def _worth(weights: dict[str, int], links: list[_Link], models: set[str]) -> dict[str, int] | None:
    """Steps that one run of each node starts before the next model, its own included; None when they go round without one."""
    after: dict[str, list[tuple[str, int]]] = {name: [] for name in weights}
    for source, target, times in links:
        if target not in models:
            after[source].append((target, times or 0))
    try:
        order = [*TopologicalSorter({name: [to for to, _ in next_] for name, next_ in after.items()}).static_order()]
    except CycleError:
        return None
    worth: dict[str, int] = {}
    for name in order:
        worth[name] = weights[name] + sum(times * worth[to] for to, times in after[name])
    return worth


def _links(structure: Structure, fan_out: int | None) -> Iterator[_Link]:
    """Edges between runs of nodes, into the graphs in them and back out to what follows."""
    prefixes = structure.prefixes
    for shape, prefix in places(structure):
        known = {node.name: node for node in shape.nodes}
        for edge in shape.edges:
            if edge.target not in known:
                continue
            times = fan_out if edge.fans else 1
            source = known.get(edge.source)
            bodies = [held.graph for held in source.holds if not held.called] if source else []
            if not bodies:
                yield prefix + edge.source, prefix + edge.target, times
            for key in bodies:
                inner = structure.shapes[key]
                last = {*exits(inner), *(node.name for node in inner.nodes if node.kind == "tool")}
                for name in last - {START}:
                    yield prefixes[key] + name, prefix + edge.target, times
                if START in last:
                    yield prefixes[key] + START, prefix + edge.target, times
        for node in shape.nodes:
            for held in node.holds:
                yield prefix + node.name, prefixes[held.graph] + START, node.attempts


def _beside(structure: Structure, links: list[_Link], models: set[str], fan_out: int | None) -> int | None:
    """How many nodes with a model can run at once; None when nobody can tell."""
    if fan_out is not None:
        return fan_out
    shared = len({key for shape in structure.shapes.values() for node in shape.nodes for key in map(id, node.holds)})
    if shared != len(structure.shapes) - 1 or any(times is None for *_, times in links):
        return None  # a graph in several places runs in all of them at once
    return len(models)
