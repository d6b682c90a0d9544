"""Graphs and tasks that start inside of a governed run: a graph called in a function or a tool, the body of an `@task`.

No node of the outer graph holds them, so the copy that `govern` makes cannot. They are governed when they start, by the policy of the
run that they start in.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from langgraph.pregel import Pregel

from governor_langgraph.context import current_run
from governor_langgraph.langgraph_internals import algorithm
from governor_langgraph.nodes import GovernedNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from governor_langgraph.governing import Governor

    Graph = Pregel[Any, Any, Any, Any]

__all__ = ["hooks"]


def hooks() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    """What is hooked, and by what."""
    yield Pregel, "stream", _stream
    yield Pregel, "astream", _astream
    yield algorithm, "get_runnable_for_task", _task


def _stream(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def stream(self: Graph, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - Pregel's name
        return original(_adopted(self), input, config, **kwargs)

    return stream


def _astream(original: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    def astream(self: Graph, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002 - same
        return original(_adopted(self), input, config, **kwargs)

    return astream


def _adopted(graph: Graph) -> Graph:
    """The graph itself, or its governed copy when it is run inside of a governed run and nobody governs it yet."""
    run = current_run()
    if run is None or getattr(type(graph), "_governs", False):
        return graph
    new = copy.copy(graph)  # whatever was set on the graph since the last time counts
    new.nodes = cast("Any", _nodes(graph, run.governor))
    return new


_lock = threading.Lock()
_known: WeakKeyDictionary[Graph, tuple[Governor, dict[str, Any], dict[str, Any]]] = WeakKeyDictionary()
"""A graph to its latest governor, the nodes it had then, and their governed copies."""


def _nodes(graph: Graph, governor: Governor) -> dict[str, Any]:
    from governor_langgraph.graph import governed_nodes

    with _lock:
        known = _known.get(graph)
    if known is not None and known[0] is governor and known[1] == graph.nodes:
        return known[2]
    made = governed_nodes(graph, governor)
    with _lock:
        _known[graph] = (governor, dict(graph.nodes), made)
    return made


def _task(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_runnable_for_task(func: Callable[..., Any]) -> Any:
        made, run = original(func), current_run()
        return made if run is None else GovernedNode(made, run.governor, recall=False)

    return get_runnable_for_task
