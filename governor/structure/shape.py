"""A graph as values: nodes by what they call, edges by what decides about them, graphs inside of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from governor.structure.networks import library

__all__ = ["END", "START", "Edge", "Held", "How", "Kind", "Node", "Shape", "Structure", "digraph", "places"]

START = "__start__"
END = "__end__"

Kind = Literal["model", "tool", "nested", "plain"]
"""What a node is: it calls a model, it runs tools, it is a graph, or none of these can be seen."""

How = Literal["always", "choice", "goto", "join", "error", "code", "unknown"]
"""What decides whether an edge is taken.

`always`: nothing. `choice`: a condition. `goto`: the node's own answer, among declared destinations. `join`: all sources together.
`error`: the source failed. `code`: a loop in the code of the node. `unknown`: nobody declared where the source may lead.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A graph inside of a node."""

    graph: int
    """Its key in `Structure.shapes`."""
    called: bool = False
    """Whether the node's code calls it; else it is the node's own body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of one graph."""

    name: str
    kind: Kind = "plain"
    attempts: int = 1
    """How often its retry policy runs it at most for one step."""
    deferred: bool = False
    """It waits until nothing else is left to run."""
    holds: tuple[Held, ...] = ()
    calls: int | None = 0
    """Tool calls of one run of it; None when one answer of a model may ask for any number of them."""
    asks: bool = False
    """Whether it holds a model and may call it. A node of kind `model` is taken to call it whenever it runs."""
    own_code: bool = False
    """Whether its calls are made by code that is not known, so that their number is assumed: one each time it runs."""
    asked_after: int = 0
    """Conditions on its edges that hold a model: each is taken to call it once when the node has run."""
    tasks: int = 0
    """Tasks that its code starts: each is a step of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """From one node of a graph to another, or from its start, or to its end."""

    source: str
    target: str
    how: How = "always"
    fans: bool = False
    """Whether any number of branches may be sent along it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One graph without what is in its nodes."""

    key: int
    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    recursion_limit: int | None = None
    """Supersteps of one run of it, where the graph itself says so."""
    asked_first: int = 0
    """Conditions at its start that hold a model."""
    leaves: frozenset[str] = frozenset()
    """Nodes that may hand over to a node of the graph around this one."""
    fans_out: bool = False
    """Whether they may send any number of branches there."""


@dataclass(frozen=True)
class Structure:
    """A graph with all that is nested in it. A graph that is in several places is here once; it may hold itself."""

    name: str
    root: int
    shapes: Mapping[int, Shape]

    @cached_property
    def prefixes(self) -> Mapping[int, str]:
        """What the paths of each graph's nodes begin with: empty for the root, `desk/`. The first place of each graph counts."""
        return {shape.key: prefix for shape, prefix in places(self)}


def places(structure: Structure) -> Iterator[tuple[Shape, str]]:
    """Each graph once, outer ones first, with the prefix of its nodes' paths."""
    waiting, seen = [(structure.root, "")], {structure.root}
    while waiting:
        key, prefix = waiting.pop(0)
        shape = structure.shapes[key]
        yield shape, prefix
        for node in shape.nodes:
            for held in node.holds:
                if held.graph not in seen:
                    seen.add(held.graph)
                    waiting.append((held.graph, f"{prefix}{node.name}/"))


def digraph(structure: Structure) -> Any:
    """The whole as one directed graph of paths: a `networkx.DiGraph`.

    Nodes have `kind` (None for starts and ends), edges `hows` (a set: two nodes may be connected in several ways) and `fans`. A node leads
    to the start of each graph in it (`enters`), and nothing leads back: a cycle that enters is a graph that holds itself.
    """
    nx = library()

    whole: Any = nx.DiGraph()
    prefixes = structure.prefixes
    for shape, prefix in places(structure):
        whole.add_node(prefix + START, kind=None)
        whole.add_nodes_from((prefix + node.name, {"kind": node.kind}) for node in shape.nodes)
        links = [(prefix + edge.source, prefix + edge.target, edge.how, edge.fans) for edge in shape.edges]
        for node in shape.nodes:
            links += [(prefix + node.name, prefixes[held.graph] + START, "enters", False) for held in node.holds]
        for source, target, how, fans in links:
            known = whole.get_edge_data(source, target, {"hows": frozenset(), "fans": False})
            whole.add_edge(source, target, hows=known["hows"] | {how}, fans=known["fans"] or fans)
    return whole
