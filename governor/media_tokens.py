"""Upper bounds of what pictures, documents and recordings are billed at, by model. Formulas with their sources, as of November 2026.

Claude: the vendor's pages on vision and on PDF support, of which copies were read (the cookbook's crop tool, and notes dated 29 August
2026): patches of 28 pixels, before that width x height / 750, at most 1,568 ("about 1,600") tokens a picture, 4,784 since 4.7.
OpenAI: a copy of the guide "Images and vision" of 2026, and for 5.6 of the guide to that model. Multipliers as in the guide; a developer
measured lower ones for small models of generation 5 (1.2 and 1.5; community.openai.com, topic 1377015): the larger stand.
Gemini: ai.google.dev on tokens and on `media_resolution`. Nova: AWS's user guide, whose table of examples is at 506 to 700 pixels a token;
that Nova 2 bills 230 a picture is said of the bill, not of the reported usage, so that the older formula stands for both.
Where a vendor publishes no bound (a page's text, a picture of any size), the assumption is named beside its constant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from governor.models import claude_version, facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.calls import ModelRef
    from governor.media import Detail, Media

__all__ = ["audio_tokens", "media_tokens"]

UNSEEN_EDGE = 8_000
"""Pixels of either edge of a picture of which nothing is known: the largest that Claude and Nova take, by their documentation."""
PAGE_TEXT = 3_000
"""Tokens of a PDF page's text: the high end of Claude's documentation, "typically 1,500 to 3,000", assumed of others too."""
PAGE_EDGE = 2_200
"""Pixels of either edge of a page's picture: a letter at 200 dots an inch. An assumption; Claude 4.5 and 5.5 were measured to bill no more
than 1,600 tokens for it."""
MOST_PAGES = 1_000
"""Pages of a PDF that hides them: Gemini's limit for one document, the largest documented (Claude: 100, with a long window 600)."""
LEAST_PAGE_BYTES = 64
"""Bytes that a page takes of a file at least: its compressed page object. Bounds the pages of a small file that hides them."""
AUDIO_TOKENS = 32
"""Tokens of a second of a recording: Gemini's, the most of all (OpenAI: 10 to 20)."""
LEAST_AUDIO_BYTES = 500
"""Bytes of a second of recorded speech at least (a narrow-band codec at 4 kbit/s): bounds what does not say its length."""
MOST_AUDIO_SECONDS = 34_200
"""Seconds of a recording that is elsewhere: 9.5 hours, Gemini's limit for one prompt."""
LEAST_VIDEO_BYTES = 2_000
"""Bytes of a second of video. An assumption: no vendor documents a bound."""
VIDEO_TOKENS = 320
"""Tokens of a second of video: a frame of 280, the finest of Gemini 3, and its sound (Gemini 2: 290, Nova: 288)."""
LONGEST_WINDOW = 1_050_000
"""Tokens of the longest context window that is known: a longer prompt is refused, and bills nothing."""


class Rule(Protocol):
    """How one family of models counts a picture."""

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """Most tokens of a picture of that size."""
        ...


