"""Lines of a system text that change from call to call: the clock, the date, an id, what is left of a budget, retrieved passages.

A line is taken out of its text once it was seen to change while the rest did not, and from then on: what stays has the same bytes in every
call, what goes is sent at the tail. The first text of a lane is sent as it is, and so is one of which more than half changed, which is
another prompt. What was seen is a value (`Steady`) that is kept with the lane, so that the next process goes on in the same way.

Lines that say nothing but the time, the date or an id (`parted`) are told by their form as well: where they differ from one conversation of
a node to the next, later conversations begin without them.
"""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from governor.runs import Steady
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Steadied", "apart_by_form", "parted", "steadied"]

_MOST = 1_000
"""Lines of a text that is looked at: what is remembered of it, four characters a line, goes into the run's state."""
_COMPARED = 300
"""Lines that are compared one by one, between those with which two texts begin and end alike."""
_ANCHOR = 20
"""Characters that lines between two changed ones must have to be taken for text that stays: a blank line or a bracket is in any text."""
_MARK = 4
"""Characters of a line's mark: 24 bits of its checksum. Two lines with one mark are taken for the same once in 17 million."""
_HEADING = re.compile(r"#.*|<[\w-][^<>]*>|.*[:：]")
"""A line that says what the lines below it are: it stays, and is repeated above them at the tail."""
_LONGEST = 120
"""Characters of such a line. One that says more than a label and a value is left where it is."""
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?:\s*[ap]\.?m\.?)?"
_DATE = rf"(?:\d{{4}}-\d\d-\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|\d{{1,2}}\.? {_MONTH},? \d{{4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
_ZONE = r"(?:\s*(?:z|utc|gmt|[a-z]{3,4}|[+-]\d\d:?\d\d|\([\w/+ -]{1,30}\)))?"
_MOMENT = rf"(?:[a-z]{{3,9}},? )?(?:{_DATE}(?:[t ,]+(?:at )?{_CLOCK})?|{_CLOCK}|\d{{10}}(?:\d{{3}})?){_ZONE}"
_ID = r"(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?=[\w-]*\d)[\w-]{6,64})"
_LABELLED = re.compile(
    r"[\s>*#-]*(?:\*\*)?(?:"
    rf"(?:the )?(?:current|today'?s?|present|local) (?:(?:local )?(?:date|time|day|datetime|timestamp)|date and time)"
    rf"(?: \([^)]{{1,30}}\))?(?:\*\*)?"
    rf"\s*(?:is|:|=)(?:\*\*)?\s*{_MOMENT}"
    rf"|(?:today|now|the time|the date|the day|date|time|datetime|timestamp)(?:\*\*)?\s*(?:is|:|=)(?:\*\*)?\s*{_MOMENT}"
    rf"|(?:the )?(?:session|request|trace|run|correlation|conversation)[ _-]?id(?:\*\*)?\s*(?:is|:|=)(?:\*\*)?\s*{_ID}"
    r")[.\s]*",
    re.IGNORECASE,
)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Steadied:
    """A text in two: lines that stay, and lines that are sent at the tail."""

    stays: str
    goes: tuple[str, ...]
    """The other lines, word for word. Put back where they were they make the text."""
    told: str
    """The same as the tail has them, below what says what they are."""
    seen: Steady
    """What the next text is compared with."""


def steadied(text: str, seen: Steady | None) -> Steadied:
    """The text in two, by what was `seen` of the ones before it; None: it is the first."""
    lines = text.split("\n")
    marks = _marks_of(lines) if len(lines) <= _MOST else []
    if seen is None:
        return _whole(text, Steady(lines="".join(marks)))
    known = _marks_in(seen.lines)
    if not seen.apart and known == marks:
        return _whole(text, seen)
    moves = _moves(known, marks) if seen.apart else None
    if moves is not None:
        return _in_two(lines, moves, seen)
    stay = _common(known, marks, lines)
    moves = _moves(stay, marks)
    now = Steady(lines="".join(stay), apart=True, changes=seen.changes + 1)
    if moves is not None and 2 * len(stay) >= len(known):
        two = _in_two(lines, moves, now)
        if two.stays.strip() and 2 * sum(map(len, two.goes)) <= len(text):
            return two
    return _whole(text, Steady(lines="".join(marks), changes=seen.changes + 1))


def apart_by_form(text: str) -> Steady:
    """What to have seen of a text whose lines that only tell the time, the date or an id are known to change."""
    return Steady(lines="".join(_marks_of(parted(text)[0].split("\n"))), apart=True)


def parted(text: str) -> tuple[str, str]:
    """The text without lines that say nothing but the time, the date or an id, and these lines.

    Nothing is taken of a text that would be left with nothing.
    """
    lines = text.split("\n")
    moves = [len(line) <= _LONGEST and _LABELLED.fullmatch(line) is not None for line in lines]
    if not any(moves):
        return text, ""
    stays = "\n".join([line for line, goes in zip(lines, moves, strict=True) if not goes])
    if not stays.strip() or len(lines) > _MOST:
        return text, ""
    return stays, "\n".join([line.strip() for line, goes in zip(lines, moves, strict=True) if goes])


def _whole(text: str, seen: Steady) -> Steadied:
    return Steadied(stays=text, goes=(), told="", seen=seen)


def _in_two(lines: Sequence[str], moves: Sequence[bool], seen: Steady) -> Steadied:
    goes, told, heading = list[str](), list[str](), ""
    for line, moved in zip(lines, moves, strict=True):
        if not moved:
            heading = line if line.strip() else heading
            continue
        goes.append(line)
        if line.strip():
            if len(heading) <= _LONGEST and _HEADING.fullmatch(heading.strip()):
                told.append(heading)
            heading = ""  # once, above the first of them
            told.append(line)
    stays = "\n".join([line for line, moved in zip(lines, moves, strict=True) if not moved])
    return Steadied(stays=stays, goes=tuple(goes), told="\n".join(told), seen=seen)


def _marks_of(lines: Sequence[str]) -> list[str]:
    sums = [zlib.crc32(line.encode("utf-8", "surrogatepass")) & 0xFF_FFFF for line in lines]
    return _marks_in(base64.b64encode(b"".join([sum_.to_bytes(3, "big") for sum_ in sums])).decode())


def _marks_in(marks: str) -> list[str]:
    return [marks[at : at + _MARK] for at in range(0, len(marks), _MARK)]


def _moves(stay: Sequence[str], marks: Sequence[str]) -> list[bool] | None:
    """Of each line whether it goes, when those that stay are all there, in their order; None when they are not."""
    moves, at = [True] * len(marks), 0
    for position, mark in enumerate(marks):
        if at < len(stay) and stay[at] == mark:
            moves[position] = False
            at += 1
    return moves if at == len(stay) else None


def _common(before: Sequence[str], after: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Marks of the lines that two texts share, in their order. `lines`: those of the second."""
    most = min(len(before), len(after))
    head = next((at for at in range(most) if before[at] != after[at]), most)
    most -= head
    tail = next((at for at in range(most) if before[-1 - at] != after[-1 - at]), most)
    was, now = before[head : len(before) - tail], after[head : len(after) - tail]
    shared: list[str] = []
    if max(len(was), len(now)) <= _COMPARED:
        for block in SequenceMatcher(None, was, now, autojunk=False).get_matching_blocks():
            found = range(head + block.b, head + block.b + block.size)
            if sum([len(lines[at].strip()) for at in found]) >= _ANCHOR:
                shared += after[found.start : found.stop]
    return [*after[:head], *shared, *after[len(after) - tail :]]
