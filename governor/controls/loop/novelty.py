"""What of a result has not been seen before in this run, line by line.

All fruitless repetition comes down to results that hold nothing new. Lines that were seen are kept in a Bloom filter of two generations:
a filter that has taken its fill becomes the old one and is forgotten after another, so the memory is flat over any number of steps.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from governor.loop_state import KnownLines
from governor.values import cheap

__all__ = ["SKETCH", "News", "learn"]

_BITS = 16_384
"""Bits of one generation, a power of two. With two hashes and at most `_FILL` lines in two forms, fewer than 1 line in 60 is taken
for known."""
_LAST = _BITS - 1
_FILL = 512
SKETCH = 16
"""Lines of one result that are looked at: those with the smallest hashes, so that the same lines are chosen wherever they stand."""
_NUMBER = b"\xff"
_NUMBERS = bytes(_NUMBER[0] if byte in b"0123456789" else byte for byte in range(256))
"""Digits become the byte that no text holds in UTF-8: bytes are translated at a tenth of what substituting a pattern costs."""


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
    young, earlier, old, count = _bits_of(memory.young), _bits_of(memory.old), memory.old, memory.count
    ones = [mark & _LAST for mark in chosen]
    others = [mark * 0x9E3779B1 >> 13 & _LAST for mark in chosen]
    known = [
        (young[~(one >> 3)] | earlier[~(one >> 3)]) >> (one & 7)
        & (young[~(other >> 3)] | earlier[~(other >> 3)]) >> (other & 7)
        & 1
        for one, other in zip(ones, others, strict=True)
    ]
    lines = len(chosen) // 2
    # of each line that is new, whether its shape is known
    fresh = [known[at + lines] for at in range(lines) if not known[at]]
    new = len(fresh)
    count += new
    if count > _FILL:
        young, old, count = bytearray(_BITS // 8), memory.young, lines
    for bit in {*ones, *others}:
        young[~(bit >> 3)] |= 1 << (bit & 7)
    changed = KnownLines(young=young.hex().lstrip("0"), old=old, count=count)
    return changed, News(lines=lines, new=new, new_words=fresh.count(0))


def _sketch(text: str) -> list[int]:
    """The lines that are looked at: the hashes of all of them, then those of their shapes, in which every number is the same."""
    lines = "\n".join(filter(None, map(str.strip, _parts(text.lower())))).encode("utf-8", "surrogatepass").split(b"\n")
    if lines == [b""]:
        return []
    marked = dict(zip(map(zlib.crc32, lines), lines, strict=True))
    marks = sorted(marked)[:SKETCH]
    shapes = b"\n".join([marked[mark] for mark in marks]).translate(_NUMBERS)
    while _NUMBER * 2 in shapes:
        shapes = shapes.replace(_NUMBER * 2, _NUMBER)
    return [*marks, *map(zlib.crc32, shapes.replace(_NUMBER, b"#").split(b"\n"))]


def _parts(text: str) -> list[str]:
    """Lines; of JSON its items; of a text in one piece its sentences."""
    if text[:1] in ("{", "["):
        return text.replace(",", "\n").split("\n")
    lines = text.split("\n")
    return lines if len(lines) > 2 else text.replace(". ", ".\n").replace("; ", ";\n").split("\n")


def _bits_of(number: str) -> bytearray:
    """A filter's bytes, the highest first: bit n is in the byte that is n // 8 from the end."""
    return bytearray.fromhex(number.zfill(_BITS // 4))
