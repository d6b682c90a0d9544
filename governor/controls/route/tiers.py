"""The policy's tiers, best first: what fits, what is above and below, what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.calls import ModelRef
from governor.decisions import Decision, Reason, Verdict
from governor.models import facts
from governor.plans import Routed

if TYPE_CHECKING:
    from governor.calls import ModelCall
    from governor.policy.schema import Policy
    from governor.prices import PriceBook

__all__ = ["Tiers"]


class Tiers:
    """What may answer. Pure."""

    def __init__(self, policy: Policy, prices: PriceBook) -> None:
        """Read `tiers` and what compaction can reach."""
        self._tiers = policy.tiers
        self._prices = prices
        self.names = tuple(policy.tiers)
        self.models = {
            name: ModelRef(provider=tier.provider, model=tier.model_name) for name, tier in policy.tiers.items()
        }
        self.observed = policy.mode == "observe"
        compact = policy.context.compact
        self._compacts = compact.strategy != "off"
        self._view = int(compact.keep_tail) + int(compact.ledger)

    def of(self, model: ModelRef | str | None) -> str | None:
        """The best tier that has this model; None where none has."""
        return next((name for name, known in self.models.items() if str(known) == str(model)), None)

    def below(self, tier: str, call: ModelCall) -> list[str]:
        """Cheaper tiers that can read the call, the next one first."""
        return [name for name in self.names[self.names.index(tier) + 1 :] if self.fits(name, call)]

    def above(self, tier: str, call: ModelCall) -> str | None:
        """The next better tier that can read the call; None where there is none."""
        above = reversed(self.names[: self.names.index(tier)])
        return next((name for name in above if self.fits(name, call)), None)

    def better(self, tier: str | None, than: str | None) -> bool:
        """Whether a tier stands above another; any does above the graph's own model (None)."""
        if tier is None or tier not in self.names:
            return False
        return than is None or self.names.index(tier) < self.names.index(than)

    def fits(self, tier: str, call: ModelCall) -> bool:
        """Whether the smallest view of the call and an answer have room in the tier's window."""
        return self.need(call) + self._answer(tier, call) <= self.window(tier)

    def need(self, call: ModelCall) -> int:
        """Tokens of the smallest prompt that compaction can reach, tools included."""
        history = call.history
        need = min(history.tokens, self._pinned(call) + self._view) if self._compacts else history.tokens
        return need + sum(tool.tokens for tool in call.tools)

    def _pinned(self, call: ModelCall) -> int:
        """Tokens of the leading system text and the task, which compaction keeps."""
        messages = call.history.messages
        end = 0
        while end < len(messages) and messages[end].role == "system":
            end += 1
        return call.history.between(0, min(end + 1, len(messages)))

    def window(self, tier: str) -> int:
        """Tokens that the tier can read, by the policy or by what is known of its model."""
        given = self._tiers[tier].context_window
        return int(given) if given is not None else facts(self.models[tier]).context_window

    def _answer(self, tier: str, call: ModelCall) -> int:
        return int(self._tiers[tier].max_output_tokens or call.max_output_tokens or 0)

    def routed(
        self, call: ModelCall, tier: str | None, reason: Reason, *, escalated: bool = False, base: str | None = None
    ) -> Routed:
        """A call answered by this tier, with what it costs there; unchanged where the policy only observes."""
        model = self.models[tier] if tier is not None else call.model
        changes = model != call.model
        decision = Decision(
            control="route",
            verdict=Verdict.MODIFY if changes else Verdict.ALLOW,
            reason=reason,
            observed=self.observed and changes,
        )
        if self.observed:
            tier, model, escalated = None, call.model, False
        limit = self._tiers[tier].max_output_tokens if tier is not None else None
        return Routed(
            tier=tier,
            model=model,
            rates=self._prices.rates(model),
            max_output_tokens=None if limit is None else int(limit),
            decision=decision,
            escalated=escalated,
            base=None if self.observed else base,
        )
