"""What tokens of a call count as on one line: weighted by kind, in integers, rounded up.

Held at the worst case, settled by usage: before a call nobody knows how much of a prompt comes from the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from governor.values import cheap

if TYPE_CHECKING:
    from governor.policy.weights import Weights
    from governor.usage import Usage

__all__ = ["Weighing", "scaled", "weighing_of"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """Weights as integers over one denominator."""

    per: int
    """The denominator: a weight of `per` counts a token as one."""
    prompt_held: int
    """A token of the prompt while nobody knows what kind it is."""
    output_held: int
    """A token of the answer before it is written."""
    input: int
    cached: int
    written: int
    output: int

    def held(self, prompt: int, output: int) -> int:
        """What is held for a prompt and an answer of at most so many tokens."""
        return -(-(prompt * self.prompt_held + output * self.output_held) // self.per)

    def used(self, usage: Usage) -> int:
        """What a finished call counts as. Never more than `held` where the usage is within it and no answer weighs more than was held."""
        prompt = usage.input * self.input + usage.cache_read * self.cached
        written = (usage.cache_write_5m + usage.cache_write_1h) * self.written
        return -(-(prompt + written + usage.output * self.output) // self.per)

    def affordable_output(self, left: int, prompt: int) -> int | None:
        """The longest answer for which `left` is enough beside the prompt; may be negative. None when answers weigh nothing."""
        return (left * self.per - prompt * self.prompt_held) // self.output_held if self.output_held else None


def scaled(weights: tuple[Decimal, ...]) -> tuple[int, tuple[int, ...]]:
    """A common denominator, and the weights over it. Exact: a decimal number is an integer over a power of ten."""
    digits = max((max(0, -int(each.as_tuple().exponent)) for each in weights), default=0)
    return 10**digits, tuple(int(each.scaleb(digits)) for each in weights)


def weighing_of(weights: Weights | None) -> Weighing | None:
    """A budget's weights; None when every token counts as one."""
    if weights is None:
        return None
    per, (fresh, cached, written, output) = scaled((weights.input, weights.cached, weights.written, weights.output))
    if {fresh, cached, written, output} == {per}:
        return None
    dearest = max(fresh, cached, written)
    return Weighing(
        per=per,
        prompt_held=dearest,
        output_held=output,
        input=fresh,
        cached=cached,
        written=written,
        output=output,
    )
