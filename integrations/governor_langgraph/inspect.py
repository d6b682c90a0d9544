"""What a graph is made of, read without running it: nodes, tools, models, cycles. `governor init` writes a policy from it.

Models and tools are looked for where node code can reach them: closures, globals that the code names, defaults, attributes of bound
methods, bound runnables. What code makes while it runs (a client built inside a node) cannot be seen; governing sees it all the same.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeGuard, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import BaseLLM
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from governor.errors import ConfigurationError
from governor_langgraph.recall import RECALL, tool_name
from governor_langgraph.vendors import vendor_of
from governor_langgraph.wrapper_marker import SelfGoverned

__all__ = ["FoundGraph", "FoundTool", "GraphDescription", "Inside", "Reach", "describe", "edges_of", "inside", "reach"]

AnyGraph = Pregel[Any, Any, Any, Any]
T = TypeVar("T")

_MOST_NODES = 1_000
"""Nodes listed; a graph that nests one graph in many places multiplies."""
_MOST_LOOKS = 20_000
"""Objects looked at per node: enough for any node's code, and an end when it holds on to a whole application."""
_MOST_ITEMS = 1_000
_LIBRARIES = sys.stdlib_module_names | {"langchain", "langchain_core", "langgraph", "pydantic"}
"""Code whose globals say nothing about the user's graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTool:
    """A tool that the graph can call or offers to a model."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDescription:
    """A graph as `governor init` sees it."""

    name: str
    nodes: tuple[str, ...]
    """Paths, nested graphs included: `orders_desk/model`."""
    tools: tuple[FoundTool, ...]
    """By name."""
    models: tuple[str, ...]
    """`provider:model`, in the order of the nodes that hold them."""
    cycles: tuple[tuple[str, ...], ...]
    """Paths of the nodes that can lead back to themselves, one tuple for each set that can reach each other."""

    @property
    def size(self) -> int:
        """Number of nodes, nested graphs included."""
        return len(self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundGraph:
    """A graph in one place: the root, the body of a node, or something that a node's code can call."""

    graph: AnyGraph
    prefix: str
    """What the paths of its nodes begin with: empty for the root, `orders_desk/`."""
    parent: FoundGraph | None = None
    node: str = ""
    """The node of `parent` that holds it."""
    called: bool = False
    """Whether code calls it; else it is the node's own body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A graph's description, and the objects that it is a description of."""

    described: GraphDescription
    graphs: tuple[FoundGraph, ...]
    """Outer ones first."""
    tools: tuple[BaseTool, ...]
    models: tuple[BaseChatModel | BaseLLM, ...]


def describe(graph: object) -> GraphDescription:
    """Read a graph: a compiled one, a `StateGraph` (compiled first), what `create_agent` returned, or an `@entrypoint`.

    Raises ConfigurationError when it is none of them.
    """
    return reach(graph).described


def reach(graph: object) -> Reach:
    """Read a graph as `describe` does, and hand out what was found. Raises ConfigurationError when it is not a graph."""
    if isinstance(graph, StateGraph):
        graph = cast("Any", graph).compile()
    if not isinstance(graph, Pregel):
        raise ConfigurationError(f"a {type(graph).__qualname__} is not a graph")
    whole = cast("AnyGraph", graph)
    found = _Found()
    _read(FoundGraph(graph=whole, prefix=""), found)
    described = GraphDescription(
        name=whole.get_name() or "graph",
        nodes=tuple(found.nodes),
        tools=tuple(FoundTool(name=name, description=found.tools[name]) for name in sorted(found.tools)),
        models=tuple(found.models),
        cycles=tuple(found.cycles),
    )
    return Reach(
        described=described,
        graphs=tuple(found.graphs),
        tools=tuple(found.tool_objects.values()),
        models=tuple(found.model_objects.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What one node's code can reach, itself included."""

    models: bool
    tools: frozenset[int]
    """By id."""
    graphs: tuple[AnyGraph, ...]


def inside(bound: object) -> Inside:
    """Whether a node's runnable reaches models, which tools and which graphs. Nested graphs are not looked into."""
    found = _Found()
    graphs = tuple({id(graph): graph for graph in _search(bound, found)}.values())
    return Inside(models=bool(found.model_objects or found.models), tools=frozenset(found.tool_objects), graphs=graphs)


@dataclass(slots=True)
class _Found:
    """What was found so far. Dicts keep the order."""

    nodes: list[str] = field(default_factory=list[str])
    tools: dict[str, str] = field(default_factory=dict[str, str])
    models: dict[str, None] = field(default_factory=dict[str, None])
    cycles: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    graphs: list[FoundGraph] = field(default_factory=list[FoundGraph])
    tool_objects: dict[int, BaseTool] = field(default_factory=dict[int, BaseTool])
    model_objects: dict[int, BaseChatModel | BaseLLM] = field(default_factory=dict[int, BaseChatModel | BaseLLM])

    def tool(self, name: str, description: str) -> None:
        """The longest description wins: a tool may be met as an object and as what a model was told of it."""
        if name and name != RECALL and len(description) >= len(self.tools.get(name, "")):
            self.tools[name] = description

    def model(self, model: BaseChatModel) -> None:
        while isinstance(model, SelfGoverned):
            model = cast("Any", model).inner
        self.model_objects[id(model)] = model
        self.models[str(vendor_of(model).model_ref(model))] = None


def _read(place: FoundGraph, found: _Found) -> None:
    """Add a graph's nodes and what they reach, unless it is inside of itself, since a graph may call itself."""
    graph, prefix = place.graph, place.prefix
    if _is_inside_itself(place) or len(found.nodes) > _MOST_NODES:
        return
    found.graphs.append(place)
    names = [name for name in graph.nodes if name != START]
    edges = [(source, target) for source, target, _ in edges_of(graph)]
    found.cycles += [tuple(prefix + name for name in names if name in cycle) for cycle in _cycles(edges)]
    for name in names:
        node = graph.nodes[name]
        found.nodes.append(prefix + name)
        nested = cast("list[AnyGraph | None]", cast("Any", node).subgraphs)
        for each in {id(each): each for each in (*nested, *_search(node.bound, found))}.values():
            if isinstance(each, Pregel):  # or it is remote, and has no insides here
                called = each is not node.bound
                _read(FoundGraph(graph=each, prefix=f"{prefix}{name}/", parent=place, node=name, called=called), found)
    branches: Mapping[str, Mapping[str, Any]] = getattr(getattr(graph, "builder", None), "branches", {})
    for each in branches.values():
        for branch in each.values():
            for _ in _search(branch.path, found):
                pass  # a graph called by an edge has no node, and so no path of its own


def edges_of(graph: AnyGraph) -> list[tuple[str, str, bool]]:
    """Source, target and whether a condition decides, as LangGraph draws the graph.

    Drawing plays through an empty run. What that would ask of the user's is left out: the checkpointer, cache keys, state classes.
    """
    bare = copy.copy(graph)
    bare.checkpointer = None
    quiet: dict[str, Any] = {"cache_policy": None, "mapper": None}
    bare.nodes = {name: node.copy(quiet) for name, node in graph.nodes.items()}
    return [(edge.source, edge.target, edge.conditional) for edge in bare.get_graph().edges]


def _is_inside_itself(place: FoundGraph) -> bool:
    around = place.parent
    while around is not None:
        if around.graph is place.graph:
            return True
        around = around.parent
    return False


def _cycles(edges: list[tuple[str, str]]) -> list[set[str]]:
    """Strongly connected parts that hold a cycle: single cycles may be exponentially many, these are at most as many as nodes."""
    import networkx as nx

    drawn: Any = nx.DiGraph(edges)
    parts: list[set[str]] = list(nx.strongly_connected_components(drawn))
    return sorted((p for p in parts if len(p) > 1 or drawn.has_edge(*(2 * tuple(p)))), key=sorted)


def _search(start: object, found: _Found) -> Iterator[AnyGraph]:
    """Add the tools and models that an object can reach; yield the graphs."""
    waiting: list[object] = [start]
    seen: dict[int, object] = {}  # holding what was seen keeps its id from being given again
    while waiting and len(seen) < _MOST_LOOKS:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if _is(value, BaseChatModel):
            found.model(value)
        elif _is(value, BaseLLM):
            found.model_objects[id(value)] = value
        elif isinstance(value, Pregel):
            yield cast("AnyGraph", value)
        else:
            if _is(value, BaseTool):
                found.tool(value.name, value.description)
                found.tool_objects[id(value)] = value
            waiting += reversed([*_inside(value, found)])


def _is(value: object, cls: type[T]) -> TypeGuard[T]:
    """As `isinstance`, which has pydantic ask the value for attributes: one that is made when it is asked would build its client."""
    return issubclass(type(value), cls)


def _inside(value: object, found: _Found) -> Iterator[object]:
    """The objects one step further. Containers, functions and instances are opened; modules only where code names an attribute."""
    if isinstance(value, FunctionType):
        yield from _of_function(value)
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, functools.partial):
        part = cast("functools.partial[Any]", value)
        yield from (part.func, part.args, part.keywords)
    elif isinstance(value, dict):  # no other mapping: to read one may run anybody's code
        given = cast("dict[object, object]", value)
        _specified(given, found)
        yield from list(given.values())[:_MOST_ITEMS]
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from list(cast("list[object]", value))[:_MOST_ITEMS]
    elif isinstance(value, Runnable) or hasattr(value, "__wrapped__") or _is_users(type(value)):
        thing = cast("object", value)
        attributes: dict[str, object] = getattr(thing, "__dict__", {})
        _configured(attributes, found)
        yield from attributes.values()
        yield vars(type(thing)).get("__call__")


def _of_function(function: FunctionType) -> Iterator[object]:
    yield from vars(function).values()  # `functools.wraps` keeps what it wraps here
    yield from (function.__defaults__, function.__kwdefaults__)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue  # a name that is not bound yet
    if not _is_users(function):
        return
    for code in _codes(function.__code__):
        for name in code.co_names:
            value = function.__globals__.get(name)
            yield value
            if isinstance(value, ModuleType) and value.__name__.partition(".")[0] not in _LIBRARIES:
                yield from (vars(value)[attribute] for attribute in code.co_names if attribute in vars(value))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions, lambdas and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_users(thing: type | FunctionType) -> bool:
    return str(getattr(thing, "__module__", None) or "").partition(".")[0] not in _LIBRARIES


def _specified(given: Mapping[object, object], found: _Found) -> None:
    """A tool as a model was told of it, in OpenAI's, Anthropic's or Bedrock's shape."""
    inner = given.get("function") or given.get("toolSpec") or (given if "input_schema" in given else None)
    if isinstance(inner, Mapping):
        description = cast("Mapping[str, object]", inner).get("description")
        found.tool(tool_name(given), description if isinstance(description, str) else "")


def _configured(attributes: Mapping[str, object], found: _Found) -> None:
    """The default of a model whose name is chosen at run time (`init_chat_model(configurable_fields=...)`)."""
    default = attributes.get("_default_config")
    if not isinstance(default, Mapping):
        return
    given = cast("Mapping[str, object]", default)
    model, provider = given.get("model"), given.get("model_provider")
    if isinstance(model, str) and (provider or ":" in model):
        found.models[f"{provider}:{model}" if provider else model] = None