@dataclass(frozen=True, slots=True)
class Capped:
    """Patches of 28 pixels or width x height / 750, whichever is more, up to `most` (Claude).

    Of the scaling down only that to the longest edge is counted on; that to fewer patches is bound by `most`.
    """

    most: int
    edge: int

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """See the class."""
        long, short = max(width, height), min(width, height)
        if long > self.edge:
            long, short = self.edge, -(-short * self.edge // long)
        return min(self.most, max(-(-long // 28) * -(-short // 28), -(-long * short // 750)))


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of 512 pixels, after the picture fits 2,048 and its short side is 768 (OpenAI).

    The guide says that it is *scaled* to that, which it reads as enlarged too; developers see small pictures left as they are.
    """

    base: int
    tile: int

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """See the class."""
        if detail == "low":
            return self.base
        long = min(2_048, -(-768 * max(width, height) // min(width, height)))
        return self.base + self.tile * 2 * -(-long // 512)


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches of 32 pixels up to `most`, times `hundredths` (OpenAI). `largest` patches where the request does not ask for less."""

    most: int
    hundredths: int
    largest: int | None = None
    """At `original` or without a detail; None: `most`; 0: no limit."""

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """`low` is no less: it is measured to have no effect on these models."""
        patches = -(-width // 32) * -(-height // 32)
        most = self.most if self.largest is None or detail in ("low", "high") else self.largest
        return -(-(min(patches, most) if most else patches) * self.hundredths // 100)


@dataclass(frozen=True, slots=True)
class Crops:
    """258 tokens a crop, whose edge is two thirds of the short side, between 256 and 768 pixels (Gemini up to 2.x)."""

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """See the class."""
        if max(width, height) <= 384:
            return 258
        edge = min(768, max(256, min(width, height) * 2 // 3))
        return 258 * -(-width // edge) * -(-height // edge)


@dataclass(frozen=True, slots=True)
class Flat:
    """The same for any picture (Gemini since 3: `ultra_high`, which a request may ask for by picture)."""

    tokens: int

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """See the class."""
        return self.tokens


@dataclass(frozen=True, slots=True)
class Area:
    """500 pixels a token after enlarging to 900 pixels and snapping to one of few aspects, at most 1:9 (Nova)."""

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """Snapping stretches the short side by a quarter at most: the aspects nearest to each other are 2:3 and 1:1."""
        long, short = max(width, height), min(width, height)
        edge = max(900, long)
        stretched = min(edge, max(-(-short * edge * 5 // (long * 4)), -(-edge // 9)))
        return -(-edge * stretched // 500)


_CLAUDE, _CLAUDE_SINCE_4_7 = Capped(1_600, 1_568), Capped(4_784, 2_576)
_GPT: tuple[tuple[str, Rule], ...] = (
    (r"gpt-4o-mini", Tiles(2_833, 5_667)),
    (r"gpt-4\.1-mini", Patches(1_536, 162)),
    (r"gpt-4\.1-nano", Patches(1_536, 246)),
    (r"(?:chatgpt-4|gpt-4)", Tiles(85, 170)),
    (r"(?:o4-mini|codex-mini)", Patches(1_536, 172)),
    (r"o[13]", Tiles(75, 150)),
    (r"gpt-5(?:\.[1-5])?-nano", Patches(2_500, 246)),
    (r"gpt-5(?:\.[1-5])?.*mini", Patches(2_500, 162)),
    (r"gpt-5(?:\.1)?(?:-chat.*|-pro.*|-\d{4}.*)?$", Tiles(70, 140)),
    (r"gpt-5\.[123]|gpt-5-codex|gpt-5$", Patches(1_536, 162)),
    (r"gpt-5\.[45]", Patches(2_500, 162, 10_000)),
)
"""The first that matches decides. Where the guide lists no multiplier, 1.62: the one of the family's next smaller model."""
_GPT_NEWEST = Patches(2_500, 246, 0)
"""Since 5.6 a picture keeps its size where the request does not say `high`."""
_ALL: tuple[Rule, ...] = (_CLAUDE_SINCE_4_7, *(rule for _, rule in _GPT), _GPT_NEWEST, Crops(), Flat(2_240), Area())


@dataclass(frozen=True, slots=True)
class _Largest:
    """The largest of all, for a model that nobody knows. Whether it reads `detail` is unknown too."""

    def picture(self, width: int, height: int, detail: Detail) -> int:
        """See the class."""
        return max(rule.picture(width, height, "") for rule in _ALL)


@lru_cache(maxsize=256)
def _rule(model: ModelRef) -> tuple[Rule, int]:
    """How the model counts pictures, and the most tokens that a prompt to it can have."""
    known, name = facts(model), model.model.rsplit("/", 1)[-1].lower()
    window = known.context_window
    if known.family == "claude":
        return (_CLAUDE_SINCE_4_7 if claude_version(name) >= (4, 7) else _CLAUDE), window
    if known.family == "nova":
        return Area(), window
    if known.family == "gemini":
        return (Crops() if re.search(r"gemini-(?:1|2)", name) else Flat(2_240)), window
    if known.family == "gpt":
        return next((rule for pattern, rule in _GPT if re.match(pattern, name)), _GPT_NEWEST), window
    return _Largest(), LONGEST_WINDOW


def media_tokens(model: ModelRef, media: Iterable[Media]) -> int:
    """Most tokens that the model bills for all of these, never more than it takes of a prompt."""
    rule, window = _rule(model)
    return min(window, sum(_tokens(rule, each) for each in media))


def audio_tokens(media: Iterable[Media]) -> int:
    """Most tokens of these that are sound, which some models bill at a price of its own: recordings, and the sound of videos."""
    return sum(
        _heard(each) if each.kind == "audio" else -(-_watched(each) * AUDIO_TOKENS // VIDEO_TOKENS)
        for each in media
        if each.kind in ("audio", "video")
    )


def _tokens(rule: Rule, each: Media) -> int:
    if each.kind == "image":
        return (
            rule.picture(each.width, each.height, each.detail)
            if each.width and each.height
            else _unseen(rule, each.detail)
        )
    if each.kind == "pdf":
        return _pages(each) * (PAGE_TEXT + _unseen(rule, "high", PAGE_EDGE))
    if each.kind == "audio":
        return _heard(each)
    if each.kind == "video":
        return _watched(each)
    return LONGEST_WINDOW if each.size is None else max(each.counted, each.size)


def _heard(each: Media) -> int:
    return -(-_audio_ms(each) * AUDIO_TOKENS // 1_000) + 1


def _watched(each: Media) -> int:
    if each.ms is not None:
        return -(-each.ms * VIDEO_TOKENS // 1_000) + VIDEO_TOKENS
    return LONGEST_WINDOW if each.size is None else max(each.counted, -(-each.size * VIDEO_TOKENS // LEAST_VIDEO_BYTES))


def _unseen(rule: Rule, detail: Detail, edge: int = UNSEEN_EDGE) -> int:
    """A picture of which no more is known than its longest edge: a large square or a narrow strip, which takes twice the tiles."""
    return max(rule.picture(edge, edge, detail), rule.picture(edge, 1, detail))


def _pages(each: Media) -> int:
    if each.pages is not None:
        return each.pages
    return MOST_PAGES if each.size is None else min(MOST_PAGES, each.size // LEAST_PAGE_BYTES + 1)


def _audio_ms(each: Media) -> int:
    if each.ms is not None:
        return each.ms
    return MOST_AUDIO_SECONDS * 1_000 if each.size is None else -(-each.size * 1_000 // LEAST_AUDIO_BYTES)
