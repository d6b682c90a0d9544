"""The controls: pure rules that take values and return decisions. No clock, no I/O, no telemetry, no vendor types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.access import Access, NodeAccess
from governor.controls.budget import BudgetControl
from governor.controls.budget.shares import Shares
from governor.controls.compact import Compact
from governor.controls.ladder import Ladder
from governor.controls.limits import Limits
from governor.controls.loop import Loop
from governor.controls.notes import Notes
from governor.controls.order import Order
from governor.controls.prefix import Prefix
from governor.controls.rate import Rate
from governor.controls.route import Route
from governor.controls.shadow import Shadow
from governor.routing.outcomes import recorded

if TYPE_CHECKING:
    from governor.policy.pricing import ErrorAt
    from governor.policy.schema import Policy
    from governor.prices import PriceBook
    from governor.routing.judge import Ratings
    from governor.routing.knowledge import Knowledge

__all__ = ["Controls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """One instance of each control, set up from one policy."""

    limits: Limits
    nodes: NodeAccess
    loop: Loop
    access: Access
    route: Route
    rate: Rate
    compact: Compact
    order: Order
    prefix: Prefix
    budget: BudgetControl
    ladder: Ladder
    shares: Shares
    shadow: Shadow
    notes: Notes | None = None
    """None where outcomes are not recorded."""

    @classmethod
    def of(
        cls,
        policy: Policy,
        prices: PriceBook,
        error_at: ErrorAt | None = None,
        *,
        knowledge: Knowledge | None = None,
        ratings: Ratings | None = None,
    ) -> Controls:
        """The controls of a policy. Raises PolicyError when a money limit meets a tier without a known price.

        `error_at` (`LoadedPolicy.error_at`) gives that error its file, line and column. `knowledge`: what the policy's promoted snapshot
        tells routing (`routing.loading`). `ratings`: what a judge says, for the estimator that reads it (`routing.estimators`).
        """
        return cls(
            limits=Limits(policy),
            nodes=NodeAccess(policy),
            loop=Loop(policy),
            access=Access(policy),
            route=Route(policy, prices, knowledge),
            rate=Rate(policy, prices, ratings),
            compact=Compact(policy, prices),
            order=Order(policy),
            prefix=Prefix(policy),
            budget=BudgetControl(policy, prices, error_at),
            ladder=Ladder(policy),
            shares=Shares(policy),
            shadow=Shadow(policy, prices),
            notes=Notes(policy) if recorded(policy) else None,
        )
