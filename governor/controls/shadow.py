"""Shadow: which calls another tier answers as well, unseen, so that it is known what its answers are worth.

Decided before anything was answered, by a hash of the call: pairs that exist because an answer was poor would say nothing of how often it
is. Never for a call that has to stay with its model, nor on a rung of the ladder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.calls import ModelRef
from governor.decisions import ALLOWED
from governor.ledger import Hold, Unit
from governor.models import facts
from governor.plans import Routed
from governor.routing.outcomes import kept_text
from governor.routing.records import PairedOutcome, Side
from governor.values import cheap, replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelResponse
    from governor.plans import Judgement, Quote, Rung
    from governor.policy.schema import Policy
    from governor.prices import PriceBook
    from governor.routing.estimate import StepFeatures
    from governor.runs import RunState

__all__ = ["LEDGER", "Answered", "Shadow"]

LEDGER = "shadow"
"""What the ledger of shadow calls begins with, and what stands for the budget in its alerts."""
_DAY_MS = 86_400_000
_KEPT = 5
"""Of a hard limit a fifth is not for shadows: a budget that is nearly used up belongs to the runs."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One tier's answer to the call."""

    tier: str
    response: ModelResponse
    judged: Judgement
    cost: int | None
    """Nano-USD; None where nobody knows."""


class Shadow:
    """Chooses calls and the other tier, and puts the two answers together. Pure."""

    def __init__(self, policy: Policy, prices: PriceBook) -> None:
        """Read `routing.quality.shadow` and its budget."""
        quality = policy.routing.quality
        self._policy, self._prices = policy, prices
        self._share = 0.0 if quality is None or quality.shadow is None else float(quality.shadow)
        self._limit = None if quality is None else quality.shadow_per_day
        self._tiers = tuple(policy.tiers)
        self.on = bool(self._share) and len(self._tiers) > 1 and policy.mode == "enforce"

    def chosen(self, state: RunState, call: ModelCall, routed: Routed, rung: Rung) -> Routed | None:
        """The other tier for this call, if it is one of the share; None for the others. `state` counts the call."""
        if not self.on or routed.tier is None or call.locked or rung.level or state.stopped is not None:
            return None
        if not self._drawn(state, call):
            return None
        other = self._other(routed.tier)
        tier = self._policy.tiers[other]
        model = ModelRef(provider=tier.provider, model=tier.model_name)
        limit = None if tier.max_output_tokens is None else int(tier.max_output_tokens)
        return Routed(
            tier=other, model=model, rates=self._prices.rates(model), max_output_tokens=limit, decision=ALLOWED
        )

    def _drawn(self, state: RunState, call: ModelCall) -> bool:
        """Whether the call is of the share: by a hash, so that a call that is made again after a crash is drawn alike."""
        name = f"governor-shadow-1|{call.step.run.id}|{call.step.path}|{state.model_calls}"
        number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8])
        return number < self._share * (1 << 64)

    def _other(self, tier: str) -> str:
        """Of the policy's best and its last tier the one that is not `tier`; the best beside one between them."""
        return self._tiers[-1] if tier == self._tiers[0] else self._tiers[0]

    def fits(self, quote: Quote) -> bool:
        """Whether the other tier can read the prompt as the first one was shown it, and a bound of money can be kept."""
        request = quote.request
        if self._limit is not None and quote.rates is None:
            return False  # what has no price would count as nothing
        given = None if request.tier is None else self._policy.tiers[request.tier].context_window
        window = int(given) if given is not None else facts(request.model).context_window
        return request.input_tokens + (request.max_output_tokens or 0) <= window

    def held(self, quote: Quote, now: int) -> Quote:
        """The quote with what a shadow may not touch, and with a line of its own.

        A soft limit that is passed refuses a shadow, and of a hard one the last fifth is kept. Rates are as for any call.
        """
        day = now // _DAY_MS
        own = Hold(
            ledger=f"{LEDGER}/{self._policy.name}/day={day}",
            unit=Unit.NANO_USD,
            amount=quote.cost,
            limit=None if self._limit is None else int(self._limit),
            budget=LEDGER,
            scope=f"policy={self._policy.name}",
            written="" if self._limit is None else self._limit.written,
            expires_ms=(day + 2) * _DAY_MS,
        )
        return replace(quote, holds=(*(_modest(hold) for hold in quote.holds), own))

    def paired(
        self, state: RunState, call: ModelCall, features: StepFeatures, used: Answered, other: Answered, now: int
    ) -> PairedOutcome:
        """What both answers were worth, as the gates say, for the record."""
        better, lesser = sorted((used, other), key=lambda each: self._tiers.index(each.tier))
        return PairedOutcome(
            id=f"{call.step.run.id}/{state.model_calls}",
            run=call.step.run.id,
            step=features,
            strong=self._side(better),
            weak=self._side(lesser),
            source="gate",
            at_ms=now,
            propensity=self._share,
            sent=used.tier,
        )

    def _side(self, answered: Answered) -> Side:
        return Side(
            tier=answered.tier,
            score=0.0 if answered.judged.signal is not None else 1.0,
            cost=answered.cost,
            answer=kept_text(self._policy, answered.response.text),
        )


def _modest(hold: Hold) -> Hold:
    if hold.per_ms is not None:
        return hold
    if hold.limit is None:
        return hold if hold.alert is None else replace(hold, limit=hold.alert, alert=None)
    return replace(hold, kept=max(hold.kept, hold.limit // _KEPT))
