"""Token estimates without a download, and the ratio that corrects them per model.

The estimator leans high and is the same for every model; `Calibrations` learns from reported usage how many real tokens of one
model stand behind 1,000 estimated ones. Estimates reserve; only what the provider reports is settled.
"""

from __future__ import annotations

import json
import string
from collections import deque
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from governor.models import facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import ModelRef, ToolUse

__all__ = [
    "LEAST_RATIO",
    "MESSAGE_FRAMING",
    "REQUEST_FRAMING",
    "TOOLS_PREAMBLE",
    "TOOL_FRAMING",
    "Calibrations",
    "estimate",
    "estimate_answer",
    "estimate_message",
    "estimate_tool",
]

REQUEST_FRAMING = 16
"""Tokens around a whole request."""
MESSAGE_FRAMING = 4
"""Tokens around one message: role and delimiters."""
TOOL_FRAMING = 12
"""Tokens around one tool description or one tool call: name and delimiters."""
TOOLS_PREAMBLE = 500
"""Tokens that a provider adds once when tools are offered: 264-530 on Claude (vendor's tool-use page), less elsewhere."""

_LETTERS = string.ascii_letters.encode()
_DIGITS = string.digits.encode()
_ASCII = bytes(range(0x80))
_TWO, _THREE, _FOUR = bytes(range(0xC0, 0xE0)), bytes(range(0xE0, 0xF0)), bytes(range(0xF0, 0xF8))
"""First bytes of characters that take two, three or four bytes in UTF-8."""

# Thousandths of a token, fitted so that prose, code, JSON, logs, CSV, HTML, base64 and hex all come out between 0.95 and 1.8 times
# o200k's count (tests/core/test_tokens.py holds recorded counts). Characters beyond ASCII lean towards older vocabularies,
# which spell them out byte by byte.
_LETTER, _DIGIT, _SPACE, _NEWLINE, _MARK = 210, 640, 340, 225, 705
_UNBROKEN = 735
"""More for each letter or digit beyond twelve between two marks: base64, hashes and ids are not words."""
_OF_TWO, _OF_THREE, _OF_FOUR = 500, 1_150, 2_500
"""A character of Latin with accents, Greek, Cyrillic, Arabic; of most other scripts; an emoji."""
_PIECE = 1_080
"""A piece of what is mostly marks: JSON and tables are where Claude's tokenizers differ from o200k most (1.26 times its count)."""


_LOWER, _UPPER, _DIGIT_KIND, _BLANK, _BREAK, _TAB, _OTHER, _WIDE = range(1, 9)
_KINDS = bytes.maketrans(
    bytes(range(0x100)),
    bytes(
        _LOWER
        if byte in string.ascii_lowercase.encode()
        else _UPPER
        if byte in string.ascii_uppercase.encode()
        else _DIGIT_KIND
        if byte in _DIGITS
        else _BLANK
        if byte == 0x20
        else _BREAK
        if byte in b"\r\n"
        else _TAB
        if byte in b"\t\v\f"
        else _OTHER
        if byte < 0x80
        else _WIDE
        for byte in range(0x100)
    ),
)
"""What a byte is to a tokenizer. Bytes of characters beyond ASCII count as letters of a word."""
_JOINED = bytes(
    before << 4 | after
    for before, after in (
        *((kind, kind) for kind in range(1, 9)),
        (_BLANK, _LOWER),
        (_BLANK, _UPPER),
        (_UPPER, _LOWER),
        *((_WIDE, letter) for letter in (_LOWER, _UPPER)),
        *((letter, _WIDE) for letter in (_LOWER, _UPPER)),
    )
)
"""Pairs of neighbours that stay together: runs of one kind, a word and the blank before it. Pre-tokenizers split between all others,
whatever is merged afterwards (GPT-2's pattern); newer ones join one mark or tab to the word after it, so that this leans high."""


_JSON = json.JSONEncoder(default=str, ensure_ascii=False)
"""Kept: `json.dumps` with options makes one at every call."""


