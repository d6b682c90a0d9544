"""Effects of calls of one process that wait for each other: for a rate, a place in their run, or a prefix that one of them writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.flow import Effect
from governor.ledger import Hold
from governor.values import cheap

if TYPE_CHECKING:
    from governor.calls import RunRef
    from governor.slots import Slot
    from governor.warming import Ticket

__all__ = ["AwaitLead", "AwaitSlot", "FreeSlot", "LeadDone", "TakeLead", "TakeSlot", "Turn", "Wait"]


@cheap
@dataclass(frozen=True, slots=True)
class Turn(Effect[int]):
    """When it is a call's turn among those of this process that wait for the same rate, milliseconds since the epoch."""

    hold: Hold
    now_ms: int
    retry_ms: int
    """In how long there would be room if nobody waited."""
    until_ms: int
    """A turn beyond it is only told, not taken."""


@cheap
@dataclass(frozen=True, slots=True)
class Wait(Effect[bool]):
    """Let time pass, holding nothing. False, at once, where that would block an event loop."""

    ms: int


@cheap
@dataclass(frozen=True, slots=True)
class TakeSlot(Effect["Slot"]):
    """A place among the model calls that a run makes at once in this process: inside, or behind all who wait."""

    run: RunRef
    width: int | None
    """How many at once; None: any number, and then the call is only counted."""
    now_ms: int


@cheap
@dataclass(frozen=True, slots=True)
class AwaitSlot(Effect[bool]):
    """Wait until a place is inside, holding nothing else. False when `ms` have passed and it is not.

    Where that would block an event loop the call is let in at once: who is inside may need the loop.
    """

    slot: Slot
    ms: int
    now_ms: int


@cheap
@dataclass(frozen=True, slots=True)
class FreeSlot(Effect[None]):
    """Give a place back, waiting or inside. `known`, `width`: as in `Slots.free`."""

    slot: Slot
    now_ms: int
    known: bool = False
    width: int | None = None


@cheap
@dataclass(frozen=True, slots=True)
class TakeLead(Effect["Ticket"]):
    """Whether to go ahead with a prefix, or who else of this process does (`Leads.take`)."""

    key: str
    now_ms: int
    patience_ms: int


@cheap
@dataclass(frozen=True, slots=True)
class AwaitLead(Effect[bool]):
    """Wait until a prefix is written or its writer has failed. False after `ms`, and at once where that would block an event loop."""

    ticket: Ticket
    ms: int


@cheap
@dataclass(frozen=True, slots=True)
class LeadDone(Effect[None]):
    """The writer's answer began, and can be read for `lives_ms`; 0: it never will."""

    ticket: Ticket
    now_ms: int
    lives_ms: int
