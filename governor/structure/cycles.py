"""The cycles of a graph, each with the limits that cut it and whether it has a way out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from governor.structure.certain import certainly
from governor.structure.cuts import Cut
from governor.structure.networks import library
from governor.structure.shape import START, digraph, places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.structure.shape import Structure

__all__ = ["LIBRARY_DEFAULT", "Cycle", "Cycles", "find"]

LIBRARY_DEFAULT = 9_999
"""From here on a recursion limit is what a library gives everybody (9,999 by create_agent, 10,007 by LangGraph), nobody's decision."""
_LONGEST = 16
"""Nodes in the cycles that are enumerated; a part that has only longer ones is shown by one of them."""
_COUNTED = 1_000
"""Cycles counted in one strongly connected part. They may be exponentially many."""
_SHOWN = 12
"""Of those, how many are named: first those that nothing cuts, short ones first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One elementary cycle."""

    path: tuple[str, ...]
    """Paths of its nodes, each once, without starts of graphs."""
    cut_by: tuple[Cut, ...]
    """What ends a run that goes round it; empty when nothing does."""
    exit: bool
    """Whether a condition decides somewhere on it that leads out of it."""
    declared: bool
    """Whether all of its edges are written in the graph. Else it takes one from a node that may lead anywhere."""
    nests: bool = False
    """Whether it is a graph that holds itself."""

    @property
    def witness(self) -> str:
        """`agent -> tools -> agent`."""
        return " -> ".join((*self.path, self.path[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """What was found."""

    named: tuple[Cycle, ...]
    more: int
    """How many there are beside those that are named, of those counted."""
    at_least: bool
    """Whether there may be still more."""


def find(structure: Structure, cuts: Sequence[Cut]) -> Cycles:
    """Every cycle that can be reached, as far as they are enumerated, with what cuts it."""
    nx = library()

    drawn = digraph(structure)
    whole = drawn.subgraph({START, *nx.descendants(drawn, START)})
    reader = _Reader(structure, cuts, whole)
    order = {name: at for at, name in enumerate(drawn)}
    named: list[Cycle] = []
    more, at_least = 0, False
    for part in sorted(nx.strongly_connected_components(whole), key=lambda part: min(order[name] for name in part)):
        inside = whole.subgraph(part)
        if inside.number_of_edges():
            cycles, complete = _of_part(reader, inside, order)
            named += cycles[:_SHOWN]
            more += len(cycles) - len(cycles[:_SHOWN])
            at_least = at_least or not complete
    return Cycles(named=tuple(named), more=more, at_least=at_least)


def _of_part(reader: _Reader, inside: Any, order: Mapping[str, int]) -> tuple[list[Cycle], bool]:
    """The cycles of a strongly connected part, those first that nothing cuts, and whether these are all."""
    paths, complete = _elementary(inside, order)
    shut = reader.shut(set(inside))
    # What nothing cuts is shown even where the cycles that something does cut are too many to come to it.
    every = dict.fromkeys([*reader.uncut(inside, order), *paths])
    cycles = [reader.cycle(path, shut=shut) for path in every]
    return sorted(cycles, key=lambda cycle: (bool(cycle.cut_by), cycle.exit, len(cycle.path))), complete


def _elementary(graph: Any, order: Mapping[str, int]) -> tuple[list[tuple[str, ...]], bool]:
    """Elementary cycles, each from its first node on, shortest first; whether these are all."""
    nx = library()

    names = sorted(graph, key=lambda name: order[name])
    number = {name: at for at, name in enumerate(names)}
    # By numbers: networkx keeps nodes in sets, and the order of text in those changes from process to process.
    plain = nx.DiGraph(sorted((number[a], number[b]) for a, b in graph.edges))
    found: list[list[int]] = list(islice(nx.simple_cycles(plain, length_bound=_LONGEST), _COUNTED + 1))
    complete = len(found) <= _COUNTED and len(names) <= _LONGEST
    if not found:
        found = [[a for a, *_ in nx.find_cycle(plain)]]
    turned: list[list[int]] = []
    for cycle in found[:_COUNTED]:
        first = cycle.index(min(cycle))
        turned.append([*cycle[first:], *cycle[:first]])
    turned.sort(key=lambda cycle: (len(cycle), cycle))
    return [tuple(names[at] for at in cycle) for cycle in turned], complete


class _Reader:
    """What a cycle of this graph is worth."""

    def __init__(self, structure: Structure, cuts: Sequence[Cut], whole: Any) -> None:
        self._cuts, self._whole = tuple(cuts), whole
        self._owner: dict[str, tuple[int, str]] = {}
        self._limits: dict[int, int | None] = {}
        self._leaves: set[str] = set()
        self._passes = certainly(structure)
        outer: dict[int, int | None] = {structure.root: None}
        for shape, prefix in places(structure):
            limit = outer.get(shape.key) or shape.recursion_limit
            self._limits[shape.key] = limit
            self._leaves |= {prefix + name for name in shape.leaves}
            for node in shape.nodes:
                self._owner[prefix + node.name] = (shape.key, node.name)
                for held in node.holds:
                    outer.setdefault(held.graph, limit)

    def cycle(self, path: tuple[str, ...], *, shut: bool) -> Cycle:
        around = list(pairwise((*path, path[0])))
        ways = [self._whole.edges[edge]["hows"] for edge in around]
        nests = any("enters" in hows for hows in ways)
        always = all(hows & {"always", "enters"} for hows in ways)
        nodes = tuple(name for name in path if name in self._owner)
        return Cycle(
            path=nodes,
            cut_by=tuple(self._that_cut(nodes, nests=nests)),
            exit=not (always or shut) or bool(self._leaves.intersection(nodes)),
            declared=all(hows - {"unknown", "code"} for hows in ways),
            nests=nests,
        )

    def _that_cut(self, nodes: Sequence[str], *, nests: bool) -> Iterator[Cut]:
        for cut in self._cuts:
            if self._cuts_there(cut, nodes, nests=nests):
                yield cut
        limit = self._limits[self._owner[nodes[0]][0]]
        if not nests and limit is not None and limit < LIBRARY_DEFAULT:
            yield Cut(name="recursion_limit of the graph", written=str(limit), where="run")

    def _cuts_there(self, cut: Cut, nodes: Sequence[str], *, nests: bool) -> bool:
        if isinstance(cut.where, frozenset):
            return any(self._passes(*self._owner[name], cut.where) for name in nodes)
        return cut.where == "run" or nests

    def shut(self, part: set[str]) -> bool:
        """Whether nothing leads out of a strongly connected part, so that it goes on for ever whatever its conditions say."""
        inside = self._whole.subgraph(part)
        odd = {
            "join",
            "unknown",
            "code",
            "enters",
        }  # waits for others, may lead anywhere, ends with the code, ends with depth
        if any(hows & odd for _, _, hows in inside.edges(data="hows")):
            return False
        leaving = [self._whole.edges[edge]["hows"] for edge in self._whole.out_edges(part) if edge[1] not in part]
        return not any(hows - {"error", "enters"} for hows in leaving) and not self._leaves & part

    def uncut(self, inside: Any, order: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
        """Cycles that remain when all nodes are taken away at which some limit holds on. Nothing, where a limit cuts every cycle."""
        nx = library()

        if any(cut.where == "run" for cut in self._cuts):
            return
        bare = [name for name in inside if name not in self._owner or not list(self._that_cut([name], nests=False))]
        left = inside.subgraph(bare)
        for part in nx.strongly_connected_components(left):
            smaller = left.subgraph(part)
            if smaller.number_of_edges() and (len(part) > 1 or smaller.has_edge(*(2 * tuple(part)))):
                yield from _elementary(smaller, order)[0][:_SHOWN]
