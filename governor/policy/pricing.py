"""Which tiers a limit in money cannot hold, because nobody knows what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.calls import ModelRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.schema import Budget, Policy
    from governor.prices import PriceBook

__all__ = ["money_budget", "unpriced"]


def money_budget(policy: Policy) -> Budget | None:
    """The first budget that counts the money of model calls, soft and observing ones too: what has no price cannot be counted."""
    return next(
        (
            budget
            for budget in policy.budgets
            if budget.limit.usd is not None and budget.scope != "tool" and budget.tool is None
        ),
        None,
    )


def unpriced(policy: Policy, prices: PriceBook) -> Iterator[tuple[str, str, str]]:
    """Name of each tier without a known price under a budget in money, what is wrong with it, and the remedy."""
    budget = money_budget(policy)
    if budget is None:
        return
    for name, tier in policy.tiers.items():
        if prices.rates(ModelRef(provider=tier.provider, model=tier.model_name)) is None:
            message = f"tier {name} ({tier.model}) has no known price, and budget {budget.id} limits money"
            remedy = f"Add `price: {{input: ..., output: ...}}` to tiers.{name}, in dollars per million tokens."
            yield name, message, remedy