def estimate(text: str) -> int:
    """Tokens of `text`, leaning high. Deterministic; some passes at C speed over the text, about 70 µs for 4 KB."""
    if not text:
        return 0
    raw = text.encode("utf-8", "surrogatepass")
    wide = 0
    if len(raw) != len(text):
        beyond = raw.translate(None, _ASCII)
        wide = sum(
            (len(beyond) - len(beyond.translate(None, first))) * weight
            for first, weight in ((_TWO, _OF_TWO), (_THREE, _OF_THREE), (_FOUR, _OF_FOUR))
        )
        plain = len(raw) - len(beyond)
    else:
        plain = len(raw)
    without_letters = raw.translate(None, _LETTERS)
    letters = len(raw) - len(without_letters)
    digits = len(without_letters) - len(without_letters.translate(None, _DIGITS))
    spaces, newlines = without_letters.count(b" "), without_letters.count(b"\n")
    marks = plain - letters - digits - spaces - newlines
    unbroken = max(0, letters + digits - 12 * (spaces + newlines + marks + 1))
    thousandths = (
        letters * _LETTER
        + digits * _DIGIT
        + spaces * _SPACE
        + newlines * _NEWLINE
        + marks * _MARK
        + unbroken * _UNBROKEN
        + wide
    )
    return max(thousandths // 1_000 + 1, _pieces(raw) * _PIECE // 1_000)


_NAME = 64
_of_name = lru_cache(maxsize=1024)(estimate)
"""For names of tools, up to `_NAME` characters long: every call repeats one of a few."""


def _pieces(raw: bytes) -> int:
    """Pieces that a text is split into before any are merged: words, numbers, runs of marks and of line breaks, each at least a token.

    Short words between marks ("-a -b", tables, `x = 1`) are more of these than their characters suggest. Each byte is looked at
    together with the one before it: as one long integer, shifted by a byte and four bits, so that it takes a few passes at C speed.
    """
    kinds = int.from_bytes(raw.translate(_KINDS), "little")
    pairs = (kinds | kinds << 12).to_bytes(len(raw) + 1, "little")
    return len(pairs.translate(None, _JOINED)) - 1  # the last byte's pair with nothing


def estimate_answer(text: str, tool_uses: Sequence[ToolUse] = ()) -> int:
    """Tokens that a model wrote: its text and its tool calls, without the framing that only a prompt has."""
    return estimate_message(text, tool_uses) - MESSAGE_FRAMING


def estimate_message(text: str, tool_uses: Sequence[ToolUse] = ()) -> int:
    """Tokens of one message: its text, its tool calls as JSON, and the framing around them."""
    tokens = MESSAGE_FRAMING + estimate(text)
    for use in tool_uses:
        name = _of_name(use.name) if len(use.name) <= _NAME else estimate(use.name)
        tokens += TOOL_FRAMING + name + estimate(_JSON.encode(use.args))
    return tokens


def estimate_tool(serialised: str) -> int:
    """Tokens of one offered tool, given its name, description and schema as JSON text."""
    return TOOL_FRAMING + estimate(serialised)


class Calibrations:
    """Real tokens per 1,000 estimated ones, by model: an upper bound that starts safe and follows what providers report.

    It rises at once to the highest ratio seen and sinks slowly towards the highest of the latest 64, so that a run of easy
    prompts does not make the next hard one cost more than was reserved. Threads may share it.
    """

    def __init__(self) -> None:
        """Know nothing yet; every model starts at its family's safe ratio."""
        self._lock = Lock()
        self._known: dict[tuple[str, bool], _Calibration] = {}

    def permille(self, model: ModelRef) -> int:
        """Upper bound of real tokens per 1,000 estimated ones, between 500 and 4,000."""
        known = self._known.get((str(model), False))
        return known.bound if known else facts(model).calibration_start

    def settling(self, model: ModelRef) -> tuple[int, int]:
        """The same ratio of prompts and of answers, for settling a call whose usage nobody reported.

        The highest of the latest 64 reports, and on top of it what is left of the family's usual ratio, which every report halves: a
        reservation is taken back when it was too high, a settlement is not.
        """
        start, name = facts(model).settling_start, str(model)
        prompt, answer = self._known.get((name, False)), self._known.get((name, True))
        return (prompt.seen(start) if prompt else start), (answer.seen(start) if answer else start)

    def learn(self, model: ModelRef, *, estimated: int, reported: int, output: bool = False) -> None:
        """Take one call's reported tokens against the estimate of the same prompt or answer; counts of 0 teach nothing."""
        if estimated <= 0 or reported <= 0:
            return
        if output and estimated < _SHORT_ANSWER:
            return
        small = not output and estimated < _SMALL
        ratio = -(-reported * 1_000 // (_SMALL if small else estimated))
        key = (str(model), output)
        with self._lock:
            known = self._known.get(key)
            if small and ratio <= (known.bound if known else facts(model).calibration_start):
                return
            if known is None:
                known = self._known[key] = _Calibration(facts(model).calibration_start)
            known.learn(min(max(ratio, LEAST_RATIO), _HIGHEST))


_SMALL = 500
"""A prompt smaller than this is mostly framing: its ratio says little about a large one's, and neither inflates nor lowers it."""
_SHORT_ANSWER = 50
"""An answer shorter than this teaches nothing: a provider's few tokens of framing would be its ratio."""
LEAST_RATIO, _HIGHEST = 500, 4_000
_RECENT = 64


class _Calibration:
    """The ratio of one model, in thousandths."""

    __slots__ = ("bound", "recent")

    def __init__(self, start: int) -> None:
        self.bound = start
        self.recent: deque[int] = deque(maxlen=_RECENT)

    def seen(self, start: int) -> int:
        highest = max(self.recent)
        return highest + (max(0, start - highest) >> len(self.recent))

    def learn(self, ratio: int) -> None:
        self.recent.append(ratio)
        highest = max(self.recent)
        self.bound = max(highest, self.bound - (self.bound - highest + 15) // 16)
