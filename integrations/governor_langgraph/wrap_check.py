"""What `govern` says of a graph that may run for ever: once a graph and policy, to the log `governor_langgraph`.

It costs next to nothing where a limit of steps or time cuts every cycle. Elsewhere the graph is read; networkx is imported only when a
cycle is left to be named.
"""

from __future__ import annotations

import logging
import threading
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from langgraph.pregel import Pregel

if TYPE_CHECKING:
    from governor.policy.load import LoadedPolicy
    from governor.structure import Structure
    from governor.structure.cuts import Cut

__all__ = ["warn_of_cycles"]

_log = logging.getLogger("governor_langgraph")
_lock = threading.Lock()
_told: WeakKeyDictionary[Pregel[Any, Any, Any, Any], set[str]] = WeakKeyDictionary()
"""Hashes of the policies under which a graph was checked."""
_said: set[str] = set()
_MOST_SAID = 1_000


def warn_of_cycles(graph: Pregel[Any, Any, Any, Any], policy: LoadedPolicy) -> None:
    """Log a warning for every cycle that no step, loop, depth or budget limit of the policy cuts.

    An observing policy is taken as if it were enforced: it is on trial. What cannot be read is no reason to refuse a graph, and is said.
    """
    limits = policy.policy.limits
    if limits.steps is not None or limits.time is not None or not _log.isEnabledFor(logging.WARNING):
        return
    with _lock:
        told = _told.setdefault(graph, set())
        if policy.hash in told:
            return
        told.add(policy.hash)
    try:
        _warn(graph, policy)
    except Exception as error:  # noqa: BLE001 - a remark about a graph never keeps it from being governed
        _log.warning(
            "%s: its structure could not be read for cycles (%s: %s)", graph.get_name(), type(error).__name__, error
        )


def _warn(graph: Pregel[Any, Any, Any, Any], policy: LoadedPolicy) -> None:
    from governor.structure.cuts import cuts_of
    from governor_langgraph.structure import read

    structure = read(graph, cycles_only=True)
    cuts = cuts_of(policy.policy, as_enforced=True)
    if not _may_have_uncut(structure, cuts):
        return
    from governor.structure.cycles import find
    from governor.structure.findings import uncut

    for cycle in find(structure, cuts).named:
        if not cycle.cut_by and cycle.declared:
            _say(str(uncut(structure.name, cycle)))


def _say(text: str) -> None:
    """Once a process: whoever builds a graph for every request is told of it once."""
    with _lock:
        new = text not in _said and len(_said) < _MOST_SAID
        if new:
            _said.add(text)
    if new:
        _log.warning("%s", text)


def _may_have_uncut(structure: Structure, cuts: tuple[Cut, ...]) -> bool:
    """Whether a cycle is left in some graph when the nodes are taken away at which a limit holds on, or a graph holds another."""
    from governor.structure.certain import certainly

    passes = certainly(structure)
    kinds = [cut.where for cut in cuts if isinstance(cut.where, frozenset)]
    inside: dict[Any, set[Any]] = {}
    for shape in structure.shapes.values():
        inside[shape.key] = {held.graph for node in shape.nodes for held in node.holds}
        free = {node.name for node in shape.nodes if not any(passes(shape.key, node.name, each) for each in kinds)}
        before: dict[Any, set[Any]] = {}
        for edge in shape.edges:
            if edge.source in free and edge.target in free:
                before.setdefault(edge.target, set()).add(edge.source)
        if _goes_round(before):
            return True
    return _goes_round(inside)


def _goes_round(before: dict[Any, set[Any]]) -> bool:
    try:
        TopologicalSorter(before).prepare()
    except CycleError:
        return True
    return False
