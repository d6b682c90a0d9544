"""The sandbox's own tokenizer: deterministic, offline, about four characters per token.

It is nobody's real vocabulary. It only has to be independent of the estimator it is used to check, and *exact*: pieces
concatenate to the text they came from, so a reply can be cut after any number of tokens, and counts add up over blocks.

One token is a run of up to six Latin letters with the space before it, up to three digits, up to two punctuation marks,
a run of blanks or of line breaks, or any other single character (so one per CJK character).
"""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = re.compile(
    r" ?[A-Za-z\u00C0-\u024F]{1,6}"  # most English words with their space; long words take two or three
    r"|[0-9]{1,3}"
    r"|\n+"
    r"|[^\S\n]+"
    r"|[^\w\s]{1,2}"
    r"|.",
    re.DOTALL,
)


_SHORT_CHARS = 20_000
"""Longer texts are counted anew each time: remembering many of them would fill the memory of a long run."""


def pieces(text: str) -> tuple[str, ...]:
    """Split text into its tokens; joining them gives the text back."""
    return tuple(_TOKEN.findall(text))


def count(text: str) -> int:
    """How many tokens the text is billed at."""
    return _count_short(text) if len(text) <= _SHORT_CHARS else len(_TOKEN.findall(text))


@lru_cache(maxsize=2048)
def _count_short(text: str) -> int:
    """An agent sends the same history again with every call."""
    return len(_TOKEN.findall(text))
