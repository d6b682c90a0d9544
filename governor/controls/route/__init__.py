"""Route: which tier answers this step, and whether an answer was good enough.

Rules first, in the order of the file; then the default. A step that went wrong moves one tier up for a block of calls, because every
switch of model rewrites the whole prefix: one cold frontier call costs as much as some 160 warm ones of a small model. Lowering a
tier is left to the policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.controls.route.escalating import Escalating
from governor.controls.route.rules import Rules
from governor.controls.route.tiers import Tiers
from governor.decisions import Reason

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRef, ModelRequest, ModelResponse, ToolCall, ToolResult
    from governor.plans import Judgement, Routed
    from governor.policy.schema import Policy
    from governor.prices import PriceBook
    from governor.runs import RunState

__all__ = ["Route"]

_OWN_MODELS = 256


class Route:
    """Chooses tiers and judges answers. Pure; escalation is remembered in the run's state."""

    def __init__(self, policy: Policy, prices: PriceBook) -> None:
        """Read `tiers` (best first) and `routing` of the policy."""
        self._tiers = Tiers(policy, prices)
        self._rules = Rules(policy, self._tiers)
        self._escalating = Escalating(policy, self._tiers, self._rules)
        self._own: dict[ModelRef, Routed] = {}
        """What is said of each of the graph's own models when there are no tiers: always the same."""

    def choose(self, state: RunState, call: ModelCall) -> Routed:
        """The tier that answers. `state` counts this call already. The decision always says why."""
        if not self._tiers.names:
            return self._untiered(state, call)
        base = self._rules.base(state, call)
        raised = self._escalating.raised(state, call, base)
        if raised is not None:
            return raised
        reason = Reason(code=base.code, rule=base.rule, text=base.text, evidence=base.evidence)
        return self._tiers.routed(call, base.tier, reason)

    def lowered(self, state: RunState, call: ModelCall, routed: Routed, by: int) -> Routed:
        """The tier `by` steps below the one chosen, or the lowest that can read the call; the same where nothing may lower it."""
        if not by or routed.tier is None or self._rules.base(state, call).locked or call.locked:
            return routed
        at = self._tiers.names.index(routed.tier)
        below = [name for name in self._tiers.names[at + 1 : at + 1 + by] if self._tiers.fits(name, call)]
        if not below:
            return routed
        reason = Reason(
            code="route.lowered",
            rule="ladder",
            text=f"{below[-1]} answers instead of {routed.tier}: a budget runs out.",
        )
        return self._tiers.routed(call, below[-1], reason)

    def _untiered(self, state: RunState, call: ModelCall) -> Routed:
        """The graph's own model, when the policy names no tiers."""
        known = self._own.get(call.model)
        if known is None:
            base = self._rules.base(state, call)
            known = self._tiers.routed(call, None, Reason(code=base.code, rule=base.rule, text=base.text))
            if len(self._own) < _OWN_MODELS:
                self._own[call.model] = known
        return known

    def lower(self, state: RunState, call: ModelCall, routed: Routed) -> Routed | None:
        """The next cheaper tier that can read the call, for when the chosen one has no room. None where there is none, or a lock holds."""
        if routed.tier is None or self._rules.base(state, call).locked:
            return None
        below = self._tiers.names[self._tiers.names.index(routed.tier) + 1 :]
        tier = next((name for name in below if self._tiers.fits(name, call)), None)
        if tier is None:
            return None
        text = f"The rate of {routed.tier} is used up: {tier} answers."
        return self._tiers.routed(call, tier, Reason(code="route.rate_full", rule="rates", text=text, seen=routed.tier))

    def judge(self, state: RunState, request: ModelRequest, response: ModelResponse) -> Judgement:
        """What the answer was worth, and whether to ask a better tier at once: never twice, and never for a stream.

        Parallel branches judge by the state that each has seen, so `at_most` may be passed by as many as run at once.
        """
        return self._escalating.judge(state, request, response)

    def observe_model(self, state: RunState, request: ModelRequest, judged: Judgement) -> RunState:
        """The state after a model call: signals are used up, a block of escalated calls begins or ends.

        A call that could have been escalated and was not had no signal to read: what is there now came from a parallel branch, or
        from the loop control's look at this very answer, and waits for the next call.
        """
        return self._escalating.observe_model(state, request, judged)

    def observe_tool(self, state: RunState, call: ToolCall, result: ToolResult) -> RunState:
        """The state after a tool call: a real failure is a signal; governor's own denials are not."""
        return self._escalating.observe_tool(state, call, result)
