"""Tool results that a later one stands for: the same was read again, or says the same. They are the first to go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.calls import Message, ToolUse

__all__ = ["superseded"]

_FILES = ("file_path", "filepath", "path", "file", "filename", "file_name")
"""Arguments by which tools are told which file to read."""
_SAME = 200
"""Characters from which on two equal results are one that was shown twice, whatever they answer: short ones (`ok`) say nothing."""


def superseded(messages: Sequence[Message], begin: int, end: int) -> tuple[int, ...]:
    """Positions from `begin` to before `end` of tool results that a later one stands for, wherever that is.

    The later one answers the same tool with the same arguments, or the same tool on the same file as a whole, and did not fail; or it
    has the same text. A tool without arguments may well show something else each time (the next page), so there only the text counts.
    """
    calls = {use.id: use for message in messages for use in message.tool_uses}
    seen: set[str] = set()
    found: list[int] = []
    for position in range(len(messages) - 1, begin - 1, -1):
        message = messages[position]
        if message.role != "tool" or message.opaque:
            continue
        marks = _marks(message, calls.get(message.answers or ""))
        if position < end and not message.pinned and not seen.isdisjoint(marks.wanted):
            found.append(position)
        seen.update(marks.given)
    return tuple(reversed(found))


class _Marks:
    """What a result is recognised by (`wanted`, by any later one) and what it stands for itself (`given`)."""

    __slots__ = ("given", "wanted")

    def __init__(self, wanted: set[str], given: set[str]) -> None:
        self.wanted = wanted
        self.given = given


def _marks(message: Message, use: ToolUse | None) -> _Marks:
    same = {f"text {message.text}"} if len(message.text) >= _SAME else set[str]()
    if use is None or not use.args:
        return _Marks(same, same)
    call = {f"call {use.name} {_canonical(use.args)}"}
    files = {f"file {use.name} {path}" for path in _files(use.args)}
    given = set(same)
    if not message.failed:
        given |= call
        given |= files if len(use.args) == 1 else set()  # no range, no pattern: the whole file
    return _Marks(same | call | files, given)


def _files(args: Mapping[str, object]) -> Iterator[str]:
    for name in _FILES:
        value = args.get(name)
        if isinstance(value, str) and value:
            yield value


def _canonical(args: Mapping[str, object]) -> str:
    return json.dumps(args, sort_keys=True, default=str, ensure_ascii=False)
