"""Reads a LangGraph graph into a `Structure`: nodes by kind, edges by what decides them, nested graphs, fan-outs. Nothing of it is run.

Edges come from the `StateGraph` that was compiled, where there is one: a drawing of it leaves out what nobody declared. Other graphs (an
`@entrypoint`, a bare Pregel) are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel

from governor.errors import ConfigurationError
from governor.structure.shape import END, Edge, Held, Kind, Node, Shape, Structure
from governor_langgraph.inspect import AnyGraph, Inside, edges_of, inside
from governor_langgraph.loading import load_graph
from governor_langgraph.node_code import Mentions, functions_of, mentions

__all__ = ["read", "read_target"]

_AGENTS = ("langchain.agents.factory", "langgraph.prebuilt.chat_agent_executor")
"""Whose own model nodes call their model once each time they run."""


def read_target(target: str) -> Structure:
    """The structure of the graph that `MODULE:GRAPH` or `./file.py:graph` names. Raises ConfigurationError when it names none."""
    return read(load_graph(target, files=True), name=target)


def read(graph: object, *, name: str | None = None, cycles_only: bool = False) -> Structure:
    """The structure of a graph: a compiled one, a `StateGraph` (compiled first), what `create_agent` returned, or an `@entrypoint`.

    `cycles_only`: without what only bounds need, in a third of the time: what the library's own model nodes and conditions can reach.
    Raises ConfigurationError when it is none of them.
    """
    if isinstance(graph, StateGraph):
        graph = cast("Any", graph).compile()
    if not isinstance(graph, Pregel):
        raise ConfigurationError(f"a {type(graph).__qualname__} is not a graph")
    root = cast("AnyGraph", graph)
    shapes: dict[int, Shape] = {}
    waiting: list[AnyGraph] = [root]
    keys: dict[int, int] = {id(root): 0}
    while waiting:
        one = waiting.pop(0)
        key = keys[id(one)]
        reader = _Reader(one, cycles_only=cycles_only)
        for inner in reader.graphs:
            if id(inner) not in keys:
                keys[id(inner)] = len(keys)
                waiting.append(inner)
        shapes[key] = reader.shape(keys)
    return Structure(name=name or root.get_name() or "graph", root=0, shapes=_handed_over(shapes))


class _Reader:
    """One graph."""

    def __init__(self, graph: AnyGraph, *, cycles_only: bool) -> None:
        self._graph, self._cycles_only = graph, cycles_only
        self._names = [name for name in graph.nodes if name != START]
        self._builder: Any = getattr(graph, "builder", None)
        self._branches: Mapping[str, Mapping[str, Any]] = getattr(self._builder, "branches", {})
        self._found = {name: self._inside(graph.nodes[name].bound) for name in self._names}
        self._says = {name: self._mentioned(name) for name in self._names}
        self._routes = {
            id(branch): mentions(branch.path) for each in self._branches.values() for branch in each.values()
        }
        self._edges = tuple(dict.fromkeys(self._all_edges()))

    @property
    def graphs(self) -> Iterator[AnyGraph]:
        """Graphs in the nodes, each where it is first met."""
        for name in self._names:
            yield from (graph for graph, _ in self._held(name))

    def shape(self, keys: Mapping[int, int]) -> Shape:
        """The graph as values. `keys`: the key of each graph by its id."""
        alone = self._alone()
        nodes = [self._node(name, keys, alone=name in alone) for name in self._names]
        limit = cast("Mapping[str, Any]", self._graph.config or {}).get("recursion_limit")
        return Shape(
            key=keys[id(self._graph)],
            name=self._graph.get_name() or "graph",
            nodes=tuple(nodes),
            edges=self._edges,
            recursion_limit=limit if isinstance(limit, int) else None,
            asked_first=self._asked(START),
            leaves=frozenset(name for name in self._names if self._says[name].leaves),
            fans_out=any(says.sends_out or (says.sends and says.leaves) for says in self._says.values()),
        )

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _inside(self, bound: object) -> Inside:
        if self._cycles_only and _is_agents(bound):
            return Inside(models=True, tools=frozenset(), graphs=())
        return inside(bound)

    def _held(self, name: str) -> Iterator[tuple[AnyGraph, bool]]:
        """The graphs of a node, and whether code calls them. What is remote has no insides here."""
        node = cast("Any", self._graph.nodes[name])
        seen: set[int] = set()
        for each in (*cast("list[Any]", node.subgraphs), *self._found[name].graphs):
            if isinstance(each, Pregel) and id(cast("object", each)) not in seen:
                seen.add(id(cast("object", each)))
                yield cast("AnyGraph", each), each is not node.bound

    def _node(self, name: str, keys: Mapping[int, int], *, alone: bool) -> Node:
        node = cast("Any", self._graph.nodes[name])
        spec = self._spec(name)
        found, says = self._found[name], self._says[name]
        kind = self._kind(name)
        own = (found.models or kind == "tool") and not isinstance(node.bound, ToolNode) and not _is_agents(node.bound)
        return Node(
            name=name,
            kind=kind,
            attempts=_attempts(node.retry_policy or (getattr(self._graph, "retry_policy", None) or ())),
            deferred=bool(getattr(spec, "defer", False)),
            holds=tuple(Held(graph=keys[id(graph)], called=called) for graph, called in self._held(name)),
            calls=self._calls(name, kind, alone=alone),
            asks=found.models and kind != "nested",
            own_code=own,
            asked_after=self._asked(name),
            tasks=says.tasks,
        )

    def _calls(self, name: str, kind: Kind, *, alone: bool) -> int | None:
        """Tool calls of one run. Code with a model and tools that no ToolNode runs may call all that an answer asks for."""
        if isinstance(self._graph.nodes[name].bound, ToolNode):
            return 1 if alone else None
        if self._found[name].models and not _is_agents(self._graph.nodes[name].bound):
            return 0 if self._found[name].tools <= self._run_by_nodes() else None
        return 1 if kind == "tool" else 0

    def _run_by_nodes(self) -> set[int]:
        bounds = (node.bound for node in self._graph.nodes.values())
        return {id(tool) for bound in bounds if isinstance(bound, ToolNode) for tool in bound.tools_by_name.values()}

    def _asked(self, source: str) -> int:
        """Conditions after a node that hold a model."""
        if self._cycles_only:
            return 0
        return sum(inside(branch.path).models for branch in self._branches.get(source, {}).values())

    def _kind(self, name: str) -> Kind:
        bound, found = self._graph.nodes[name].bound, self._found[name]
        if isinstance(bound, Pregel):
            return "nested"
        if isinstance(bound, ToolNode):
            return "tool"
        if found.models and self._calls_it(name):
            return "model"
        return "tool" if found.tools and not found.models else "plain"

    def _calls_it(self, name: str) -> bool:
        """Whether a node that holds a model is taken to call it: its code says so, or there is none but the library's."""
        bound = self._graph.nodes[name].bound
        return _is_agents(bound) or self._says[name].calls or next(functions_of(bound), None) is None

    def _mentioned(self, name: str) -> Mentions:
        bound = self._graph.nodes[name].bound
        if isinstance(bound, Pregel):
            return Mentions()
        says = Mentions() if isinstance(bound, ToolNode) or _is_agents(bound) else mentions(bound)
        if isinstance(bound, ToolNode):
            for tool in bound.tools_by_name.values():
                for thing in (getattr(tool, "func", None), getattr(tool, "coroutine", None)):
                    inner = mentions(thing)
                    says.goto, says.leaves = says.goto or inner.goto, says.leaves or inner.leaves
                    says.sends = says.sends or (inner.sends and inner.goto)
                    says.sends_out = says.sends_out or (inner.sends and inner.leaves)
        return says

    def _alone(self) -> set[str]:
        """ToolNodes to which every call of an answer is sent by itself, by the library's own edges."""
        into: dict[str, list[bool]] = {}
        for branch, target in self._led_to():
            into.setdefault(target, []).append(self._routes[id(branch)].alone)
        plain = {edge.target for edge in self._edges if edge.how not in ("choice", "error")}
        return {name for name, ways in into.items() if all(ways) and name not in plain}

    # --- edges --------------------------------------------------------------------------------------------------------

    def _spec(self, name: str) -> Any:
        return self._builder.nodes.get(name) if self._builder is not None else None

    def _all_edges(self) -> Iterator[Edge]:
        if self._builder is None:
            yield from self._drawn()
        else:
            yield from self._built()
        for name in self._names:
            if self._says[name].loops and self._says[name].tasks:
                yield Edge(source=name, target=name, how="code")

    def _drawn(self) -> Iterator[Edge]:
        for source, target, conditional in edges_of(self._graph):
            yield Edge(source=source, target=target, how="choice" if conditional else "always")

    def _built(self) -> Iterator[Edge]:
        for source, target in sorted(self._builder.edges):
            yield Edge(source=source, target=target)
        for sources, target in sorted(self._builder.waiting_edges):
            for source in sources:
                yield Edge(source=source, target=target, how="join")
        for name, spec in self._builder.nodes.items():
            if spec.error_handler_node:
                yield Edge(source=name, target=spec.error_handler_node, how="error")
            yield from self._gotos(name, spec)
        for source, branches in self._branches.items():
            for branch in branches.values():
                fans = self._routes[id(branch)].sends
                if branch.ends is None:
                    yield from self._anywhere(source, fans=fans)
                for target in dict.fromkeys(cast("Mapping[Any, str]", branch.ends or {}).values()):
                    yield Edge(source=source, target=target, how="choice", fans=fans and target != END)

    def _gotos(self, name: str, spec: Any) -> Iterator[Edge]:
        """`destinations=`, or a return type that names them, or the word of the code that it goes somewhere."""
        says = self._says.get(name, Mentions())
        ends = tuple(cast("Iterable[str]", spec.ends or ()))
        for target in ends:
            yield Edge(source=name, target=target, how="goto", fans=says.sends and target != END)
        if not ends and (says.goto or (says.sends and name not in self._branches)):
            yield from self._anywhere(name, fans=says.sends)

    def _led_to(self) -> Iterator[tuple[Any, str]]:
        """Each condition with each node that it may lead to."""
        for branches in self._branches.values():
            for branch in branches.values():
                targets = self._names if branch.ends is None else branch.ends.values()
                yield from ((branch, target) for target in targets)

    def _anywhere(self, source: str, *, fans: bool) -> Iterator[Edge]:
        for target in (*self._names, END):
            if not target.startswith("__error_handler__"):
                yield Edge(source=source, target=target, how="unknown", fans=fans and target != END)


