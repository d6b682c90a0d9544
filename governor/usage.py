"""Usage of one call, in the one shape that everything prices and reports."""

from __future__ import annotations

from dataclasses import dataclass

from governor.values import cheap

__all__ = ["NO_USAGE", "Usage"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call, split the way providers bill them. All counts are tokens; `fees` is nano-USD.

    `input` is the *uncached remainder*: the whole prompt is `prompt`. Reasoning tokens are part of `output`.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio: int = 0
    """Tokens of the prompt that were recordings, as far as the answer says so: they are part of the others, and may cost more."""
    fees: int = 0
    tier: str = ""
    """Class of service that answered, where the answer says so and it has a price of its own: `flex`, `priority`."""
    estimated: bool = False
    """True when the provider reported nothing (aborted stream, some proxies) and the numbers are governor's own."""

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def total(self) -> int:
        """Prompt and output tokens together, unweighted."""
        return self.prompt + self.output

    @property
    def possible(self) -> bool:
        """Whether nothing in it is negative: a report with a count below zero is a broken one, and nothing may be paid back for it."""
        counts = (self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.output, self.fees)
        return min(counts) >= 0

    def __add__(self, other: Usage) -> Usage:
        """Sum of two usages; estimated if either is."""
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            audio=self.audio + other.audio,
            fees=self.fees + other.fees,
            tier=self.tier if self.tier == other.tier else "",
            estimated=self.estimated or other.estimated,
        )


NO_USAGE = Usage()
