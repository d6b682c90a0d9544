"""The money of one run: what calls cost at most times how many there can be, or the budget that ends it before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.calls import ModelRef
from governor.structure.amounts import ZERO, Amount, least, total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.schema import Budget, Policy, Tier
    from governor.prices import PriceBook

__all__ = ["call_cost", "money"]


def money(policy: Policy, prices: PriceBook | None, models: Amount, tools: Amount, budgets: list[Budget]) -> Amount:
    """Nano-USD of one run. `budgets`: those that hold a run. Fees of tools that a provider runs itself are only in a budget's bound."""
    hard = [
        Amount(int(budget.limit.usd), f"budget {budget.id}: usd {budget.limit.usd.written}")
        for budget in budgets
        if budget.limit.usd is not None
    ]
    calls = ZERO if models.most == 0 else call_cost(policy, prices).by(models)
    fees = max((int(budget.fee) for budget in policy.budgets if budget.fee is not None), default=0)
    counted = total([calls, Amount(fees, tools.why).by(tools)], calls.why or "no call costs anything")
    return least([counted, *hard])


def call_cost(policy: Policy, prices: PriceBook | None) -> Amount:
    """Nano-USD of the dearest call that the policy lets happen: every tier may answer, at its clamp, with the largest prompt."""
    if not policy.tiers or prices is None:
        return Amount(None, "the policy has no tiers, so that nothing clamps an answer")
    known = list(_tiers(policy, prices))
    endless = next((amount for amount in known if amount.most is None), None)
    return endless or max(known, key=lambda amount: amount.most or 0)


def _tiers(policy: Policy, prices: PriceBook) -> Iterator[Amount]:
    for name, tier in policy.tiers.items():
        rates = prices.rates(ModelRef(provider=tier.provider, model=tier.model_name))
        prompt = _prompt(policy, tier)
        if rates is None:
            yield Amount(None, f"tier {name} has no known price")
        elif tier.max_output_tokens is None:
            yield Amount(None, f"tier {name} has no max_output_tokens")
        elif prompt is None:
            yield Amount(None, f"tier {name} has no context_window, and the policy no context.max_input_tokens")
        else:
            cost = rates.worst(prompt, int(tier.max_output_tokens))
            yield Amount(cost, f"a call of tier {name} at its largest, as often as models may be called")


def _prompt(policy: Policy, tier: Tier) -> int | None:
    given = [int(limit) for limit in (policy.context.max_input_tokens, tier.context_window) if limit is not None]
    return min(given, default=None)
