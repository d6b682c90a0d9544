"""Token estimates without a download, and the ratio that corrects them per model.

The estimator leans high and is the same for every model; `Calibrations` learns from reported usage how many real tokens of one
model stand behind 1,000 estimated ones. Estimates reserve; only what the provider reports is settled.
"""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING

from governor.models import facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import ModelRef, ToolUse

__all__ = [
    "MESSAGE_FRAMING",
    "TOOLS_PREAMBLE",
    "TOOL_FRAMING",
    "Calibrations",
    "estimate",
    "estimate_message",
    "estimate_tool",
]

MESSAGE_FRAMING = 4
"""Tokens around one message: role and delimiters."""
TOOL_FRAMING = 12
"""Tokens around one tool description or one tool call: name and delimiters."""
TOOLS_PREAMBLE = 500
"""Tokens that a provider adds once when tools are offered: 264-530 on Claude (vendor's tool-use page), less elsewhere."""

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
_ASCII = bytes(range(128))


def estimate(text: str) -> int:
    """Tokens of `text`, leaning high. Deterministic; a few passes at C speed over the text."""
    if not text:
        return 0
    raw = text.encode("utf-8", "surrogatepass")
    wide = len(raw.translate(None, _ASCII))
    other = len(raw.translate(None, _LETTERS)) - wide
    letters = len(raw) - wide - other
    return max(1, (letters * 25 + other * 60 + wide * 42) // 100 + 1)


def estimate_message(text: str, tool_uses: Sequence[ToolUse] = ()) -> int:
    """Tokens of one message: its text, its tool calls as JSON, and the framing around them."""
    calls = sum(
        TOOL_FRAMING + estimate(use.name) + estimate(json.dumps(use.args, default=str, ensure_ascii=False))
        for use in tool_uses
    )
    return MESSAGE_FRAMING + estimate(text) + calls


def estimate_tool(serialised: str) -> int:
    """Tokens of one offered tool, given its name, description and schema as JSON text."""
    return TOOL_FRAMING + estimate(serialised)


class Calibrations:
    """Real tokens per 1,000 estimated ones, by model: an upper bound that starts safe and follows what providers report."""

    def __init__(self) -> None:
        """Know nothing yet; every model starts at its family's safe ratio."""
        self._lock = Lock()
        self._known: dict[str, int] = {}

    def permille(self, model: ModelRef) -> int:
        """Upper bound of real tokens per 1,000 estimated ones, between 500 and 4,000."""
        return self._known.get(str(model)) or facts(model).calibration_start

    def learn(self, model: ModelRef, *, estimated: int, reported: int) -> None:
        """Take one call's reported prompt tokens against the estimate of the same prompt."""
        if estimated <= 0 or reported <= 0:
            return
        ratio = -(-reported * 1_000 // estimated)
        with self._lock:
            before = self._known.get(str(model), facts(model).calibration_start)
            learned = ratio if ratio > before else before - (before - ratio) // 20
            self._known[str(model)] = min(max(learned, 500), 4_000)
