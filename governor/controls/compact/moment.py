"""What the choice of a view looks at, and how long a prompt may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.calls import View
from governor.controls.compact.plan import Limit, beyond, tightest
from governor.decisions import Decision, Reason, Verdict
from governor.models import facts
from governor.tokens import REQUEST_FRAMING, TOOLS_PREAMBLE
from governor.values import cheap

if TYPE_CHECKING:
    from governor.calls import ModelCall
    from governor.controls.compact.mask import Masked
    from governor.controls.compact.plan import Plan
    from governor.controls.compact.span import Standing
    from governor.plans import Routed
    from governor.policy.schema import Policy
    from governor.runs import Lane

__all__ = ["Bounds", "Moment", "reported"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Everything that the choice of a view looks at."""

    call: ModelCall
    routed: Routed
    time: int
    lane: Lane
    standing: Standing
    masked: Masked
    """The history with the placeholders of the cut in force."""
    view: View
    """The view under the cut in force."""
    tools: int
    tokens: int
    """Tokens of that view with the tools."""
    limit: Limit | None
    recall: bool
    """Whether what placeholders leave out can be read back."""
    ratio: int
    """Real tokens per 1,000 estimated ones of the model that answers, an upper bound."""
    harder: bool = False

    @property
    def forced(self) -> bool:
        """Whether the prompt is too long as it stands."""
        return self.limit is not None and self.tokens > self.limit.force


class Bounds:
    """The limits that a policy and its models put on a prompt."""

    def __init__(self, policy: Policy) -> None:
        """Read `context.max_input_tokens` and the windows of the tiers."""
        self._tiers = policy.tiers
        self._off = policy.context.compact.strategy == "off"
        maximum = policy.context.max_input_tokens
        self._bound = (None, "") if maximum is None else (int(maximum), maximum.written)

    def limit(self, call: ModelCall, routed: Routed, view: View, ratio: int) -> Limit | None:
        """The tighter of the policy's bound and the model's window, if either is known, for a prompt with the media of `view`."""
        window = self._window(routed)
        answer = routed.max_output_tokens or call.max_output_tokens or 4_096
        framing = REQUEST_FRAMING + (TOOLS_PREAMBLE if call.tools else 0)
        media = beyond(view, routed.model, ratio)
        return tightest(*self._bound, window, answer, ratio=ratio, framing=framing, media=media)

    def after(self, now: Moment, plan: Plan) -> Limit | None:
        """The limit of what a cut leaves, which may be fewer pictures. A cut that masks is taken to leave them all."""
        if plan.masks:
            return now.limit
        left = View(history=now.masked.history, pinned=(*plan.head, *plan.kept), start=plan.start)
        return self.limit(now.call, now.routed, left, now.ratio)

    def room(self, now: Moment, plan: Plan) -> int:
        """Tokens that messages may have after a cut before the next one is forced."""
        limit = self.after(now, plan)
        return (limit.force if limit else 0) - now.tools

    def _window(self, routed: Routed) -> int | None:
        """Tokens the model reads, or None when nobody knows, and where nothing may be cut: the provider then refuses, free of charge."""
        tier = self._tiers.get(routed.tier) if routed.tier is not None else None
        if self._off:
            return None
        if tier is not None and tier.context_window is not None:
            return int(tier.context_window)
        known = facts(routed.model)
        return None if known.family == "unknown" else known.context_window


def reported(now: Moment, view: View, cause: str, price: int, *, observed: bool) -> Decision:
    """What is said of a cut that leaves `view`. `price`: what it costs, nano-USD."""
    after = view.tokens + now.tools
    reason = Reason(
        code="context.cut",
        rule="context.compact",
        text=f"Cut the history from about {now.tokens:,} to {after:,} tokens: {cause}.",
        seen=str(now.tokens),
        evidence={
            "tokens_before": now.tokens,
            "tokens_after": after,
            "rent_nano_usd": now.lane.rent,
            "cost_nano_usd": price,
            "cause": cause,
        },
    )
    return Decision(control="compact", verdict=Verdict.MODIFY, reason=reason, observed=observed)
