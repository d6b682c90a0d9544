"""Which tiers a limit in money cannot hold, because nobody knows what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from governor.calls import ModelRef
from governor.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.policy.document import Path
    from governor.policy.schema import Budget, Policy
    from governor.prices import PriceBook

__all__ = ["ErrorAt", "money_budget", "refuse_unpriced", "unpriced"]

ErrorAt: TypeAlias = "Callable[[Path, str, str, str | None], PolicyError]"
"""Makes the error for a path of the policy from message, remedy and rule: `LoadedPolicy.error_at` knows file and line."""


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
            remedy = (
                f"Add `price: {{input: ..., output: ...}}` to tiers.{name}, in dollars per million tokens, or, where the name is an alias, "
                "`serves: [provider:model]`: the models that may answer under it."
            )
            yield name, message, remedy


def refuse_unpriced(policy: Policy, prices: PriceBook, error_at: ErrorAt | None = None) -> None:
    """Raise PolicyError for the first tier without a known price under a budget in money; with its place where `error_at` knows it."""
    budget = money_budget(policy)
    for name, message, remedy in unpriced(policy, prices):
        raise (error_at or _nowhere)(("tiers", name, "model"), message, remedy, budget.id if budget else None)


def _nowhere(path: Path, message: str, remedy: str, rule: str | None) -> PolicyError:
    del path
    return PolicyError(message, rule=rule, remedy=remedy)
