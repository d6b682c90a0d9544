"""Who may call a provider: at most so many calls of a run at once, the others in the order in which they came.

A slot is taken around one model call, where nothing nests: a node, a tool or a graph that held one could wait for what runs inside it.
Two things are not believed, so that no run waits for itself: that a stream is at work whose reader has left it alone for `LOOK_MS` (the
reader may be what waits), and that a call takes longer than `LONGEST_MS` (it may need a thread that those who wait occupy).
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LONGEST_MS", "LOOK_MS", "Slot", "Slots"]

LOOK_MS = 1_000
"""How often a call that waits asks whether an operator halted its run, and whether who is before it moves."""
LONGEST_MS = 5 * 60_000
"""How long a slot counts against those who wait. A choice: long for one answer, short for a run that would otherwise stand still."""
_RAMP = 2
"""Calls that one end of a call lets in at most: where a limit was lifted each has to find out whether that holds for it too."""


class Slot:
    """One call's place: waiting, or inside. Drivers of streams note in it whether the reader has the latest chunk."""

    __slots__ = (
        "asked",
        "entered_ms",
        "handed",
        "inside",
        "raised",
        "reading",
        "run",
        "seen",
        "seen_ms",
        "wake",
        "width",
    )

    def __init__(self, run: str, width: int | None, asked: int) -> None:
        """A place in `run` for a call that is to be one of `width` at once; None: of any number."""
        self.run, self.width, self.asked = run, width, asked
        self.inside = False
        self.raised = False
        """Whether its width was raised while it waited: then the rung that it waited for is no longer in force."""
        self.entered_ms = 0
        self.reading = False
        """Whether a chunk of its stream is with the reader, so that nothing is asked of the provider."""
        self.handed = 0
        """Chunks handed to the reader."""
        self.seen, self.seen_ms = -1, 0
        self.wake: Callable[[], None] | None = None
        """What the driver that waits wants to have called when the place is inside, from whatever thread."""


class _Run:
    """The places of one run."""

    def __init__(self) -> None:
        self.inside: dict[Slot, None] = {}
        self.queue: deque[Slot] = deque()

    @property
    def room(self) -> bool:
        """Whether one more may enter. The narrowest width holds: of two that were asked for side by side nobody knows which is newer."""
        widths = [each.width for each in (*self.inside, *self.queue) if each.width is not None]
        return not widths or len(self.inside) < max(1, min(widths))


class Slots:
    """The places of all runs of this process. Thread-safe; waits for nothing itself."""

    def __init__(self) -> None:
        """Nobody is inside."""
        self._lock = Lock()
        self._runs: dict[str, _Run] = {}
        self._asked = 0

    def take(self, run: str, width: int | None, now_ms: int) -> Slot:
        """A place: inside at once when there is room and nobody waits, or when nothing bounds this call (`width` is None)."""
        with self._lock:
            slot = Slot(run, width, self._next())
            places = self._runs.setdefault(run, _Run())
            places.queue.append(slot)
            if width is None or (len(places.queue) == 1 and places.room):
                places.queue.remove(slot)
                self._enter(places, slot, now_ms)
            return slot

    def look(self, slot: Slot, now_ms: int) -> bool:
        """Whether a place is inside by now. Whoever waits asks now and then, so that what does not move is passed by."""
        with self._lock:
            places = self._runs.get(slot.run)
            if slot.inside or places is None:
                return True
            idle = [each for each in places.inside if _stands_still(each, now_ms)]
            for each in idle:
                del places.inside[each]
            woken = self._let_in(places, now_ms) if idle else []
        _wake(woken)
        return slot.inside

    def enter(self, slot: Slot, now_ms: int) -> None:
        """Let a call in whose driver cannot wait."""
        with self._lock:
            places = self._runs[slot.run]
            if slot in places.queue:
                places.queue.remove(slot)
                self._enter(places, slot, now_ms)

    def free(self, slot: Slot, now_ms: int, *, known: bool = False, width: int | None = None) -> None:
        """Give a place back, waiting or inside; a second time changes nothing.

        `known`: the call reserved after it was let in, and `width` is what its run's share of the budget asks for since. That holds for
        every place that was asked for before.
        """
        with self._lock:
            places = self._runs.get(slot.run)
            if places is None:
                return
            places.inside.pop(slot, None)
            if slot in places.queue:
                places.queue.remove(slot)
            for each in (*places.inside, *places.queue) if known else ():
                if each.asked < slot.asked:
                    each.raised = each.raised or _wider(width, each.width)
                    each.width = width
            woken = self._let_in(places, now_ms)
            if not places.inside and not places.queue:
                del self._runs[slot.run]
        _wake(woken)

    def _next(self) -> int:
        self._asked += 1
        return self._asked

    def _enter(self, places: _Run, slot: Slot, now_ms: int) -> None:
        places.inside[slot] = None
        slot.inside, slot.entered_ms, slot.asked = True, now_ms, self._next()

    def _let_in(self, places: _Run, now_ms: int) -> list[Slot]:
        entered: list[Slot] = []
        while places.queue and len(entered) < _RAMP and places.room:
            slot = places.queue.popleft()
            self._enter(places, slot, now_ms)
            entered.append(slot)
        return entered


def _wider(width: int | None, than: int | None) -> bool:
    return than is not None and (width is None or width > than)


def _stands_still(slot: Slot, now_ms: int) -> bool:
    if now_ms - slot.entered_ms >= LONGEST_MS:
        return True
    if not slot.reading:
        return False
    if slot.seen != slot.handed:
        slot.seen, slot.seen_ms = slot.handed, now_ms
        return False
    return now_ms - slot.seen_ms >= LOOK_MS


def _wake(slots: Iterable[Slot]) -> None:
    for slot in slots:
        wake = slot.wake
        if wake is not None:
            wake()
