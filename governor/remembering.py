"""What a process remembers of the latest request of each lane, so that the next can be told what differs."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from governor.volatile import apart_by_form, parted

if TYPE_CHECKING:
    from governor.prefix import Remembered
    from governor.runs import Steady

__all__ = ["LANES", "Memory", "Texts"]

LANES = 256
"""Lanes remembered, of all runs together: numbers for each message, and the system text. The one used longest ago goes."""


class Memory:
    """The latest requests. Thread-safe; what is forgotten costs a detail in the trace and nothing else."""

    def __init__(self) -> None:
        """Nothing is remembered."""
        self._lock = Lock()
        self._lanes: OrderedDict[tuple[str, str], Remembered] = OrderedDict()

    def swap(self, conversation: str, lane: str, request: Remembered) -> Remembered | None:
        """Remember a request of a thread's (or run's) lane; answers the one before."""
        key = (conversation, lane)
        with self._lock:
            before = self._lanes.pop(key, None)
            self._lanes[key] = request
            if len(self._lanes) > LANES:
                self._lanes.popitem(last=False)
        return before


class Texts:
    """System texts with which the conversations of a node began in this process, to tell which of their clocks and ids differ. Thread-safe.

    Of a text that differs by what an author wants in its place nothing is concluded: only lines that say nothing but the time, the date or
    an id are looked at.
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, int], str | None] = OrderedDict()
        """Node and checksum of the rest of the text, to its lines of that kind; None once they were seen to differ."""

    def begin(self, node: str, text: str) -> Steady | None:
        """What a new conversation is to have seen of its first system text: its lines that differ between conversations go at once."""
        rest, lines = parted(text)
        if not lines:
            return None
        key = (node, zlib.crc32(rest.encode("utf-8", "surrogatepass")))
        with self._lock:
            before = self._known.pop(key, lines)
            known = self._known[key] = lines if before == lines else None
            if len(self._known) > LANES:
                self._known.popitem(last=False)
        return apart_by_form(text) if known is None else None
