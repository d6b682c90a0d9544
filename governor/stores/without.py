"""Runs that go on while their store does not answer: what they would write waits in this process until it does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from governor.errors import StoreError
from governor.runs import RunState
from governor.stores.delegating import Delegating

if TYPE_CHECKING:
    from governor.stores.contract import Store

__all__ = ["RunsWithoutStore"]

T = TypeVar("T")

RUNS = 1_024
"""Runs whose latest state a process remembers, for when the store is lost."""


@dataclass(slots=True)
class _Run:
    """A run as this process knows it."""

    state: RunState
    waiting: list[Callable[[RunState], tuple[RunState, Any]]] = field(
        default_factory=list[Callable[[RunState], tuple[RunState, Any]]]
    )
    """Changes that the store has not seen, oldest first. They are pure: applied again to what the store has, they do the same."""
    kept: dict[str, str] = field(default_factory=dict[str, str])


class RunsWithoutStore(Delegating):
    """Another store, with a memory for its run state. Only the reading of operators' facts and ledgers needs the store to answer.

    While the store is lost, what is decided about a run is decided by this process alone. A run has one process at a time, so that
    this is as good as the store, unless it is resumed elsewhere meanwhile.
    """

    def __init__(self, store: Store) -> None:
        """`store` is asked first, always."""
        super().__init__(store)
        self._known: OrderedDict[str, _Run] = OrderedDict()
        self._runs_lock = RLock()

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """As the store does, with everything that waits for it; else on the state as this process knows it."""
        with self._runs_lock:
            known = self._run(run)
            after: RunState | None = None

            def with_what_waits(state: RunState) -> tuple[RunState, T]:
                nonlocal after
                for each in known.waiting:
                    state, _ = each(state)
                after, answer = apply(state)
                return after, answer

            try:
                self._flush_kept(run, known)
                answer = self.store.change(run, with_what_waits, later=later)
            except StoreError:
                known.state, answer = apply(known.state)
                known.waiting.append(apply)
            else:
                known.waiting.clear()
                known.state = after or known.state
            return answer

    async def achange(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """`change`, off the loop if the store may keep it waiting."""
        return await self.store.aside(partial(self.change, run, apply, later=later))

    def keep(self, run: str, handle: str, text: str) -> None:
        """As the store does, or until it answers again."""
        with self._runs_lock:
            known = self._run(run)
            known.kept[handle] = text
            try:
                self._flush_kept(run, known)
            except StoreError:
                return

    def recall(self, run: str, handle: str) -> str | None:
        """What waits for the store, else what the store has."""
        with self._runs_lock:
            waiting = self._run(run).kept.get(handle)
        return waiting if waiting is not None else self.store.recall(run, handle)

    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        """As the store does. A thread's new run needs no answer; a resume does, since nobody else knows which run it was."""
        try:
            return self.store.open_run(thread, fresh, resume=resume)
        except StoreError:
            if resume:
                raise
            return fresh

    def _run(self, run: str) -> _Run:
        known = self._known.get(run)
        if known is None:
            known = self._known[run] = _Run(RunState())
            oldest = next(iter(self._known))
            if len(self._known) > RUNS and not self._known[oldest].waiting:
                del self._known[oldest]
        else:
            self._known.move_to_end(run)
        return known

    def _flush_kept(self, run: str, known: _Run) -> None:
        while known.kept:
            handle, text = next(iter(known.kept.items()))
            self.store.keep(run, handle, text)
            del known.kept[handle]
