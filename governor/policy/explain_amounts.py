"""Sentences about amounts: what a budget lets a scope spend, and at what pace a tier may be called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.policy.base import number_text
from governor.policy.splits import split_text
from governor.policy.windows import CalendarWindow, RollingWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy.schema import Budget, Policy, Rate, Window

__all__ = ["budget_sentence", "names", "pace_sentence"]


def names(kind: str, globs: Sequence[str]) -> str:
    """What patterns name, in words: `tool `a` or `b``, `any node`."""
    if "*" in globs:
        return f"any {kind}"
    return f"{kind} " + " or ".join(f"`{glob}`" for glob in globs)


def pace_sentence(rate: Rate) -> str:
    """What a rate does."""
    words = {"tokens": "tokens", "input_tokens": "input tokens", "output_tokens": "output tokens", "requests": "calls"}
    limits = {words[name.removesuffix("_per_minute")]: amount.written for name, amount in rate.limits.items()}
    pace = " and ".join(f"{amount} {unit}" for unit, amount in limits.items())
    tiers = ", ".join(f"`{tier}`" for tier in rate.tier)
    each = f" for each {rate.scope}" if rate.scope else ""
    fair = f", of which each {rate.fair.by} at most {rate.fair.share.written}" if rate.fair else ""
    full = {"shed": "is refused", "lower_tier": "goes to a lower tier"}
    wait = rate.when_full.wait
    then = f"waits up to {wait.written}" if wait is not None else full[rate.when_full.action]
    return f"{tiers} take{'s' if len(rate.tier) == 1 else ''} at most {pace} a minute{each}{fair}; a call beyond that {then}."


def budget_sentence(budget: Budget, policy: Policy) -> str:
    """What a budget does."""
    units = {
        "usd": "${}",
        "fees": "${} of fees",
        "tokens": "{} tokens",
        "input_tokens": "{} input tokens",
        "output_tokens": "{} output tokens",
        "model_calls": "{} model calls",
        "tool_calls": "{} tool calls",
        "calls": "{} calls",
        "time": "{} of running time",
    }
    amounts = [(text, getattr(budget.limit, unit)) for unit, text in units.items()]
    limit = " and ".join(
        text.format(amount.written.removeprefix("$")) for text, amount in amounts if amount is not None
    )
    per = _window(budget.per)
    kinds = (budget.weights.model_dump().items()) if budget.weights else ()
    weighs = ", ".join(f"{kind} {number_text(weight)}" for kind, weight in kinds)
    weighed = f" (a token counts as: {weighs})" if weighs else ""
    tool = f" on {names('tool', budget.tool)}" if budget.tool else ""
    fee = f" (each call costs ${budget.fee.written.removeprefix('$')})" if budget.fee else ""
    hard = "" if budget.hard else "; beyond that there is an alert, no refusal"
    only = " (recorded only)" if policy.mode_of(budget.mode) == "observe" else ""
    return (
        f"Each {budget.scope} may spend at most {limit}{weighed}{per}{tool}{fee}{split_text(budget.split)}{hard}{only}."
    )


def _window(per: Window | None) -> str:
    if per is None:
        return ""
    if isinstance(per, RollingWindow):
        return f" in any {per.rolling.written} (kept in {per.slices} slices)"
    if isinstance(per, CalendarWindow):
        return f" a {per.calendar} ({per.zone})"
    return f" in each fixed window of {per.written} (UTC)" if isinstance(per, int) else f" a {per}"
