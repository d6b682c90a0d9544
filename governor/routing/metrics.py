"""How well scores put steps in the order in which the better tier is worth its price: RouteLLM's figures.

Pure, and the protocol of governor's benchmark: sort by score, highest first, ties by a seeded hash of the id; send the first k of n to
the better tier. Every figure here reads its threshold off the very curve that it measures, so it is what a perfect choice of a
threshold would give: quality that was promised beforehand is `guard`'s.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from governor.values import cheap

__all__ = ["Curve", "Graded", "curve", "quality_of"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One step: its id, what both tiers made of it, and what each cost (any one unit)."""

    id: str
    strong: float
    weak: float
    strong_cost: float = 0.0
    weak_cost: float = 0.0


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Quality and cost of sending the first k of n steps to the better tier, for k = 0 to n."""

    quality: tuple[float, ...]
    """Mean score, A(k)."""
    cost: tuple[float, ...]
    """Share of what the better tier costs alone; NaN where costs are not known."""
    cascade: tuple[float, ...]
    """The same where the cheaper tier is always paid and the better one comes on top."""
    strong: float
    weak: float

    @property
    def n(self) -> int:
        """How many steps."""
        return len(self.quality) - 1

    def recovered(self, k: int) -> float:
        """PGR: the share of the gap between the tiers that k steps close."""
        return (self.quality[k] - self.weak) / (self.strong - self.weak)

    @property
    def apgr(self) -> float:
        """Mean of PGR over the share of calls, by the trapezoidal rule. 0.5 is what chance gives; NaN where there is no gap."""
        if self.strong == self.weak or not self.n:
            return math.nan
        return math.fsum((self.recovered(k) + self.recovered(k + 1)) / 2 for k in range(self.n)) / self.n

    def cpt(self, share: float) -> float:
        """The least share of calls that recovers `share` of the gap; NaN where none does."""
        if self.strong == self.weak or not self.n:
            return math.nan
        return next((k / self.n for k in range(self.n + 1) if self.recovered(k) >= share - 1e-12), math.nan)

    def quality_at(self, share: float) -> float:
        """Quality with that share of calls sent up, as a share of the better tier's."""
        return self.quality[round(share * self.n)] / self.strong if self.strong else math.nan

    def cost_at(self, share: float, *, cascade: bool = False) -> float:
        """The least cost at which the quality is at least `share` of the better tier's."""
        costs = self.cascade if cascade else self.cost
        enough = [
            cost for cost, quality in zip(costs, self.quality, strict=True) if quality >= share * self.strong - 1e-12
        ]
        return min(enough, default=math.nan)


def curve(steps: Sequence[Graded], scores: Sequence[float], *, seed: str = "tie") -> Curve:
    """The curve of steps in the order of their scores."""
    order = sorted(range(len(steps)), key=lambda at: (-scores[at], _tie(seed, steps[at].id)))
    n = len(steps)
    ranked = [steps[at] for at in order]
    weak, weak_cost = math.fsum(step.weak for step in steps), math.fsum(step.weak_cost for step in steps)
    strong, strong_cost = math.fsum(step.strong for step in steps), math.fsum(step.strong_cost for step in steps)
    gains = accumulate((step.strong - step.weak for step in ranked), initial=weak)
    dearer = accumulate((step.strong_cost - step.weak_cost for step in ranked), initial=weak_cost)
    added = accumulate((step.strong_cost for step in ranked), initial=weak_cost)
    return Curve(
        quality=tuple(gain / max(1, n) for gain in gains),
        cost=tuple(cost / strong_cost if strong_cost else math.nan for cost in dearer),
        cascade=tuple(cost / strong_cost if strong_cost else math.nan for cost in added),
        strong=strong / max(1, n),
        weak=weak / max(1, n),
    )


def quality_of(steps: Sequence[Graded], up: Sequence[bool], *, cascade: bool = False) -> tuple[float, float]:
    """Quality and cost, each as a share of the better tier's alone, of one given choice: what a threshold from elsewhere really gives."""
    strong, strong_cost = math.fsum(step.strong for step in steps), math.fsum(step.strong_cost for step in steps)
    got = math.fsum(step.strong if high else step.weak for step, high in zip(steps, up, strict=True))
    paid = math.fsum(
        (step.strong_cost if high else 0.0) + (step.weak_cost if cascade or not high else 0.0)
        for step, high in zip(steps, up, strict=True)
    )
    return (got / strong if strong else math.nan, paid / strong_cost if strong_cost else math.nan)


def _tie(seed: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|{name}".encode()).digest()
