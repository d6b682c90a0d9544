"""How often nodes can run, from the structure of graphs: no cycle, or a recursion limit, and what may run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.structure.amounts import ZERO, Amount, least, total
from governor.structure.cycles import LIBRARY_DEFAULT
from governor.structure.networks import library
from governor.structure.shape import START

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.structure.shape import Edge, Node, Shape, Structure

__all__ = ["Counting"]

_DEEPEST = 100
"""Graphs inside of graphs that are followed where a graph holds itself and only `limits.depth` ends that."""


class Counting:
    """One structure under limits of depth and fan-out; `most` adds up whatever a node's run is worth."""

    def __init__(self, structure: Structure, *, depth: int | None, fan_out: int | None) -> None:
        """Limits as the policy enforces them; None where it does not."""
        self._structure, self._depth, self._fan_out = structure, depth, fan_out
        self._runs: dict[tuple[int, int | None], dict[str, Amount]] = {}

    def most(self, worth: Callable[[Node], Amount], first: Callable[[Shape], int] | None = None) -> Amount:
        """The sum over all runs of nodes of one run of the root, of what one run of a node is `worth`.

        `first`: what each start of a graph is worth besides.
        """
        known: dict[tuple[int, int, int | None], Amount] = {}
        open_now: list[int] = []

        def within(key: int, level: int, outer: int | None) -> Amount:
            if self._depth is not None and level > self._depth:
                return ZERO
            place = (key, level, outer)
            if place not in known:
                if (key in open_now and self._depth is None) or len(open_now) > _DEEPEST:
                    return Amount(None, f"`{self._path(key)}` holds itself")
                open_now.append(key)
                shape = self._structure.shapes[key]
                inside = self._of(shape, level, outer, worth, within)
                known[place] = total([inside, Amount(first(shape))], inside.why) if first else inside
                open_now.pop()
            return known[place]

        return within(self._structure.root, 0, None)

    def _of(
        self,
        shape: Shape,
        level: int,
        outer: int | None,
        worth: Callable[[Node], Amount],
        within: Callable[[int, int, int | None], Amount],
    ) -> Amount:
        limit = outer or shape.recursion_limit
        runs, weights = self._runs_of(shape, limit), dict[str, Amount]()
        for node in shape.nodes:
            if runs.get(node.name, ZERO).most == 0:
                continue  # it cannot be reached
            inner = total(within(held.graph, level + 1, limit) for held in node.holds)
            weights[node.name] = total([worth(node), inner.times(node.attempts)])
        by_nodes = total((weight.by(runs[name]) for name, weight in weights.items()), "the structure of the graph")
        supersteps, width = _effective(limit), self._fan_out
        if supersteps is None or width is None or not weights:
            return by_nodes
        heaviest = max((weight.most for weight in weights.values() if weight.most is not None), default=0)
        if any(weight.most is None for weight in weights.values()):
            return by_nodes
        why = f"recursion_limit {limit} of the graph, and limits.fan_out"
        return least([by_nodes, Amount(supersteps * width * heaviest, why)])

    # --- runs of each node of one graph -------------------------------------------------------------------------------

    def _runs_of(self, shape: Shape, limit: int | None) -> dict[str, Amount]:
        """How often each node runs in one run of its graph. A superstep runs a node once, or once for each branch that is sent to it."""
        key = (shape.key, limit)
        if key not in self._runs:
            free = _without_limit(shape, self._fan_out, self._structure.prefixes[shape.key])
            supersteps = _effective(limit)
            if supersteps is not None:
                why = f"recursion_limit {limit} of the graph"
                for name, (once, fanned) in _active(shape, supersteps).items():
                    if fanned == 0 or self._fan_out is not None:
                        times = once + fanned * (self._fan_out or 0)
                        free[name] = least([Amount(times, why), free.get(name, ZERO)])
            self._runs[key] = free
        return self._runs[key]

    def _path(self, key: int) -> str:
        return self._structure.prefixes[key].removesuffix("/") or self._structure.name


