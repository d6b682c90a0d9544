"""Content words as fingerprints: whether two texts ask for the same thing, at a few bytes a word.

A set of words is a string of four hex digits a word, so that it can be kept in any store and says nothing about the text. Words are
lower-cased, stripped of common endings, and function words are left out.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from governor.values import cheap

__all__ = ["NOTHING", "Words", "contained", "pack", "similar", "unpack", "words_of", "words_of_args"]

_MAX_CHARACTERS = 1_600
"""Read from the start of a text: a task is said in its first sentences, and what a step costs must not grow with what it says."""
_MAX_WORDS = 64
_WIDTH = 4
_LONG_NUMBER = 1_024  # bits: Python writes no whole number of more than 4,300 digits

_WORD = re.compile(r"[^\W_]+(?:[._'-][^\W_]+)*")
_DIGIT = re.compile(r"[0-9]")
_ENDINGS = (
    *("ization", "isation", "ations", "ation", "ings", "ing", "edly", "ed"),
    *("ies", "ers", "er", "es", "s", "ly", "e"),
)
_FUNCTION_WORD_LIST = """
a about all also am an and any are as at be been but by can could did do does for from had has have he her here his how i if in into is
it its just let may me more most my no not now of on one or our out please she should so some than that the their them then there these
they this those to up us was we were what when where which who will with would you your i'd i'll i'm i've let's we'd we'll we're we've
it's that's there's don't doesn't didn't can't won't isn't
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())
_PLAIN, _CAPITAL, _NUMBER = 0, 1, 2
_SENTENCE_ENDS = frozenset(".!?:;-*#\n")


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The content words of one text."""

    all: frozenset[str]
    named: frozenset[str]
    """Those that name something: numbers, and words with a capital inside a sentence. A new one is a new thing to ask about."""


NOTHING = Words(all=frozenset(), named=frozenset())


def words_of(text: str) -> Words:
    """The content words of `text`."""
    found: set[str] = set()
    named: set[str] = set()
    shown = text[:_MAX_CHARACTERS]
    for match in _WORD.finditer(shown):
        mark, names = _mark(match.group())
        if not mark:
            continue
        found.add(mark)
        if names == _NUMBER or (names == _CAPITAL and _inside_sentence(shown, match.start())):
            named.add(mark)
        if len(found) >= _MAX_WORDS:
            break
    return Words(all=frozenset(found), named=frozenset(named))


def words_of_args(args: Mapping[str, object]) -> Words:
    """The content words of a call's arguments, values only: the names are the tool's, not the model's."""
    return words_of(" ".join(_flat(args.values(), 3)))


def _flat(values: Iterable[object], depth: int) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value[:400]
        elif isinstance(value, (int, float)):
            yield str(value)[:40] if isinstance(value, float) or value.bit_length() <= _LONG_NUMBER else "number"
        elif isinstance(value, Mapping) and depth:
            yield from _flat(cast("Mapping[object, object]", value).values(), depth - 1)
        elif isinstance(value, (list, tuple)) and depth:
            yield from _flat(cast("list[object]", value)[:32], depth - 1)


@lru_cache(maxsize=8_192)
def _mark(word: str) -> tuple[str, int]:
    """A word's fingerprint, empty for words that say nothing, and whether it may name something.

    Remembered, since agents say the same few words all day.
    """
    shown = word.lower()
    if shown in _FUNCTION_WORDS or (len(word) == 1 and not word.isdigit()):
        return "", _PLAIN
    names = _NUMBER if _DIGIT.search(word) else _CAPITAL if word[0].isupper() else _PLAIN
    if shown.endswith("'s"):
        shown = shown[:-2]
    for ending in _ENDINGS:
        if shown.endswith(ending) and len(shown) - len(ending) >= 3:
            shown = shown[: -len(ending)]
            break
    return f"{zlib.crc32(shown.encode('utf-8', 'surrogatepass')) & 0xFFFF:04x}", names


def _inside_sentence(text: str, at: int) -> bool:
    """Whether the character at `at` does not begin a sentence, a line or an item of a list."""
    before = at - 1
    while before >= 0 and text[before] in " \t\"'([{<":
        before -= 1
    return before >= 0 and text[before] not in _SENTENCE_ENDS


def pack(words: Iterable[str], most: int) -> str:
    """A set of words as one string, at most `most` of them (the smallest, so that equal sets stay equal)."""
    return "".join(sorted(words)[:most])


@lru_cache(maxsize=1_024)
def unpack(packed: str) -> frozenset[str]:
    """The inverse of `pack`; remembered, since a state's texts are compared with each new one."""
    return frozenset(packed[at : at + _WIDTH] for at in range(0, len(packed), _WIDTH))


def similar(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity: shared words as a share of all words; 0 when either says nothing."""
    return len(one & other) / len(one | other) if one and other else 0.0


def contained(one: frozenset[str], other: frozenset[str]) -> float:
    """Overlap coefficient: shared words as a share of the shorter text's; 0 when either says nothing."""
    return len(one & other) / min(len(one), len(other)) if one and other else 0.0
