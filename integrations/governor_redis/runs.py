"""Run state as this process knows it: compare-and-swap against the server, and changes that wait to be written along.

A change that may come later is applied at once to what this process knows, and written with the run's next reservation, settlement or
strict change, in the same script call. Changes are pure: when somebody else wrote meanwhile they are applied again to what is there.
Of each run one write is on its way at a time, so that what waits is never sent twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from governor.errors import StoreError
from governor.runs import RunState, dump_state, parse_state

if TYPE_CHECKING:
    from governor.ids import Ids

__all__ = ["Flight", "KnownRuns"]

T = TypeVar("T")
Apply = Callable[[RunState], "tuple[RunState, Any]"]
RUNS = 1_024
"""Runs that a process remembers. One with changes that wait is not forgotten."""


@dataclass(slots=True)
class _Run:
    version: str | None = None
    """That the server had when this process last looked; empty when it had none. None: never looked."""
    base: RunState = field(default_factory=RunState)
    """What the server has at that version."""
    state: RunState = field(default_factory=RunState)
    """The same with everything that waits."""
    doubts: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Versions whose writing failed with an unknown outcome, with how many of the waiting changes were in each."""
    waiting: list[Apply] = field(default_factory=list[Apply])
    flight: Flight | None = None


@dataclass(slots=True)
class Flight:
    """A write of a run's state that is on its way."""

    run: str
    expected: str
    version: str
    """Empty when nothing is written: then it asks whether the state is still the expected one."""
    state: RunState
    data: bytes
    waited: int
    """How many of the changes that wait are in it."""
    done: Future[None] = field(default_factory=Future["None"])


class KnownRuns:
    """The runs of one process. Threads share it; nothing here waits for the network."""

    def __init__(self, new_id: Ids) -> None:
        """`new_id` names versions."""
        self._new_id = new_id
        self._lock = Lock()
        self._runs: OrderedDict[str, _Run] = OrderedDict()

    def later(self, run: str, apply: Callable[[RunState], tuple[RunState, T]]) -> tuple[T] | None:
        """Apply a change that may wait, and answer its second part; None when nothing is known of the run yet."""
        with self._lock:
            known = self._known(run)
            if known.version is None:
                return None
            known.state, answer = apply(known.state)
            known.waiting.append(apply)
            return (answer,)

    def busy(self, run: str) -> Future[None] | None:
        """What to wait for before a strict change of this run."""
        with self._lock:
            known = self._runs.get(run)
            return known.flight.done if known and known.flight else None

    def strict(self, run: str, apply: Callable[[RunState], tuple[RunState, T]]) -> tuple[Flight, T] | None:
        """A write of everything that waits and of this change; None while another is on its way. Raises what `apply` raises."""
        with self._lock:
            known = self._known(run)
            if known.flight:
                return None
            state, answer = apply(known.state)
            return self._depart(run, known, state, read=state is known.state and not known.waiting), answer

    def outgoing(self, run: str) -> Flight | None:
        """What waits of this run, to be written along with another operation."""
        with self._lock:
            known = self._runs.get(run)
            if known is None or not known.waiting or known.flight:
                return None
            return self._depart(run, known, known.state, read=False)

    def landed(self, flight: Flight, wrote: int, version: bytes, data: bytes, older: bytes) -> bool:
        """Take note of what became of a write: 1 when it is what the server has, else what it has instead. Whether it was written."""
        with self._lock:
            known = self._runs[flight.run]
            if wrote == 1:
                known.version, known.base = flight.version or flight.expected, flight.state
                del known.waiting[: flight.waited]
                written = True
            else:
                written = self._overtaken(known, flight, version.decode(), data, older.decode())
            known.doubts.clear()
            known.state = known.base
            for apply in known.waiting:
                with suppress(Exception):  # a counter that makes no sense any more; nothing depends on it
                    known.state, _ = apply(known.state)
            self._arrive(known, flight)
            return written

    def failed(self, flight: Flight) -> None:
        """A write whose outcome nobody knows: when the next one is overtaken, the server tells whether it was by this one."""
        with self._lock:
            known = self._runs[flight.run]
            if flight.version:
                known.doubts.append((flight.version, flight.waited))
            self._arrive(known, flight)

    def pending(self) -> list[str]:
        """Runs with changes that wait."""
        with self._lock:
            return [run for run, known in self._runs.items() if known.waiting]

    def forked(self) -> None:
        """In a forked child: what the parent has not written, the parent writes."""
        self._lock = Lock()
        self._runs.clear()

    def _depart(self, run: str, known: _Run, state: RunState, *, read: bool) -> Flight:
        version, data = ("", b"") if read else (self._new_id(), dump_state(state))
        known.flight = Flight(run, known.version or "", version, state, data, len(known.waiting))
        return known.flight

    def _overtaken(self, known: _Run, flight: Flight, version: str, data: bytes, older: str) -> bool:
        """Somebody else wrote, before or after this write. Where the server has nothing it lost it: then what is known here stands."""
        known.version, versions = version, {version, *older.split()}
        done = [waited for each, waited in (*known.doubts, (flight.version, flight.waited)) if each in versions]
        del known.waiting[: max(done, default=0)]
        if data:
            try:
                known.base = parse_state(data)
            except ValidationError as error:
                known.version = None
                self._arrive(known, flight)
                raise StoreError(
                    f"the state of run {flight.run} is unreadable. Start a new run, on another thread."
                ) from error
        return flight.version in versions

    @staticmethod
    def _arrive(known: _Run, flight: Flight) -> None:
        known.flight = None
        if not flight.done.done():
            flight.done.set_result(None)

    def _known(self, run: str) -> _Run:
        known = self._runs.get(run)
        if known is not None:
            self._runs.move_to_end(run)
            return known
        known = self._runs[run] = _Run()
        if len(self._runs) > RUNS:
            oldest = next(iter(self._runs))
            if not self._runs[oldest].waiting and self._runs[oldest].flight is None:
                del self._runs[oldest]
            else:
                self._runs.move_to_end(oldest)
        return known
