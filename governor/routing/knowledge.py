"""What a promoted snapshot tells the decision: the pair of tiers, the estimator, the quantiles of gain, and what is promised of quality."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.routing.estimate import Estimate, Estimator, StepFeatures

__all__ = ["Bound", "Knowledge"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What is known of a cheaper tier's losses at a node."""

    n: int
    regrets: int
    """Of `n` pairs, those where the better tier was right and the cheaper one wrong."""
    upper: float
    """Upper bound of their rate at the promised confidence."""
    target: float
    """The largest rate that the policy allows: `max_loss` of the better tier's right answers."""
    open: bool
    """Whether the bound, or the evidence of pairs that were looked at one after the other, keeps the promise."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """One snapshot, as the decision reads it. Nothing in it changes while calls are made."""

    id: str
    weak: str
    """Name of the cheaper tier of the pair that was compared."""
    strong: str
    estimator: Estimator
    nodes: frozenset[str] | None = None
    """Names and paths of nodes that outcomes were recorded of; None where the estimator itself says what it does not know."""
    bounds: Mapping[str, Bound] = field(default_factory=dict[str, "Bound"])
    """By the node's path or name. Empty where the policy promises nothing."""
    proven: float | None = None
    """Up to which gain the promise of quality was calibrated; None: for no gain at all. Asked for where the policy promises something."""
    quantiles: tuple[tuple[float, float], ...] = ()
    """(share of recorded calls with no more gain, that gain), rising."""
    share: float | None = None
    """The share of decisions that the threshold is for, as it was steered (`next_share`); None: the policy's `frontier_share` itself."""

    def estimate(self, step: StepFeatures) -> Estimate | None:
        """The gain, or None: of a node that nobody has recorded nothing is known, whatever its text looks like."""
        if self.nodes is not None and step.node not in self.nodes and step.path not in self.nodes:
            return None
        return self.estimator.estimate(step)

    def bound(self, step: StepFeatures) -> Bound | None:
        """What is promised of the cheaper tier at the step's node; None where nothing is known."""
        return self.bounds.get(step.path) or self.bounds.get(step.node)

    def threshold(self, share: float) -> float | None:
        """The gain above which this share of the recorded calls lies; None where no calls were recorded."""
        if not self.quantiles:
            return None
        wanted = 1 - (share if self.share is None else self.share)
        at = bisect_left(self.quantiles, (wanted, -2.0))
        return self.quantiles[min(at, len(self.quantiles) - 1)][1]
