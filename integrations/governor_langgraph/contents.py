"""The bytes behind a content block, decoded no further than somebody reads: a picture's size is in its first bytes."""

from __future__ import annotations

import base64
import binascii
import string
from dataclasses import dataclass

__all__ = ["Contents", "contents_of"]

_ALPHABET = (string.ascii_letters + string.digits + "+/-_").encode()
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in _ALPHABET)
"""Line breaks, padding and whatever else stands between the digits of base64."""
_STANDARD = bytes.maketrans(b"-_", b"+/")
_LONGEST_HEADER = 300
"""Characters of a data URL before its contents (`data:application/pdf;name=...;base64,`)."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Bytes, or base64 that was not decoded yet."""

    held: bytes | str
    start: int = 0
    """Where in `held` the contents begin."""
    mime: str = ""
    """What a data URL says that it holds."""

    @property
    def size(self) -> int:
        """Bytes, at most: line breaks and padding of base64 are not taken out."""
        length = len(self.held) - self.start
        return length if isinstance(self.held, bytes) else -(-length * 3 // 4)

    def head(self, count: int) -> bytes:
        """At most the first `count` bytes; fewer where base64 is broken into lines."""
        return self.part(0, count)

    def part(self, at: int, count: int) -> bytes:
        """At most `count` bytes from byte `at` on, which is not found where base64 is broken into lines."""
        if isinstance(self.held, bytes):
            return self.held[self.start + at : self.start + at + count]
        first = self.start + at // 3 * 4
        return _decoded(self.held[first : first + -(-(at % 3 + count) // 3 * 4)])[at % 3 :][:count]

    def whole(self) -> bytes:
        """All of it. What is not base64 is left out of it."""
        return self.held[self.start :] if isinstance(self.held, bytes) else _decoded(self.held[self.start :])

    def text(self) -> str:
        """What it says; of a string that is no base64, that string."""
        if isinstance(self.held, bytes):
            return self.whole().decode("utf-8", "replace")
        given = self.held[self.start :]
        try:
            return base64.b64decode("".join(given.split()), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return given


def contents_of(value: object) -> Contents | None:
    """Bytes, base64 or a data URL; None for anything else."""
    if isinstance(value, str):
        if not value.startswith("data:"):
            return Contents(value)
        comma = value.find(",", 0, _LONGEST_HEADER)
        return Contents(value, comma + 1, value[5:comma].partition(";")[0].lower() if comma > 0 else "")
    return Contents(bytes(value)) if isinstance(value, (bytes, bytearray)) else None


def _decoded(encoded: str) -> bytes:
    """As much as can be decoded, in either alphabet."""
    digits = encoded.encode("ascii", "replace").translate(_STANDARD, _NO_DIGITS)
    if len(digits) % 4 == 1:  # a digit alone is no byte
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
