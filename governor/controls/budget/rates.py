"""Rates as holds: what a call takes of its tier's tokens and calls a minute, in the same atomic step as its budgets.

As providers do it: held at admission are the prompt and the longest answer, token by token. At the end stands what the provider takes:
cache reads may come back, an answer may take several times its tokens. What it takes beyond the hold drains like everything else.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from governor.controls.budget.blanks import Blank
from governor.controls.budget.lines import MissingScope, named, qualified, safe
from governor.controls.budget.texts import missing_owner
from governor.controls.budget.windows import DAY_MS
from governor.ledger import WORDS, Hold, Unit
from governor.models import facts
from governor.weighing import Weighing, scaled

if TYPE_CHECKING:
    from governor.calls import ModelRef, StepRef
    from governor.decisions import Decision
    from governor.ledger import Shortfall
    from governor.policy.rates import Owner, Rate, WhenFull
    from governor.policy.schema import Policy

__all__ = ["MINUTE_MS", "Rates"]

MINUTE_MS = 60_000
_UNITS = {
    "tokens_per_minute": Unit.TOKENS,
    "input_tokens_per_minute": Unit.INPUT_TOKENS,
    "output_tokens_per_minute": Unit.OUTPUT_TOKENS,
    "requests_per_minute": Unit.MODEL_CALLS,
}
_KEPT_DAYS = 2
"""A bucket is empty after a minute; whole days, so that its expiry is not written anew with every call."""
_NONE = Blank(())


class Rates:
    """The `rates` of one policy."""

    def __init__(self, policy: Policy) -> None:
        """Read the rates, by tier."""
        self._by_name = {rate.name: rate for rate in policy.rates}
        self._by_tier: dict[str, tuple[Rate, ...]] = {
            tier: tuple(rate for rate in policy.rates if tier in rate.tier) for tier in policy.tiers
        }

    def of(self, step: StepRef, tier: str | None, model: ModelRef, now: int) -> Blank | Decision:
        """The holds of a call of `tier`, each with an amount of 1. A Decision when the run does not name whose rate it is."""
        rates = self._by_tier.get(tier, ()) if tier is not None else ()
        if not rates:
            return _NONE
        holds: list[Hold] = []
        weighings: list[Weighing | None] = []
        expires = (now // DAY_MS + _KEPT_DAYS) * DAY_MS
        for rate in rates:
            try:
                owners = _owners(rate, step)
            except MissingScope as missing:
                return missing_owner(rate.name, missing.scope)
            for field, limit in rate.limits.items():
                for owner, share in owners:
                    holds.append(_hold(rate, field, owner, int(limit * share), limit.written, expires))
                    weighings.append(_weighing(rate, field, model))
        return Blank(tuple(holds), tuple(weighings))

    def when_full(self, shortfall: Shortfall) -> WhenFull:
        """What the policy says of a call that found no room."""
        return self._by_name[shortfall.hold.budget].when_full


def _owners(rate: Rate, step: StepRef) -> list[tuple[str, Decimal]]:
    """In whose name a call is held on a rate, and which share of it each may take. Raises MissingScope."""
    if rate.scope is not None:
        return [(_owner(rate.scope, step), Decimal(1))]
    whole = ("", Decimal(1))
    return [whole, (_owner(rate.fair.by, step), Decimal(rate.fair.share))] if rate.fair else [whole]


def _owner(scope: Owner, step: StepRef) -> str:
    within = qualified(scope, step) if scope != "org" else ""
    return f"{within}{scope}={safe(named(scope, step, None))}"


def _hold(rate: Rate, field: str, owner: str, limit: int, written: str, expires: int) -> Hold:
    tiers = f"tier={'+'.join(rate.tier)}"
    share = f"{rate.fair.share.written} of {written}" if rate.fair and owner else written
    return Hold(
        ledger=f"{rate.name}/{tiers}{',' if owner else ''}{owner}/rate/{field}",
        per_ms=MINUTE_MS,
        unit=_UNITS[field],
        amount=1,
        limit=limit,
        budget=rate.name,
        scope=f"{tiers},{owner}" if owner else tiers,
        written=f"{share} {WORDS[_UNITS[field]]} a minute",
        expires_ms=expires,
    )


def _weighing(rate: Rate, field: str, model: ModelRef) -> Weighing | None:
    if field == "requests_per_minute":
        return None
    known, given = facts(model), rate.burndown
    weights = (
        _first(given and given.input, 1),
        _first(given and given.cached, known.burndown_cached),
        _first(given and given.written, 1),
        _first(given and given.output, known.burndown_output if field == "tokens_per_minute" else 1),
    )
    per, (fresh, cached, written, output) = scaled(weights)
    prompts, answers = field != "output_tokens_per_minute", field != "input_tokens_per_minute"
    return Weighing(
        per=per,
        prompt_held=per * prompts,
        output_held=per * answers,
        input=fresh * prompts,
        cached=cached * prompts,
        written=written * prompts,
        output=output * answers,
    )


def _first(given: Decimal | None, known: int) -> Decimal:
    return Decimal(known) if given is None else given
