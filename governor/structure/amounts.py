"""Numbers that may have no bound, each with what it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["UNBOUNDED", "ZERO", "Amount", "Bound", "least", "total"]

UNBOUNDED = "UNBOUNDED"
"""The word for what no limit and no structure bounds."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So many at most, or None and why there is no bound."""

    most: int | None
    why: str = ""
    """What makes it so: a limit, the graph's own structure, or the cycle that can go on for ever."""

    def times(self, factor: int) -> Amount:
        """So often."""
        return ZERO if factor == 0 else self if self.most is None else Amount(self.most * factor, self.why)

    def by(self, runs: Amount) -> Amount:
        """As often as something runs: nothing at all when this is 0, however often that is."""
        if self.most == 0 or runs.most == 0:
            return ZERO
        if runs.most is None:
            return Amount(None, runs.why)
        return self if self.most is None else Amount(self.most * runs.most, self.why or runs.why)


ZERO = Amount(0)


def total(amounts: Iterable[Amount], why: str = "") -> Amount:
    """All together; without a bound as soon as one has none."""
    known = list(amounts)
    endless = next((amount for amount in known if amount.most is None), None)
    return endless or Amount(sum(amount.most or 0 for amount in known), why)


def least(amounts: Iterable[Amount]) -> Amount:
    """The tightest; the first of those without a bound when none has one."""
    known = list(amounts)
    bounded = [amount for amount in known if amount.most is not None]
    return min(bounded, key=lambda amount: amount.most or 0) if bounded else known[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The worst case of one run in one unit."""

    unit: Literal["steps", "model_calls", "tool_calls", "nano_usd"]
    most: int | None
    """At most so many; None: UNBOUNDED."""
    why: str
    """What bounds it, or the cycle (or else) that keeps it from being bounded."""

    @property
    def written(self) -> str:
        """`200`, `$0.50` or UNBOUNDED. Dollars are rounded up to their fourth decimal, so that they stay a bound."""
        if self.most is None:
            return UNBOUNDED
        if self.unit != "nano_usd":
            return f"{self.most:,}"
        parts = -(-self.most // 100_000)  # 1e-4 $
        return f"${parts // 10_000:,}.{parts % 10_000:04d}"
