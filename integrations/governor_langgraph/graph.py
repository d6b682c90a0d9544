"""`govern`: a governed copy of a graph. The graph it was given stays as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel

from governor.errors import ConfigurationError
from governor_langgraph import hooks
from governor_langgraph.governing import Governor, ready
from governor_langgraph.nodes import GovernedPregelNode
from governor_langgraph.root import governed_class
from governor_langgraph.tool_node import governed_tool_node
from governor_langgraph.wrap_check import warn_of_cycles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from langchain_core.language_models import BaseChatModel
    from langgraph.typing import ContextT, InputT, OutputT, StateT

    from governor.policy.load import LoadedPolicy
    from governor.report import GovernorReport
    from governor.runtime import Runtime
    from governor.stores.contract import Store

__all__ = ["govern", "governed_nodes"]

GraphT = TypeVar("GraphT", bound=Pregel[Any, Any, Any, Any])


@overload
def govern(
    graph: GraphT,
    policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
    *,
    store: Store | str | None = None,
    runtime: Runtime | None = None,
    on_report: Callable[[GovernorReport], None] | None = None,
    clients: Mapping[str, BaseChatModel] | None = None,
) -> GraphT: ...


@overload
def govern(
    graph: StateGraph[StateT, ContextT, InputT, OutputT],
    policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
    *,
    store: Store | str | None = None,
    runtime: Runtime | None = None,
    on_report: Callable[[GovernorReport], None] | None = None,
    clients: Mapping[str, BaseChatModel] | None = None,
) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]: ...


def govern(
    graph: Any,
    policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
    *,
    store: Store | str | None = None,
    runtime: Runtime | None = None,
    on_report: Callable[[GovernorReport], None] | None = None,
    clients: Mapping[str, BaseChatModel] | None = None,
) -> Any:
    """A copy of `graph` in which every node, model call and tool call goes through the policy.

    Args:
        graph: A compiled graph (`StateGraph.compile()`, `create_agent`, `create_react_agent`, an `@entrypoint`), or a
            `StateGraph`, which is compiled first.
        policy: A policy file, the name of a bundled policy, the policy as a mapping, a loaded one, or the `Governor` of another graph
            with which this one shares its ledgers.
        store: Where ledgers and run state live, or its address (`sqlite:///governor.db`). Absent: the address in `GOVERNOR_STORE`, else in
            memory, for this process alone.
        runtime: Clock, prices, telemetry and store in one; replaces `policy` and `store`.
        on_report: Called at the end of every run with what became of it; `watch` does the same for a block of code.
        clients: Ready-made clients of tiers, by tier name. Absent: built from the policy when first needed.

    Returns:
        A graph of the same class. A graph that is governed by the same policy already is returned as it is.

    Raises:
        ConfigurationError: `graph` is not a graph.
        PolicyError: The policy cannot be used.
    """
    if isinstance(graph, StateGraph):
        graph = cast("Any", graph).compile()
    if not isinstance(graph, Pregel):
        raise ConfigurationError(_not_a_graph(graph))
    governor = ready(
        policy,
        store=store,
        runtime=runtime,
        name=cast("Any", graph).get_name() or "graph",
        on_report=on_report,
        clients=clients,
    )
    hooks.install()
    warn_of_cycles(cast("Pregel[Any, Any, Any, Any]", graph), governor.policy)
    return _governed(cast("Pregel[Any, Any, Any, Any]", graph), governor, {})


def _governed(
    graph: Pregel[Any, Any, Any, Any], governor: Governor, seen: dict[int, Pregel[Any, Any, Any, Any]]
) -> Pregel[Any, Any, Any, Any]:
    """The governed copy of a graph and of the graphs in its nodes. `seen` keeps shared and self-referencing graphs one."""
    if id(graph) in seen:
        return seen[id(graph)]
    if any(isinstance(node, GovernedPregelNode) for node in graph.nodes.values()):
        seen[id(graph)] = graph
        return graph
    new = seen[id(graph)] = copy.copy(graph)
    new.__class__ = governed_class(type(graph))
    new.nodes = cast("Any", governed_nodes(graph, governor, seen))
    return new


def governed_nodes(
    graph: Pregel[Any, Any, Any, Any],
    governor: Governor,
    seen: dict[int, Pregel[Any, Any, Any, Any]] | None = None,
) -> dict[str, Any]:
    """Governed copies of a graph's nodes, and of the graphs in them."""
    known = {} if seen is None else seen
    recall = any(isinstance(node.bound, ToolNode) for node in graph.nodes.values())
    return {
        name: node if name == START else _governed_node(node, governor, known, recall=recall)
        for name, node in graph.nodes.items()
    }


def _governed_node(
    node: Any, governor: Governor, seen: dict[int, Pregel[Any, Any, Any, Any]], *, recall: bool
) -> GovernedPregelNode:
    bound = node.bound
    if isinstance(bound, Pregel):
        bound = _governed(cast("Pregel[Any, Any, Any, Any]", bound), governor, seen)
    elif isinstance(bound, ToolNode):
        bound = governed_tool_node(bound)
    # Named explicitly, or PregelNode looks for subgraphs again and finds the ungoverned one.
    subgraphs = [bound if graph is node.bound else graph for graph in node.subgraphs]
    governed = GovernedPregelNode.of(node, governor, recall=recall, bound=bound, subgraphs=subgraphs)
    _ = governed.node  # built here rather than in the first run
    return governed


def _not_a_graph(thing: object) -> str:
    given = f"{type(thing).__module__}.{type(thing).__qualname__}"
    if callable(thing) and not isinstance(thing, type):
        return (
            f"govern() was given {given}, not a graph. Decorate a function that builds a graph with @governed(policy), "
            "an @entrypoint function with @governed(policy) above @entrypoint, and a chat model with wrap_model()."
        )
    return (
        f"govern() was given {given}, not a graph. Give it a StateGraph, a compiled graph, what create_agent returned, "
        "or an @entrypoint."
    )
