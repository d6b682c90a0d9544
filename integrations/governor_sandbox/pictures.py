"""What a picture is billed at: its size, read from its bytes, and each vendor's rule, scaling down included.

Sources, as of November 2026. Claude: the vendor's page on vision (patches of 28 pixels; the largest size of the same shape whose long edge
and number of patches are within the model's limits). OpenAI: the guide "Images and vision" (tiles; patches and their multipliers), but that
a small picture is not enlarged, and the multiplier of gpt-5.2, as developers measured them. Nova: AWS's user guide on images, whose table
of examples is interpolated.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, sqrt
from typing import Protocol

__all__ = ["FETCHED", "RULES", "Rule", "picture_size"]

FETCHED = (3_000, 2_000)
"""Pixels of what is elsewhere, which the sandbox does not fetch, and of what is no picture."""


class Rule(Protocol):
    """How one model counts pictures."""

    def tokens(self, width: int, height: int, detail: str) -> int:
        """Tokens of a picture of so many pixels."""
        ...

    def page(self) -> int:
        """Tokens of the picture of a PDF's page."""
        ...


PAGE = (1_275, 1_650)
"""Pixels of a page: a letter at 150 dots an inch. An assumption."""


@dataclass(frozen=True, slots=True)
class Claude:
    """A token for each 28 pixels square, after scaling down to `most` of them and to an edge of `edge` pixels."""

    most: int
    edge: int

    def tokens(self, width: int, height: int, detail: str) -> int:
        """See the class."""
        long, short = max(width, height), min(width, height)
        for side in range(min(long, self.edge), 0, -1):
            patches = ceil(side / 28) * ceil(max(1, round(short * side / long)) / 28)
            if patches <= self.most:
                return patches
        raise AssertionError("a picture of one pixel is one patch")

    def page(self) -> int:
        """1,568 for every model: pages of Claude 5.5 were measured at no more than those of 4.5."""
        return 1_568


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of 512 pixels, after fitting a square of 2,048 and a short side of 768."""

    base: int
    tile: int

    def tokens(self, width: int, height: int, detail: str) -> int:
        """See the class."""
        if detail == "low":
            return self.base
        scale = min(Fraction(1), Fraction(2_048, max(width, height)))
        scale = min(scale, Fraction(768, min(width, height)))
        return self.base + self.tile * ceil(width * scale / 512) * ceil(height * scale / 512)

    def page(self) -> int:
        """As any picture of that size."""
        return self.tokens(*PAGE, "high")


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches of 32 pixels, at most `most`, times `hundredths`. The detail asked for changes nothing."""

    most: int
    hundredths: int

    def tokens(self, width: int, height: int, detail: str) -> int:
        """See the class."""
        patches = ceil(width / 32) * ceil(height / 32)
        if patches > self.most:
            shrink = sqrt(self.most * 32**2 / (width * height))
            across, down = width * shrink / 32, height * shrink / 32
            shrink = min(max(1, floor(across)) / across, max(1, floor(down)) / down)
            patches = min(self.most, ceil(round(across * shrink, 6)) * ceil(round(down * shrink, 6)))
        return ceil(patches * self.hundredths / 100)

    def page(self) -> int:
        """As any picture of that size."""
        return self.tokens(*PAGE, "high")


@dataclass(frozen=True, slots=True)
class Nova:
    """By area, after snapping to one of few shapes and enlarging to 900 pixels."""

    def tokens(self, width: int, height: int, detail: str) -> int:
        """See the class."""
        long, short = max(width, height), min(width, height)
        shape = min(_SHAPES, key=lambda each: abs(each - short / long))
        edge = max(900, long)
        return _interpolated(edge * edge * shape)

    def page(self) -> int:
        """As any picture of that size."""
        return self.tokens(*PAGE, "")


_SHAPES = (1, 2 / 3, *(1 / n for n in range(2, 10)))
_TABLE = ((0, 0), (405_000, 800), (810_000, 1_300), (1_260_000, 1_800), (1_620_000, 2_400), (1_690_000, 2_600))
"""Pixels and tokens of AWS's examples."""


def _interpolated(pixels: float) -> int:
    for (fewer, low), (more, high) in pairwise(_TABLE):
        if pixels <= more:
            return ceil(low + (high - low) * (pixels - fewer) / (more - fewer))
    most, tokens = _TABLE[-1]
    return ceil(pixels * tokens / most)


RULES: Mapping[str, Rule] = {
    "claude": Claude(1_568, 1_568),
    "claude-4.7": Claude(4_784, 2_576),
    "gpt-4o": Tiles(85, 170),
    "gpt-4o-mini": Tiles(2_833, 5_667),
    "gpt-5": Tiles(70, 140),
    "gpt-4.1-mini": Patches(1_536, 162),
    "gpt-4.1-nano": Patches(1_536, 246),
    "o4-mini": Patches(1_536, 172),
    "gpt-5.2": Patches(1_536, 120),
    "nova": Nova(),
}
"""By the names that `images` of a model has."""


def picture_size(raw: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, JPEG or WebP; None for anything else."""
    try:
        if raw[:4] == b"\x89PNG":
            size = struct.unpack_from(">II", raw, 16)
        elif raw[:3] == b"GIF":
            size = struct.unpack_from("<HH", raw, 6)
        elif raw[:2] == b"\xff\xd8":
            size = _jpeg(raw)
        elif raw[8:12] == b"WEBP":
            size = _webp(raw)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return (int(size[0]), int(size[1])) if size and all(size) else None


def _jpeg(raw: bytes) -> tuple[int, ...] | None:
    position = 2
    while True:
        while raw[position + 1] == 0xFF:
            position += 1
        marker, length = struct.unpack_from(">xBH", raw, position)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", raw, position + 5)
            return width, height
        position += 2 + length


def _webp(raw: bytes) -> tuple[int, ...] | None:
    name, body = raw[12:16], raw[20:]
    if name == b"VP8X":
        return tuple(1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
    if name == b"VP8L":
        (packed,) = struct.unpack_from("<I", body, 1)
        return 1 + packed % (1 << 14), 1 + (packed >> 14) % (1 << 14)
    return tuple(side % (1 << 14) for side in struct.unpack_from("<HH", body, 6)) if name == b"VP8 " else None
