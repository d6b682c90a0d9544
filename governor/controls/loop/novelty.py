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
    young, old, count = _bits_of(memory.young), memory.old, memory.count
    known = _united(young, _bits_of(old)) if old else bytes(young)
    new = new_words = 0
    places: list[tuple[int, int, int, int]] = []
    for mark, shape in chosen:
        exact = like = _places(mark)
        if shape != mark:
            like = _places(shape)
            places.append(like)
        places.append(exact)
        if not _holds(known, exact):
            new += 1
            new_words += not _holds(known, like)
    count += new
    if count > _FILL:
        young, old, count = bytearray(_BITS // 8), memory.young, len(chosen)
    for at, bit, other_at, other_bit in places:
        young[at] |= bit
        young[other_at] |= other_bit
    changed = KnownLines(young=young.hex().lstrip("0"), old=old, count=count)
    return changed, News(lines=len(chosen), new=new, new_words=new_words)


def _sketch(text: str) -> list[tuple[int, int]]:
    """The lines that are looked at: the hash of each, and the hash of its shape, in which every number is the same."""
    lines = "\n".join(filter(None, map(str.strip, _parts(text.lower())))).encode("utf-8", "surrogatepass").split(b"\n")
    if lines == [b""]:
        return []
    marked = dict(zip(map(zlib.crc32, lines), lines, strict=True))
    marks = sorted(marked)[:SKETCH]
    shapes = b"\n".join([marked[mark] for mark in marks]).translate(_NUMBERS)
    while _NUMBER * 2 in shapes:
        shapes = shapes.replace(_NUMBER * 2, _NUMBER)
    shaped = shapes.replace(_NUMBER, b"#").split(b"\n")
    return list(zip(marks, map(zlib.crc32, shaped), strict=True))


def _parts(text: str) -> list[str]:
    """Lines; of JSON its items; of a text in one piece its sentences."""
    if text[:1] in ("{", "["):
        return text.replace(",", "\n").split("\n")
    lines = text.split("\n")
    return lines if len(lines) > 2 else text.replace(". ", ".\n").replace("; ", ";\n").split("\n")


def _bits_of(number: str) -> bytearray:
    """A filter's bytes, the highest first: bit n is in the byte that is n // 8 from the end."""
    return bytearray.fromhex(number.zfill(_BITS // 4))


def _united(young: bytearray, old: bytearray) -> bytes:
    return (int.from_bytes(young, "big") | int.from_bytes(old, "big")).to_bytes(len(young), "big")


def _places(mark: int) -> tuple[int, int, int, int]:
    """The two bits of a hash: where each one's byte is, and which it is in there."""
    one, other = mark & (_BITS - 1), (mark * 0x9E3779B1 >> 13) & (_BITS - 1)
    return ~(one >> 3), 1 << (one & 7), ~(other >> 3), 1 << (other & 7)


def _holds(bits: bytes, places: tuple[int, int, int, int]) -> bool:
    at, bit, other_at, other_bit = places
    return bool(bits[at] & bit and bits[other_at] & other_bit)
