"""What of a text is an identifier or a value: what later calls take from earlier messages."""

from __future__ import annotations

import re

__all__ = ["LONGEST", "NOISE", "is_atom", "runs_of"]

LONGEST = 80
"""Characters of the longest value."""

_RUN = re.compile(r"https?://[^\s\"'<>)\]}`]+|[\w#@./+~-]{4,}")
_ATOM = re.compile(
    r"""https?://.{4,}                            # URL
    | [^@]+@[^@]+\.[^@]+                          # e-mail
    | \#\w*\d\w*                                  # order number
    | (?=.*[A-Za-z].*[A-Za-z].*[A-Za-z]).*/.*     # path
    | \d{4,} | \d{4}-\d\d-\d\d.*                  # number, date
    | .*[A-Za-z0-9][._-][A-Za-z0-9].*             # dotted, snake, kebab
    | .*[a-z][A-Z].*                              # camelCase
    | (?=.*\d)(?=.*[A-Za-z])\w{6,}                # letters and digits mixed
    """,
    re.VERBOSE,
)
NOISE = frozenset({"true", "false", "none", "null", "python", "utf-8"})


def runs_of(text: str) -> list[str]:
    """Runs of characters that identifiers are made of, without the punctuation of a sentence around them, as often as they occur."""
    return [run.rstrip(".,:;-/+~").lstrip("-+") for run in _RUN.findall(text)]


def is_atom(run: str) -> bool:
    """Whether a run is an identifier or a value: an address, a path, an id, a date, a number, a name of code."""
    return 4 <= len(run) <= LONGEST and _ATOM.fullmatch(run) is not None and run.lower() not in NOISE
