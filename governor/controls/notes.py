"""Notes: what is kept of a routed step, for routing to be learned from later. Text only as far as the policy's trace may show it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from governor.routing.estimate import StepFeatures
from governor.routing.live import live_step
from governor.routing.outcomes import Step, kept_text
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall
    from governor.plans import Judgement, Quote, Routed
    from governor.policy.schema import Policy
    from governor.runs import RunState
    from governor.usage import Usage

__all__ = ["Notes"]


class Notes:
    """Makes the records. Pure."""

    def __init__(self, policy: Policy) -> None:
        """Read `trace.content`."""
        self._policy = policy

    def features(self, state: RunState, call: ModelCall) -> StepFeatures:
        """What is kept of what was known before the call. `state` counts it."""
        step = live_step(state, call)
        return replace(step, delta=kept_text(self._policy, step.delta))

    def step(
        self, state: RunState, quote: Quote, routed: Routed, usage: Usage, judged: Judgement, *, free: bool, now: int
    ) -> Step:
        """The record of a finished call. `free`: it was answered from a cache of the application's own."""
        call, reason = quote.request.call, routed.decision.reason
        known = self.features(state, call)
        found = {each.name: getattr(known, each.name) for each in fields(StepFeatures)}
        return Step(
            run=call.step.run.id,
            step=state.model_calls,
            node=call.step.node,
            path=call.step.path,
            tier=routed.tier,
            model=str(quote.request.model),
            code=reason.code if reason is not None else "",
            snapshot=str(reason.evidence.get("snapshot", "")) if reason is not None else "",
            signal=judged.signal or "",
            cost=0 if free else quote.rates.cost(usage) + usage.fees if quote.rates is not None else None,
            at_ms=now,
            features={name: value for name, value in found.items() if value not in ("", 0, False)},
        )
