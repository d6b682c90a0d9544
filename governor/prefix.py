"""What a request begins with, as numbers: whether one prompt extends another is answered without reading either again.

Each message has a digest, and each history the rolling digests of its beginnings: those of any part of it follow from them in constant
time, so that a call hashes its new messages alone and a view is compared with the one before whatever a cut has taken out of it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.values import cheap, maker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import History, Message, ToolSpec, View

__all__ = ["Remembered", "Shown", "digest_of", "resumed", "rolled_on", "shown_in", "unrolled"]

_MODULUS = 2**61 - 1
"""A prime that fits into 64 bits."""
_BASE = 0x1F3A_5B7C_9D2E_4F61 % _MODULUS
"""Any large number does; it is fixed because digests outlive the process."""


def digest_of(message: Message) -> int:
    """A message as it is shown: who says what. Of content that is not text only the key is known.

    Nobody attacks it, so that length and checksum do: an edit passes unseen once in 4 billion.
    """
    said = f"{message.role}\x1f{message.text}"
    if message.tool_uses:
        said += repr([(use.id, use.name, use.args) for use in message.tool_uses])
    if message.answers is not None:
        said = f"{said}\x1f{message.answers}"
    if message.opaque:
        said = f"{said}\x1f{message.key}"
    told = said.encode("utf-8", "surrogatepass")
    return ((len(told) & 0xFFF_FFFF) << 32) + zlib.crc32(told)


def unrolled(rolled: Sequence[int], position: int) -> int:
    """The digest of the message at a position, from the rolling digests."""
    return (rolled[position] - (rolled[position - 1] if position else 0) * _BASE) % _MODULUS


def rolled_on(rolled: int, digest: int) -> int:
    """The rolling digest of a sequence with one more message."""
    return (rolled * _BASE + digest) % _MODULUS


def resumed(rolled: Sequence[int], start: int, end: int, before: int) -> list[int]:
    """The rolling digests at messages start..end-1 where earlier messages are shown otherwise: `before` is the digest of those."""
    made: list[int] = []
    for position in range(start, end):
        before = rolled_on(before, unrolled(rolled, position))
        made.append(before)
    return made


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The messages of a view, without its notes, as digests."""

    rolled: Sequence[int]
    """`rolled[i]` = digest of the history's messages 0..i; may go on beyond `end`."""
    pinned: tuple[int, ...]
    inserted: tuple[int, ...]
    """Digests of what stands for the part that was cut."""
    start: int
    end: int
    """Messages of the history."""
    altered: tuple[int, ...] = ()
    """Messages of the history that are shown as placeholders."""

    @property
    def fixed(self) -> int:
        """Messages before the tail."""
        return len(self.pinned) + len(self.inserted)

    @property
    def length(self) -> int:
        """Messages shown."""
        return self.fixed + self.end - self.start

    def at(self, position: int) -> int:
        """The digest of the message that is shown at a position."""
        if position >= self.fixed:
            return self._own(self.start + position - self.fixed)
        if position < len(self.pinned):
            return self._own(self.pinned[position])
        return self.inserted[position - len(self.pinned)]

    def upto(self, length: int) -> int:
        """The digest of the first `length` messages shown."""
        if not self.fixed and not self.start:  # no cut: as most are
            return self.rolled[length - 1] if length else 0
        rolled = 0
        for position in range(min(length, self.fixed)):
            rolled = rolled_on(rolled, self.at(position))
        count = length - self.fixed
        if count <= 0:
            return rolled
        last = self.start + count - 1
        before = self.rolled[self.start - 1] if self.start else 0
        grown = pow(_BASE, count, _MODULUS)
        return (rolled * grown + self.rolled[last] - before * grown) % _MODULUS

    def common(self, other: Shown) -> int:
        """How many messages both begin with alike."""
        low, high = 0, min(self.length, other.length)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.upto(middle) == other.upto(middle) else (low, middle - 1)
        return low

    def _own(self, position: int) -> int:
        return unrolled(self.rolled, position)


_shown = maker(Shown)


def shown_in(view: View) -> Shown:
    """The messages of a view as digests."""
    history = view.history
    rolled = history.rolled
    return _shown(
        rolled=_rolled(history) if rolled is None else rolled,
        pinned=view.pinned,
        inserted=tuple([digest_of(message) for message in view.inserted]),
        start=view.start,
        end=len(history.messages),
        altered=view.altered,
    )


def _rolled(history: History) -> Sequence[int]:
    """For histories that nobody kept from call to call."""
    rolled, made = 0, list[int]()
    for message in history.messages:
        rolled = rolled_on(rolled, digest_of(message))
        made.append(rolled)
    return made


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The latest request of a lane as far as this process remembers it, to tell what differs in the next one.

    Texts are of the leading system messages alone: what else an application edits it edits in a list that is at hand.
    """

    shown: Shown
    tools: tuple[ToolSpec, ...]
    system: tuple[str, ...]
