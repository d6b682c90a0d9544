"""Pricing the view: what a prompt cost, and what the whole history would have, with an ideal cache and with none.

Both comparisons hold the run as it was: the same calls, the same answers. What a model looked up again because the view had left it out
is in the cost and not taken off the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.runs import PromptSums
from governor.values import cheap, maker, replace

if TYPE_CHECKING:
    from governor.models import ModelFacts
    from governor.prices import Rates
    from governor.usage import Usage

__all__ = ["Prompt", "priced"]

_PER = 1_000_000
_STEP = 128
"""Providers that cache by themselves do so in steps of so many tokens (OpenAI's documentation)."""
_sums = maker(PromptSums)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt in the provider's tokens."""

    whole: int
    """If nothing of the history had been left out, governor's notes included."""
    notes: int
    """Governor's notes, which no later prompt has."""
    kept: int
    """What it begins with as the prompt before it did; 0 when nothing of that can be in the cache."""
    plain: int
    """The same if governor had made no cut."""


def priced(prompt: Prompt, usage: Usage, rates: Rates | None, known: ModelFacts, *, hour: bool) -> PromptSums:
    """The sums of one prompt. Without a known price its money is 0. `hour`: whether cached prefixes are asked to live for one hour."""
    ideal = _readable(min(prompt.kept, usage.prompt), known)
    if rates is None:
        return _sums(tokens=usage.prompt, ideal=ideal, read=min(usage.cache_read, ideal))
    at = rates.at(prompt.whole)
    written = at.cache_write_1h if hour and known.cache_1h else at.cache_write_5m
    if known.cache == "automatic":
        written = max(written, at.input)  # what is written is billed as input, unless listed otherwise
    stored = prompt.whole - prompt.notes
    if known.cache == "none" or stored < known.min_cache_tokens:
        stored = 0
    elif known.cache_cap_tokens is not None:
        stored = min(stored, known.cache_cap_tokens)
    read = min(_readable(prompt.plain, known), stored)
    cached = read * at.cache_read + (stored - read) * written + (prompt.whole - stored) * at.input
    return _sums(
        tokens=usage.prompt,
        ideal=ideal,
        read=min(usage.cache_read, ideal),
        cost=rates.cost(replace(usage, output=0, reasoning=0)) - rates.at(usage.prompt).request,
        cached=-(-cached // _PER),
        uncached=-(-prompt.whole * at.input // _PER),
    )


def _readable(tokens: int, known: ModelFacts) -> int:
    """What a cache can give back of a prefix."""
    if known.cache == "none" or tokens < known.min_cache_tokens:
        return 0
    if known.cache == "automatic":
        tokens -= tokens % _STEP
    return tokens if known.cache_cap_tokens is None else min(tokens, known.cache_cap_tokens)