def _handed_over(shapes: dict[int, Shape]) -> dict[int, Shape]:
    """Shapes with what graphs hand over to the graph around them: along what their node declares, and else to anywhere."""
    return {key: replace(shape, edges=tuple(_with_handovers(shape, shapes))) for key, shape in shapes.items()}


def _with_handovers(shape: Shape, shapes: Mapping[int, Shape]) -> Iterator[Edge]:
    leaving = {node.name for node in shape.nodes if any(shapes[held.graph].leaves for held in node.holds)}
    fanning = {node.name for node in shape.nodes if any(shapes[held.graph].fans_out for held in node.holds)}
    declared = {edge.source for edge in shape.edges if edge.how in ("goto", "unknown")}
    for edge in shape.edges:
        fans = edge.fans or (edge.how in ("goto", "unknown") and edge.source in fanning and edge.target != END)
        yield replace(edge, fans=fans)
    for source in sorted(leaving - declared):
        for target in (*(node.name for node in shape.nodes), END):
            yield Edge(source=source, target=target, how="unknown", fans=source in fanning and target != END)


def _attempts(policies: Any) -> int:
    """The most attempts that any of a node's retry policies allows; each counts all attempts."""
    given: list[Any] = [policies] if hasattr(policies, "max_attempts") else list(policies)
    return max([1, *(int(policy.max_attempts) for policy in given)])


def _is_agents(bound: object) -> bool:
    """Whether the library made this node."""
    return any(function.__module__ in _AGENTS for function in functions_of(bound))
