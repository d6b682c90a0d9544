"""What of a result has not been seen before in this run, line by line.

All fruitless repetition comes down to results that hold nothing new. Lines that were seen are kept in a Bloom filter of two generations:
a filter that has taken its fill becomes the old one and is forgotten after another, so the memory is flat over any number of steps.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from governor.loop_state import KnownLines
from governor.values import cheap

__all__ = ["SKETCH", "News", "learn"]

_BITS = 16_384
"""Bits of one generation; with two hashes and at most `_FILL` lines in two forms, fewer than 1 line in 60 is taken for known."""
_FILL = 512
SKETCH = 16
"""Lines of one result that are looked at: those with the smallest hashes, so that the same lines are chosen wherever they stand."""
_DIGITS = re.compile(r"[0-9]+")
_PARTS_OF_JSON = re.compile(r"[\n,]")
_SENTENCES = re.compile(r"\n|(?<=[.;]) ")


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a result told that was not known."""

    lines: int
    """Lines looked at."""
    new: int
    """Of these, lines that were not seen before."""
    new_words: int
    """Of the new, those that differ from every known line in more than their digits."""

    @property
    def share(self) -> float:
        """New lines as a share of all."""
        return self.new / self.lines if self.lines else 0.0


def learn(memory: KnownLines, text: str) -> tuple[KnownLines, News]:
    """Look at a (masked) result, and remember its lines."""
    chosen = _sketch(text)
    if not chosen:
        return memory, News(lines=0, new=0, new_words=0)
    young, old = int(memory.young or "0", 16), int(memory.old or "0", 16)
    known, new, new_words, bits = young | old, 0, 0, 0
    for mark, line in chosen:
        exact = _bits(mark)
        shape = (
            exact
            if (plain := _DIGITS.sub("#", line)) == line
            else _bits(zlib.crc32(plain.encode("utf-8", "surrogatepass")))
        )
        bits |= exact | shape
        if known & exact != exact:
            new += 1
            new_words += known & shape != shape
    count = memory.count + new
    young |= bits
    if count > _FILL:
        young, old, count = bits, young, len(chosen)
    changed = KnownLines(young=f"{young:x}", old=f"{old:x}" if old else "", count=count)
    return changed, News(lines=len(chosen), new=new, new_words=new_words)


def _sketch(text: str) -> list[tuple[int, str]]:
    seen: dict[int, str] = {}
    for part in _parts(text):
        line = part.strip().lower()
        if line:
            seen[zlib.crc32(line.encode("utf-8", "surrogatepass"))] = line
    return sorted(seen.items())[:SKETCH]


def _parts(text: str) -> list[str]:
    """Lines; of JSON its items; of a text in one piece its sentences."""
    if text[:1] in ("{", "["):
        return _PARTS_OF_JSON.split(text)
    lines = text.split("\n")
    return lines if len(lines) > 2 else _SENTENCES.split(text)


def _bits(mark: int) -> int:
    return (1 << (mark % _BITS)) | (1 << ((mark * 0x9E3779B1 >> 13) % _BITS))
