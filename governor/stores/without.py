"""Runs that go on while their store does not answer: what they would write waits in this process until it does."""

from __future__ import annotations

from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

from governor.errors import StoreError
from governor.stores.delegating import Delegating
from governor.unseen import Unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.runs import RunState
    from governor.stores.contract import Store

__all__ = ["RunsWithoutStore"]

T = TypeVar("T")


class RunsWithoutStore(Delegating):
    """Another store, with a memory for its run state. Only the reading of operators' facts and ledgers needs the store to answer.

    While the store is lost, what is decided about a run is decided by this process alone. A run has one process at a time, so that
    this is as good as the store, unless it is resumed elsewhere meanwhile.
    """

    def __init__(self, store: Store) -> None:
        """`store` is asked first, always."""
        super().__init__(store)
        self._unseen = Unseen()
        self._kept: dict[str, dict[str, str]] = {}
        self._runs_lock = RLock()

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """As the store does, with everything that waits for it; else on the state as this process knows it."""
        with self._runs_lock:
            noted = self._unseen.noted(run, apply)
            try:
                self._flush_kept(run)
                answer: T = self.store.change(run, noted, later=later)
            except StoreError:
                return self._unseen.missed(run, apply)
            self._unseen.made(run, noted)
            return answer

    async def achange(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """`change`, off the loop if the store may keep it waiting."""
        return await self.store.aside(partial(self.change, run, apply, later=later))

    def keep(self, run: str, handle: str, text: str) -> None:
        """As the store does, or until it answers again."""
        with self._runs_lock:
            self._kept.setdefault(run, {})[handle] = text
            try:
                self._flush_kept(run)
            except StoreError:
                return

    def recall(self, run: str, handle: str) -> str | None:
        """What waits for the store, else what the store has."""
        with self._runs_lock:
            waiting = self._kept.get(run, {}).get(handle)
        return waiting if waiting is not None else self.store.recall(run, handle)

    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        """As the store does. A thread's new run needs no answer; a resume does, since nobody else knows which run it was."""
        try:
            return self.store.open_run(thread, fresh, resume=resume)
        except StoreError:
            if resume:
                raise
            return fresh

    def _flush_kept(self, run: str) -> None:
        kept = self._kept.get(run, {})
        while kept:
            handle, text = next(iter(kept.items()))
            self.store.keep(run, handle, text)
            del kept[handle]
        self._kept.pop(run, None)
