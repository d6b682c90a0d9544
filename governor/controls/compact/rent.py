"""When a cut pays: ski rental on the provider's own prices.

Every call reads the whole prefix again. What a cut would have removed costs rent at each call; a cut costs the rewriting of what
follows the pinned prefix, because the provider's cache no longer matches there. Cutting once the rent paid since the last cut has
reached that price is never far from the best schedule (mean 1.08 of a dynamic-programming optimum over 1,009 recorded runs), but may
pay for a cut right before the end: the first one of a run waits for `FIRST_CUT` times its price. One rule serves every provider: where
reads are cheap it cuts rarely, where nothing is cached it cuts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Literal

from governor.prices import Rates
from governor.values import cheap

if TYPE_CHECKING:
    from governor.models import ModelFacts

__all__ = ["FIRST_CUT", "Tariff", "tariff"]

FIRST_CUT = 2
"""The first cut waits until re-reading has cost this many times its price: a run may end right after it, and then it was paid for nothing.
Every later one is paid from what the first has saved by then.

Measured on 397 recorded runs (`make bench-context`), against append-only caching at Claude's prices: with 8 the prompts cost 0.73 as much
and no run more than 1.02; with 2 they cost 0.65, one run in 130 more than 1.02, none more than 1.05; with 1 they cost 0.64, and 1.06.
"""
_SMALLEST, _LEAST = 12_000, 6_000
"""Prompts below this are never cut for money: there is little to save and the most to lose. The first where a rewritten token costs
`_USUAL` reads, less where reads are dearer, never below the second."""
_USUAL = 11.5
"""Reads that rewriting one token costs at Claude's prices: (3.75 - 0.30) / 0.30."""

_PER = 1_000_000
_UNKNOWN = Rates(
    input=3_000_000_000,
    output=15_000_000_000,
    cache_read=300_000_000,
    cache_write_5m=3_750_000_000,
    cache_write_1h=6_000_000_000,
)
"""Stands in for a model without a known price: only the ratios matter here, and with cheap reads the rule cuts rarely."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What reading and rewriting a prompt costs. Rates in nano-USD per million tokens, answers in nano-USD."""

    rates: Rates
    caches: bool
    ttl: Literal["5m", "1h"]
    minimum: int
    """Tokens below which a prefix is not cached."""
    cap: int | None
    """Tokens beyond which a prompt is not cached."""

    @property
    def floor(self) -> int:
        """Tokens of the shortest prompt that is cut for money.

        History that grows evenly is best cut when the part that was re-read since the last cut is in proportion to the root of what
        rewriting costs in reads (economic order quantity), and so is the shortest prompt that is worth a cut.
        """
        read, written = self.rates.cache_read, self._write
        if not self.caches or read <= 0 or written <= read:
            return _LEAST if not self.caches or read > 0 else _SMALLEST
        share = (written - read) / read / _USUAL
        return min(_SMALLEST, max(_LEAST, round(_SMALLEST * sqrt(share))))

    @property
    def _write(self) -> int:
        return self.rates.cache_write_5m if self.ttl == "5m" else self.rates.cache_write_1h

    def reading(self, tokens: int) -> int:
        """Cost of sending a prompt of which all that can be cached is cached. Long prompts may pay dearer rates."""
        rates = self.rates.at(tokens)
        cached = self._cacheable(tokens)
        return (cached * rates.cache_read + (tokens - cached) * rates.input) // _PER

    def rewriting(self, tokens: int, prefix: int) -> int:
        """Extra cost, over reading, of sending a prompt whose cache matches only its first `prefix` tokens."""
        rates = self.rates.at(tokens)
        written = rates.cache_write_5m if self.ttl == "5m" else rates.cache_write_1h
        kept = self._cacheable(prefix)
        return (self._cacheable(tokens) - kept) * max(0, written - rates.cache_read) // _PER

    def writing(self, tokens: int) -> int:
        """Cost of sending a prompt of which nothing is cached yet."""
        return self.reading(tokens) + self.rewriting(tokens, 0)

    def _cacheable(self, tokens: int) -> int:
        if not self.caches or tokens < self.minimum:
            return 0
        return tokens if self.cap is None else min(tokens, self.cap)


@lru_cache(maxsize=256)
def tariff(rates: Rates | None, facts: ModelFacts, ttl: Literal["5m", "1h", "off"]) -> Tariff:
    """The tariff of a model under the policy's `context.cache.ttl`.

    Nova counts as cached too, though it takes no marker in turns with tools, and an agent's history is paid in full at each call. Cut as
    dear as that is, prompts cost a sixth less, but a cut each few calls loses more of what the agent still works with.

    A model that can cache by markers counts as cached even when the policy places none: the graph may place its own, and a cut too
    many would then cost more than a cut too few saves.
    """
    known = rates or _UNKNOWN
    lives: Literal["5m", "1h"] = "1h" if ttl == "1h" and facts.cache_1h else "5m"
    if facts.cache == "automatic":  # providers that cache by themselves bill a write as input, unless listed otherwise
        known = replace(known, cache_write_5m=max(known.cache_write_5m, known.input)) if rates else known
        lives = "5m"
    return Tariff(
        rates=known,
        caches=facts.cache != "none",
        ttl=lives,
        minimum=facts.min_cache_tokens,
        cap=facts.cache_cap_tokens,
    )
