"""What a process remembers of the latest request of each lane, so that the next can be told what differs."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.prefix import Remembered

__all__ = ["LANES", "Memory"]

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
