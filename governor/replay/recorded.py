"""A recorded run in the words of the core, whichever format it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from governor.calls import Message, ModelRef, ToolUse
from governor.errors import ConfigurationError
from governor.usage import Usage

__all__ = ["UNKNOWN_MODEL", "Called", "Entered", "Event", "Ran", "Recorded", "TraceError", "Traces", "Turn"]

UNKNOWN_MODEL = ModelRef(provider="unknown", model="unknown")


class TraceError(ConfigurationError):
    """A place in a file of recorded runs that cannot be read. Everything else in the file is read all the same."""

    def __init__(self, message: str, *, file: str, line: int | None = None, remedy: str = "") -> None:
        """Keep the parts as attributes, so that tools need not parse the text. `line` counts from 1; None is the file as a whole."""
        self.message = message
        self.file = file
        self.line = line
        self.remedy = remedy
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{place}: {message}.{' ' if remedy else ''}{remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One tool call that a model asked for, with what came of it."""

    use: ToolUse
    result: str | None = None
    """None when the record holds no result: the call was not made, or the run ended before."""
    failed: bool = False
    at_ms: int | None = None
    """When the result was there, milliseconds since the epoch; None when the record does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One model call: what it was shown is every message before it, what it answered is `message`."""

    number: int
    """Of the recorded message in its run, from 1."""
    message: Message
    calls: tuple[Called, ...] = ()
    answers: tuple[Message, ...] = ()
    """The results as messages of the history."""
    model: ModelRef | None = None
    node: str = ""
    """Who spoke, where the record names it."""
    usage: Usage | None = None
    at_ms: int | None = None
    before_ms: int | None = None
    """When the call began: when the message before it was there, or as a span says."""
    invalid: bool = False
    """Some tool call's arguments did not parse."""
    finish: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A tool call of a record without content: its name and its times."""

    number: int
    name: str
    node: str
    failed: bool
    before_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A node that began (`left` False) or ended."""

    number: int
    node: str
    path: str
    ns: str
    depth: int
    at_ms: int
    left: bool = False


Event: TypeAlias = Message | Turn | Ran | Entered
"""A `Message` is what a person or the system said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One run, in the order in which it happened."""

    name: str
    file: str
    line: int
    """Where it begins in its file, from 1."""
    events: tuple[Event, ...]
    content: bool = True
    """Whether the record holds what was said. Spans do not: neither arguments nor results."""
    thread: str | None = None
    tools: tuple[tuple[str, str], ...] | None = None
    """Name and description (as JSON) of each tool that was offered, where the record says."""
    scopes: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict[str, "str | int | float | bool"])
    """What else the record says of the run as a whole, such as `reward` or `metadata.resolved`."""
    remarks: tuple[str, ...] = ()
    """What could not be used of the record, as sentences."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Its model calls."""
        return tuple(event for event in self.events if isinstance(event, Turn))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What was read of one file."""

    runs: tuple[Recorded, ...]
    errors: tuple[TraceError, ...] = ()
