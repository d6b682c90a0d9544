"""Identifiers that no process, thread, fork or restored snapshot of one gives twice."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import count

__all__ = ["Ids"]

_MOMENT, _COUNT = (1 << 40) - 1, (1 << 24) - 1
"""What is kept of each. The moment comes round after 18 minutes, the count after 16 million ids: two equal ids would need both."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What the ids of one process begin with, and its count of them."""

    process: int
    prefix: str
    numbers: count[int]


class Ids:
    """Gives ids of 32 hexadecimal digits: 16 drawn at random once a process, 10 of the moment, 6 of a count. Threads may share it.

    Drawing each id from the system costs a call into the kernel that lets other threads go first, twice in a turn of an agent. A fork
    draws anew. A process restored twice from one snapshot cannot know that, and differs in the moment: nanoseconds since the epoch.
    """

    __slots__ = ("_source",)

    def __init__(self) -> None:
        """Draw this process's random part. Not from `random`, which a user's seed would repeat."""
        self._source = _drawn()

    def __call__(self) -> str:
        """The next id."""
        source = self._source
        if source.process != os.getpid():
            source = self._source = _drawn()
        return f"{source.prefix}{(time.time_ns() & _MOMENT) << 24 | next(source.numbers) & _COUNT:016x}"


def _drawn() -> _Source:
    return _Source(os.getpid(), os.urandom(8).hex(), count())
