"""Where two texts differ, and what kind of thing it is that differs: a time, a date, an id, a number."""

from __future__ import annotations

import re
from dataclasses import dataclass

from governor.values import cheap

__all__ = ["Difference", "difference"]

_SHOWN = 60
"""Characters of an excerpt."""
_REACH = 40
"""Characters around the first difference in which the whole word is looked for."""
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an id", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)),
    ("a date and time", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d?:\d\d(?::\d\d(?:\.\d+)?)?")),
    ("a date", re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}")),
    ("a time of day", re.compile(r"\d{1,2}:\d\d(?::\d\d)?")),
    ("an id", re.compile(r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{8,}")),
    ("a number", re.compile(r"\d")),
)
"""The first that is found in both words names what differs."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where a text is not what it was."""

    at: int
    """Characters that both begin with."""
    kind: str
    """What stands there: `a time of day`, `text`, `more text` when the one goes on where the other ends."""
    before: str
    after: str
    """Excerpts from the word in which they differ."""


def difference(before: str, after: str) -> Difference:
    """Compare two texts that are not the same."""
    at = _common(before, after)
    if at == min(len(before), len(after)):
        kind = "more text" if len(after) > len(before) else "less text"
        return Difference(at=at, kind=kind, before=before[at : at + _SHOWN], after=after[at : at + _SHOWN])
    begin = max(before.rfind(mark, max(0, at - _REACH), at) for mark in " \n\t") + 1
    begin = begin or max(0, at - _REACH)
    return Difference(
        at=at,
        kind=_kind(before[begin : at + _REACH], after[begin : at + _REACH], at - begin),
        before=before[begin : begin + _SHOWN],
        after=after[begin : begin + _SHOWN],
    )


def _common(before: str, after: str) -> int:
    """How many characters both begin with, compared by halves and not one by one."""
    low, high = 0, min(len(before), len(after))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if before[low:middle] == after[low:middle] else (low, middle - 1)
    return low


def _kind(before: str, after: str, at: int) -> str:
    for kind, pattern in _KINDS:
        if _covers(pattern, before, at) and _covers(pattern, after, at):
            return kind
    return "text"


def _covers(pattern: re.Pattern[str], text: str, at: int) -> bool:
    """Whether what the pattern finds includes the place."""
    return any(found.start() <= at < found.end() for found in pattern.finditer(text))