def _active(shape: Shape, supersteps: int) -> dict[str, tuple[int, int]]:
    """In how many of the first supersteps each node may run once, and in how many for each branch that is sent to it.

    A deferred node, which waits until all else is done, may run in any superstep after it was asked to.
    """
    after: dict[str, set[tuple[str, bool]]] = {}
    for edge in shape.edges:
        after.setdefault(edge.source, set()).add((edge.target, edge.fans))
    late = {node.name for node in shape.nodes if node.deferred}
    times = {node.name: (0, 0) for node in shape.nodes}
    now, asked = after.get(START, set()), set[tuple[str, bool]]()
    for _ in range(supersteps):
        asked |= {each for each in now if each[0] in late}
        now = {each for each in now | asked if each[0] in times}
        fanned = {name for name, fans in now if fans}
        names = {name for name, _ in now}
        for name in names:
            once, wide = times[name]
            times[name] = (once, wide + 1) if name in fanned else (once + 1, wide)
        now = set[tuple[str, bool]]().union(*(after.get(name, set()) for name in names))
        if not now:
            break
    return times


def _effective(limit: int | None) -> int | None:
    return limit if limit is not None and limit < LIBRARY_DEFAULT else None


def _without_limit(shape: Shape, fan_out: int | None, prefix: str) -> dict[str, Amount]:
    """Runs by structure alone.

    A node without cycles before it runs at most once for each run of a node before it, and in no more supersteps than there are lengths of
    ways to it (a deferred node waits, so that lengths say nothing after one).
    """
    nx = library()

    before: dict[str, list[Edge]] = {}
    graph: Any = nx.DiGraph()
    graph.add_node(START)
    for edge in shape.edges:
        before.setdefault(edge.target, []).append(edge)
        graph.add_edge(edge.source, edge.target)
    reached = graph.subgraph({START, *nx.descendants(graph, START)})
    deferred = {node.name for node in shape.nodes if node.deferred}
    endless: dict[str, str] = {}
    for part in nx.strongly_connected_components(reached):
        if len(part) > 1 or reached.has_edge(*(2 * tuple(part))):
            cycle = _turned([a for a, *_ in nx.find_cycle(reached.subgraph(part))], shape)
            endless.update(dict.fromkeys(part, " -> ".join(prefix + name for name in (*cycle, cycle[0]))))
    runs: dict[str, Amount] = {START: Amount(1)}
    lengths: dict[str, int | None] = {START: 1}
    for name in [n for part in _in_order(reached) for n in part if n != START]:
        if name in endless:
            runs[name], lengths[name] = Amount(None, f"`{endless[name]}`"), None
            continue
        edges = [edge for edge in before[name] if edge.source in reached]
        runs[name], lengths[name] = _runs(name, edges, runs, lengths, fan_out, deferred=name in deferred, prefix=prefix)
    return {name: amount for name, amount in runs.items() if name != START}


def _runs(
    name: str,
    edges: list[Edge],
    runs: dict[str, Amount],
    lengths: dict[str, int | None],
    fan_out: int | None,
    *,
    deferred: bool,
    prefix: str,
) -> tuple[Amount, int | None]:
    """Runs of a node of which all nodes before are known, and the lengths of the ways to it as bits; None where they say nothing."""
    fans = any(edge.fans for edge in edges)
    if fans and fan_out is None:
        source = next(edge.source for edge in edges if edge.fans)
        return Amount(None, f"`{prefix}{source}` may send any number of branches to `{prefix}{name}`"), None
    wide = fan_out or 1
    by_ways = total(runs[edge.source].times(wide if edge.fans else 1) for edge in edges)
    ways = 0
    for edge in edges:
        bits = lengths[edge.source]
        if bits is None or deferred:
            return by_ways, None
        ways |= bits << 1
    return least([by_ways, Amount(ways.bit_count() * (wide if fans else 1))]), ways


def _in_order(graph: Any) -> list[set[str]]:
    """Parts of the graph in topological order."""
    nx = library()

    condensed: Any = nx.condensation(graph)
    return [condensed.nodes[part]["members"] for part in nx.topological_sort(condensed)]


def _turned(cycle: list[str], shape: Shape) -> list[str]:
    """The cycle from the node on that was added first."""
    order = {node.name: at for at, node in enumerate(shape.nodes)}
    first = min(range(len(cycle)), key=lambda at: order.get(cycle[at], -1))
    return [*cycle[first:], *cycle[:first]]
