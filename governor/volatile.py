"""Lines of a system text that change from call to call: the clock, the date, the id of a session or request.

Only a line that says nothing else is taken, by its label and its value, so that what stays and what goes can be read apart. Which lines
those are depends on the text alone: the rest has the same bytes in every call, from the first on.
"""

from __future__ import annotations

import re

__all__ = ["parted"]

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


def parted(text: str) -> tuple[str, str]:
    """The text without such lines, and these lines. Nothing is taken of a text that would be left with nothing."""
    lines = text.split("\n")
    moves = [len(line) <= _LONGEST and _LABELLED.fullmatch(line) is not None for line in lines]
    if not any(moves):
        return text, ""
    stays = "\n".join([line for line, goes in zip(lines, moves, strict=True) if not goes])
    if not stays.strip():
        return text, ""
    return stays, "\n".join([line.strip() for line, goes in zip(lines, moves, strict=True) if goes])
