"""Handoffs: one agent asking another for what it has asked for already.

A bucket for each pair of agents, because their conversation may go in circles while their tools still bring up new pages. What fills it
is a task without anything new in it: no word that was not used on this edge before, or none that names something.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from governor.controls.loop.suspicion import raised
from governor.controls.loop.words import Words, pack, similar, unpack
from governor.loop_state import HandoffEdge, Suspicion
from governor.structure import pingpong
from governor.values import copier

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TARGETS", "circle_of", "edge_of", "foreseen", "handed", "tangled", "target_of"]

_changed, _edge = copier(Suspicion), copier(HandoffEdge)

_SAME, _NOTHING_NEW = 120, 60
"""The same words in another order; old words, though none of the latest tasks is like it."""
_REWORDED = 70
"""A few new words, none of which names anything."""
_OTHER, _NAMES_MORE = -30, -50
"""A different request; a request about something that was not named before."""
_IDLE, _IDLE_AND_LIKE = 80, 130
"""Nothing was learned since this edge was last used; and the task is like one before."""
_SIMILAR = 0.5
_SLOTS = 3
"""As many words exchanged for new ones, and nothing else, are a form filled in for another thing: whoever rewords adds and drops."""
_FEW = 0.3
"""Share of new words up to which a task is a rewording."""
_HANDED = 24
_TASKS, _EDGES, _TASK_WORDS, _EDGE_WORDS = 6, 6, 64, 160
_SAYS_SOMETHING = 3

_HANDOFF = re.compile(
    r"(?:transfer|hand_?off|hand_?over|delegate|route|assign)_(?:back_)?(?:task_)?to_(?P<target>.+)", re.IGNORECASE
)
"""Tools by which LangGraph's supervisors and swarms pass control on."""
TARGETS = ("subagent_type", "agent", "agent_name", "target_agent", "to_agent")
"""Arguments that name the agent, not the task."""
_DELEGATES = frozenset({"task", "delegate", "handoff", "hand_off", "delegate_task", "delegate_work"})
"""Tools whose argument names the agent: deepagents' `task`, CrewAI's and others' `delegate`."""


def target_of(tool: str, args: Mapping[str, object]) -> str | None:
    """The agent that this tool call passes control or work to; None when it does neither."""
    target, delegates = _passes_on(tool)
    if not delegates:
        return target
    return next((str(args[name]) for name in TARGETS if isinstance(args.get(name), str)), None)


@lru_cache(maxsize=256)
def _passes_on(tool: str) -> tuple[str | None, bool]:
    """The agent that a tool's name names, and whether its arguments do. Remembered: it is asked of every call, and tools are few."""
    found = _HANDOFF.fullmatch(tool)
    return (found["target"], False) if found is not None else (None, tool.lower() in _DELEGATES)


def edge_of(state: Suspicion, source: str, target: str) -> HandoffEdge | None:
    """What is known of this pair of agents."""
    return next((edge for edge in state.edges if edge.source == source and edge.target == target), None)


def foreseen(state: Suspicion, source: str, target: str, task: Words) -> tuple[int, int]:
    """Suspicion of the edge and of the run, in hundredths, if the edge were used for this task now."""
    edge = edge_of(state, source, target)
    if edge is None:
        return 0, 0
    return edge.level + _of_task(edge, task), state.level + _of_idleness(state, edge, task)


def handed(state: Suspicion, source: str, target: str, task: Words, cap: int, tool: str) -> Suspicion:
    """Suspicion after a handoff by this tool."""
    known = edge_of(state, source, target)
    edge = known or HandoffEdge(source=source, target=target)
    level = max(0, min(cap, edge.level + _of_task(edge, task))) if known is not None else 0
    by = _of_idleness(state, edge, task) if known is not None else 0
    used = _edge(
        edge,
        level=level,
        tasks=(*edge.tasks[-(_TASKS - 1) :], pack(task.all, _TASK_WORDS)) if task.all else edge.tasks,
        words=pack(unpack(edge.words) | task.all, _EDGE_WORDS),
        news=state.news,
        times=edge.times + 1,
    )
    others = tuple(each for each in state.edges if (each.source, each.target) != (source, target))
    latest = (*state.handed[-(_HANDED - 1) :], (source, target))
    return raised(_changed(state, edges=(*others[-(_EDGES - 1) :], used), handed=latest), by, cap, tool)


def _of_idleness(state: Suspicion, edge: HandoffEdge, task: Words) -> int:
    if edge.news != state.news:
        return 0
    return _IDLE_AND_LIKE if _likeness(edge, task) >= _SIMILAR else _IDLE


def circle_of(state: Suspicion, source: str, target: str, times: int) -> str:
    """The handoffs by name: the circle that they go in, `planner -> coder -> planner, x4`, or the one edge."""
    return pingpong(state.handed) or f"{source} -> {target}, x{times}"


def tangled(state: Suspicion) -> HandoffEdge | None:
    """The edge that is suspected most."""
    return max(state.edges, key=lambda edge: edge.level, default=None)


def _likeness(edge: HandoffEdge, task: Words) -> float:
    return max((similar(task.all, unpack(packed)) for packed in edge.tasks), default=0.0)


def _of_task(edge: HandoffEdge, task: Words) -> int:
    if len(task.all) < _SAYS_SOMETHING:  # control alone is passed: nothing can be said of what for
        return 0
    new = task.all - unpack(edge.words)
    like = _likeness(edge, task) >= _SIMILAR
    if not new:
        return _SAME if like else _NOTHING_NEW
    named, few = len(new & task.named), len(new) <= _FEW * len(task.all)
    if named > 1 or (named and not few) or _filled_in(edge, task, new):
        return _NAMES_MORE
    if few:
        return _REWORDED if like else _REWORDED // 2
    return _OTHER


def _filled_in(edge: HandoffEdge, task: Words, new: frozenset[str]) -> bool:
    """Whether the task is an earlier one with some words exchanged for words that are new here."""
    for packed in edge.tasks:
        earlier = unpack(packed)
        put, taken = task.all - earlier, earlier - task.all
        if put == new and len(put) == len(taken) <= min(_SLOTS, len(earlier) // 2):
            return True
    return False
