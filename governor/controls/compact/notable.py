"""What of a long result is worth a line of its own when its middle is left out: reports of errors, definitions of code, rows of a table."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from governor.controls.compact.atoms import is_atom, runs_of
from governor.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Table", "definitions", "error_lines", "names", "table_of"]

_LINE = 160
"""Longest quoted line, characters."""

_ERROR = re.compile(
    r"\b(?:\w*error|\w*exception|traceback|fatal|fail(?:ed|ures?)?|panic|denied|time(?:d )?out)\b", re.IGNORECASE
)
_DEFINITION = re.compile(
    r"^[ \t]*(?:\d+[:\t|-][ \t]*)?"  # a line number, as editors and grep put it
    r"(?:(?:export|public|private|protected|static|abstract|final|async|pub(?:\([a-z]+\))?|default|inline|unsafe|const)[ \t]+)*"
    r"(?:def|class|function|func|fn|interface|struct|enum|trait|impl|module|namespace|type|CREATE TABLE)[ \t]+[\w$.<>:\[\]*&]+[^\n]*",
    re.MULTILINE,
)
_FEWEST_DEFINITIONS = 3
"""From so many on a text is code: prose says `class` or `type` now and then."""
_FEWEST_NAMES, _MOST_NAMES = 8, 200
"""Fewer are no list worth a line. Of more than so many each is needed too rarely to pay for its place: at cuts of recorded runs, a value
from a result with over 160 of them was needed again a tenth as often as one from a result with 80."""
_NAMES_READ = 100_000
"""Characters read for names: what is longer has too many of them, or says the same again."""
_NAME_COSTS = 8
"""Characters that a name costs beside its own, as an entry of the ledger does."""
_SEPARATORS = ("|", "\t", ",", ";")
_FEWEST_ROWS = 12
_SAMPLE = 200
_RULE = re.compile(r"[\s|:+=-]+")


def error_lines(text: str, start: int, stop: int, tokens: int) -> list[str]:
    """Distinct lines between two positions that report errors, oldest first, as many as fit."""
    found: dict[str, None] = {}
    left = tokens
    position = start
    while left > 0 and (match := _ERROR.search(text, position, stop)):
        begin = max(text.rfind("\n", 0, match.start()) + 1, match.start() - _LINE // 2, start)
        end = text.find("\n", match.end(), begin + _LINE)
        line = text[begin : end if end >= 0 else min(begin + _LINE, stop)].strip()
        position = max(match.end(), begin + len(line))
        left -= estimate(line) + 1
        if line in found or left < 0:
            continue
        found[line] = None
    return list(found)


def definitions(text: str, start: int, stop: int, tokens: int) -> list[str]:
    """Lines between two positions that define something (functions, classes, types), in order, as many as fit; none if it is no code."""
    found: list[str] = []
    left = tokens
    for match in _DEFINITION.finditer(text, start, stop):
        line = match.group().rstrip()[:_LINE]
        left -= estimate(line) + 1
        if left < 0:
            break
        found.append(line)
    return found if len(found) >= _FEWEST_DEFINITIONS else []


def names(text: str, shown: str, tokens: int) -> str:
    """Identifiers of a text that what is shown of it does not hold, most frequent for their length first, as many as fit, in one line.

    They are what is asked for next, by name, when a file or an answer was read: of 305 values that calls of recorded runs took from what
    was left out, 150 tokens of names hold half.
    """
    held = set(runs_of(shown))
    counts = Counter(run for run in runs_of(text[:_NAMES_READ]) if run not in held)
    found = [run for run in counts if is_atom(run)]
    if not _FEWEST_NAMES <= len(found) <= _MOST_NAMES:
        return ""
    found.sort(key=lambda run: (-counts[run] / (_NAME_COSTS + len(run)), run))
    listed: list[str] = []
    for name in found:
        cost = estimate(f" {name}")
        if cost <= tokens:
            listed.append(name)
            tokens -= cost
    return " ".join(listed)


class Table:
    """Rows of one shape below a heading."""

    __slots__ = ("before", "heading", "rows")

    def __init__(self, before: list[str], heading: list[str], rows: list[str]) -> None:
        """`before`: lines above the heading."""
        self.before, self.heading, self.rows = before, heading, rows

    def shown(self, tokens: int, pointer: str) -> str:
        """Heading, first and last rows and how many are between, within so many tokens."""
        fixed = [*self.before, *self.heading]
        left = tokens - sum(map(estimate, fixed))
        first, last = list(_fitting(self.rows, left * 2 // 3)), list(_fitting(reversed(self.rows), left // 3))
        first = first[: len(self.rows) - len(last)]
        out = len(self.rows) - len(first) - len(last)
        counted = f"[... {out:,} of {len(self.rows):,} rows left out]"
        return "\n".join([*fixed, *first, counted, *reversed(last), pointer])


def _fitting(rows: Iterator[str] | list[str] | reversed[str], tokens: int) -> Iterator[str]:
    for row in rows:
        tokens -= estimate(row) + 1
        if tokens < 0:
            return
        yield row


def table_of(text: str) -> Table | None:
    """The table that a result is; None when it is none. Lines of another shape may stand above it, not below."""
    lines = text.rstrip("\n").split("\n")
    if len(lines) < _FEWEST_ROWS:
        return None
    for separator in _SEPARATORS:
        sample = lines[-_SAMPLE:]
        counts = [line.count(separator) for line in sample]
        columns = max(set(counts), key=counts.count)
        if columns < 1 + (separator == ",") or counts.count(columns) < 0.9 * len(sample):
            continue
        begin = next(at for at, line in enumerate(lines) if line.count(separator) == columns)
        if begin > len(lines) // 4:
            continue
        rule = begin + 1 < len(lines) and _RULE.fullmatch(lines[begin + 1]) is not None
        body = begin + 1 + rule
        return Table(lines[:begin], lines[begin:body], lines[body:])
    return None
