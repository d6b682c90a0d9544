"""Who writes a cached prefix first: of calls that begin together with one prefix, one goes ahead and the others may wait to read it.

A provider makes a prefix readable when the first answer to it begins; until then everybody pays for writing it. Nothing here waits: whoever
does asks now and then, so that a first call that is slow or fails holds nobody for longer than they chose to wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Leads", "Ticket"]

_MOST = 4_096
"""Prefixes remembered. Beyond it those that are cold are forgotten, then all that nobody writes."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One call's part: it goes ahead and writes, or may wait for who does, or neither."""

    key: str
    leads: bool = False
    waits: bool = False
    """Whether another call is writing the prefix right now."""
    wake: Callable[[], None] | None = None
    """What the driver that waits wants to have called when that is over, from whatever thread."""


@dataclass(slots=True)
class _Prefix:
    until_ms: int = 0
    """Until when it can be read."""
    writer: Ticket | None = None
    since_ms: int = 0
    waiting: list[Ticket] = field(default_factory=list[Ticket])


class Leads:
    """The prefixes that calls of this process write. Thread-safe."""

    def __init__(self) -> None:
        """Nothing is written."""
        self._lock = Lock()
        self._prefixes: dict[str, _Prefix] = {}

    def take(self, key: str, now_ms: int, patience_ms: int) -> Ticket:
        """Go ahead when nobody writes the prefix, neither when it can be read already or its writer is slow, else wait."""
        ticket = Ticket(key)
        with self._lock:
            prefix = self._prefixes.get(key)
            if prefix is None:
                self._forget(now_ms)
                prefix = self._prefixes[key] = _Prefix()
            if prefix.until_ms > now_ms:
                return ticket
            if prefix.writer is None:
                prefix.writer, prefix.since_ms, ticket.leads = ticket, now_ms, True
            elif now_ms - prefix.since_ms < patience_ms:
                ticket.waits = True
                prefix.waiting.append(ticket)
        return ticket

    def over(self, ticket: Ticket) -> bool:
        """Whether a call that waits need not any more: the prefix was written, or its writer failed."""
        with self._lock:
            return not ticket.waits

    def give_up(self, ticket: Ticket) -> None:
        """A call waits no longer."""
        with self._lock:
            prefix = self._prefixes.get(ticket.key)
            ticket.waits = False
            if prefix is not None and ticket in prefix.waiting:
                prefix.waiting.remove(ticket)

    def done(self, ticket: Ticket, now_ms: int, *, lives_ms: int) -> None:
        """The writer's answer began (`lives_ms`: for how long it can be read), or never will (0). A second time changes nothing."""
        with self._lock:
            prefix = self._prefixes.get(ticket.key)
            if prefix is None or prefix.writer is not ticket:
                return
            prefix.writer, prefix.until_ms = None, now_ms + lives_ms
            woken, prefix.waiting = prefix.waiting, []
            for each in woken:
                each.waits = False
        for each in woken:
            if each.wake is not None:
                each.wake()

    def _forget(self, now_ms: int) -> None:
        if len(self._prefixes) >= _MOST:
            warm = {key: each for key, each in self._prefixes.items() if each.writer or each.until_ms > now_ms}
            self._prefixes = warm if len(warm) < _MOST else {key: each for key, each in warm.items() if each.writer}
