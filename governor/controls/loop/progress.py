"""What a value that the graph calls progress does to suspicion."""

from __future__ import annotations

from math import inf, isfinite, isnan
from typing import TYPE_CHECKING

from governor.controls.loop.signatures import digest
from governor.controls.loop.suspicion import REPEATED, raised
from governor.loop_state import LoopState, Suspicion
from governor.values import copier

if TYPE_CHECKING:
    from governor.progress import Value

__all__ = ["progressed"]

_changed, _suspicion = copier(LoopState), copier(Suspicion)

_VALUES = 16


def progressed(loop: LoopState, value: Value, cap: int) -> LoopState:
    """The state after a node began with this value.

    One that is higher than any before, or a word not seen before, ends all suspicion. One that comes back after another, while nothing
    was learned in between, is a fruitless repetition. One that stays says nothing: most nodes do not change it.
    """
    state = loop.suspicion
    number = _number(value)
    if number is not None and isnan(number):
        return loop  # it is neither higher nor lower than anything
    mark = digest("progress", str(value if number is None or isfinite(number) else number))
    if state.values and state.values[-1] == mark:
        return loop
    known = mark in state.values
    others = tuple(each for each in state.values if each != mark)
    noted = _suspicion(state, values=(*others[-(_VALUES - 1) :], mark), values_news=state.news)
    rises = not known if number is None else state.best is None or number > state.best
    if number is not None and (state.best is None or number > state.best):
        noted = _suspicion(noted, best=number)
    if rises:
        edges = tuple(type(edge)(source=edge.source, target=edge.target, news=edge.news) for edge in state.edges)
        noted = _suspicion(noted, level=0, edges=edges, tokens=0, news=state.news + 1, values_news=state.news + 1)
        return _changed(loop, suspicion=noted, runs=(), coarse_runs=(), text_runs=(), blocked=0, note=None)
    if known and state.values_news == state.news:
        noted = raised(noted, REPEATED, cap)
    return _changed(loop, suspicion=noted)


def _number(value: Value) -> float | None:
    """The value, where it is a number; one that no float holds is infinite."""
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf
