"""Changes of runs that a store has not seen, because it did not answer: a process goes on from what it knows, and tells the store later."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from governor.runs import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Noted", "Unseen"]

RUNS = 1_024
"""Runs whose latest state a process remembers, for when the store is lost."""


class Noted:
    """A change together with those of its run that the store has not seen; remembers the state that came of it."""

    __slots__ = ("_apply", "_earlier", "after")

    def __init__(self, apply: Callable[[RunState], Any], earlier: list[Callable[[RunState], Any]]) -> None:
        """`earlier` are made first, oldest first. All are pure: whatever a store applies them to, and however often."""
        self._apply, self._earlier = apply, earlier
        self.after: RunState | None = None

    @property
    def replayed(self) -> int:
        """How many changes the store had missed."""
        return len(self._earlier)

    def __call__(self, state: RunState) -> tuple[RunState, Any]:
        """What a store does with it."""
        for each in self._earlier:
            state, _ = each(state)
        state, answer = self._apply(state)
        self.after = state
        return state, answer


class Unseen:
    """What one process knows of its runs beside their store. Threads share it."""

    def __init__(self, most: int | None = None) -> None:
        """`most`: of the changes of one run so many are kept, the latest, and none of a run that is forgotten. None: all are."""
        self._most = most
        self._lock = Lock()
        self._known: OrderedDict[str, RunState] = OrderedDict()
        self._missed: dict[str, list[Callable[[RunState], Any]]] = {}

    def noted(self, run: str, apply: Callable[[RunState], Any]) -> Noted:
        """A change that brings along what the store has missed, and whose outcome is remembered."""
        with self._lock:
            return Noted(apply, list(self._missed.get(run, ())))

    def misses(self, run: str) -> bool:
        """Whether the store has missed changes of this run."""
        return run in self._missed

    def made(self, run: str, change: Noted) -> None:
        """The store has made it."""
        with self._lock:
            if change.replayed and (missed := self._missed.get(run)):
                del missed[: change.replayed]
                if not missed:
                    del self._missed[run]
            if change.after is not None:
                self._remember(run, change.after)

    def missed(self, run: str, apply: Callable[[RunState], tuple[RunState, Any]]) -> Any:
        """Make a change here, on what this process knows, to be told later. Answers its second part."""
        with self._lock:
            state, answer = apply(self._known.get(run) or RunState())
            missed = self._missed.setdefault(run, [])
            missed.append(apply)
            if self._most is not None:
                del missed[: -self._most]
            self._remember(run, state)
        return answer

    def _remember(self, run: str, state: RunState) -> None:
        self._known[run] = state
        self._known.move_to_end(run)
        if len(self._known) > RUNS:
            oldest = next(iter(self._known))
            if self._most is None and oldest in self._missed:
                return
            del self._known[oldest]
            self._missed.pop(oldest, None)
