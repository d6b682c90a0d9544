"""Route: which tier answers this step, and whether an answer was good enough.

Locks first, then the rules in the order of the file; where none decides, what a promoted snapshot expects to gain, against what it costs
and what the change of model costs; then the default. A step that went wrong moves one tier up for a block of calls, because every switch
rewrites the whole prefix: one cold frontier call costs as much as some 160 warm ones of a small model. For the same reason, and because a
model should read the results that it asked for, nothing is lowered in the middle of a turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.controls.route.choosing import Choosing
from governor.controls.route.escalating import Escalating
from governor.controls.route.locks import Locks
from governor.controls.route.rules import Rules
from governor.controls.route.scoring import Scoring
from governor.controls.route.standing_in import StandIns
from governor.controls.route.tiers import Tiers
from governor.decisions import Reason
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRef, ModelRequest, ModelResponse, ToolCall, ToolResult
    from governor.controls.route.locks import Held
    from governor.controls.route.rules import Base
    from governor.plans import Judgement, Routed
    from governor.policy.schema import Policy
    from governor.prices import PriceBook
    from governor.routing.knowledge import Knowledge
    from governor.runs import RunState

__all__ = ["Route"]

_OWN_MODELS = 256


class Route:
    """Chooses tiers and judges answers. Pure; escalation is remembered in the run's state."""

    def __init__(self, policy: Policy, prices: PriceBook, knowledge: Knowledge | None = None) -> None:
        """Read `tiers` (best first) and `routing` of the policy. `knowledge`: its promoted snapshot; absent, rules and default decide."""
        self._tiers = Tiers(policy, prices)
        self._rules = Rules(policy, self._tiers)
        self._escalating = Escalating(policy, self._tiers, self._rules)
        self._locks = Locks(policy, self._tiers)
        self._choosing = Choosing(policy, prices, self._tiers, knowledge) if knowledge is not None else None
        self._stand_ins = StandIns(policy, self._tiers, self._rules, self._locks)
        self._check = policy.routing.check
        self._scoring = Scoring(policy, knowledge)
        self.alternates, self.stand_in = self._stand_ins.alternates, self._stand_ins.stand_in
        self.disagreed = self._escalating.disagreed
        self._own: dict[ModelRef, Routed] = {}
        """What is said of each of the graph's own models when there are no tiers: always the same."""

    def choose(self, state: RunState, call: ModelCall, now: int = 0) -> Routed:
        """The tier that answers. `state` counts this call already; `now`: milliseconds since the epoch, 0 where nobody knows.

        The decision always says why, with every number that entered it.
        """
        if not self._tiers.names:
            return self._untiered(state, call)
        base = self._rules.base(state, call)
        held = self._locks.held(state, call, now)
        if not base.locked:
            base = self._found(state, call, base, held, now)
        kept = base.tier if base.derived else None
        pinned = None if base.locked else self._locks.provider(state, call)
        raised = self._escalating.raised(state, call, base)
        if raised is not None and (raised.tier is None or self._locks.may_read(pinned, raised.tier)):
            return self._escalating.capped(state, call, raised, base)
        if base.tier is not None and held.tier is not None and not self._locks.may_read(pinned, base.tier):
            text = f"The turn holds reasoning that only {pinned} can read: {held.tier} keeps answering."
            reason = Reason(code="route.provider_state", rule="routing", text=text, evidence=base.evidence)
            return self._tiers.routed(call, held.tier, reason, base=held.tier)
        reason = Reason(code=base.code, rule=base.rule, text=base.text, evidence=base.evidence)
        return self._escalating.capped(state, call, self._tiers.routed(call, base.tier, reason, base=kept), base)

    def _found(self, state: RunState, call: ModelCall, base: Base, held: Held, now: int) -> Base:
        """What a snapshot says where no rule does; elsewhere the base, but not below who answers in the middle of a turn."""
        if self._choosing is not None and base.rule == "routing.default" and not self._escalating.in_block(state):
            return self._choosing.base(state, call, held, base, now)
        if base.tier is None or held.tier is None or not self._tiers.better(held.tier, base.tier):
            return base
        if held.boundary and not held.stays:
            return base
        if not self._tiers.fits(held.tier, call):
            return base
        text = f"{held.tier} keeps answering until the turn is over: {base.tier} would otherwise."
        evidence = base.evidence | {"incumbent": held.tier, "would_be": base.tier, "pending": held.pending}
        return replace(base, tier=held.tier, code="route.tool_loop", text=text, evidence=evidence, derived=True)

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
        return self._tiers.routed(call, below[-1], reason, base=routed.base)

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
        return self._tiers.routed(
            call, tier, Reason(code="route.rate_full", rule="rates", text=text, seen=routed.tier), base=routed.base
        )

    def judge(
        self,
        state: RunState,
        request: ModelRequest,
        response: ModelResponse,
        routed: Routed | None = None,
        *,
        failed: str | None = None,
    ) -> Judgement:
        """What the answer was worth, and whether to ask again at once (`Escalating.judge`): by the gates, then by what was learned."""
        judged = self._escalating.judge(state, request, response, routed, failed=failed)
        if judged.signal is not None or (low := self._scoring.low(state, request, response)) is None:
            return judged
        return self._escalating.scored(state, request, routed, *low)

    def samples(self, state: RunState, request: ModelRequest, routed: Routed, judged: Judgement) -> int:
        """How many more answers an answer is to be compared with: none that is known to be wrong, or that nobody would better."""
        if (
            self._check.kind == "off"
            or judged.signal is not None
            or not self._escalating.may_ask(state, request, routed)
        ):
            return 0
        return int(self._check.samples) - 1

    def agree(self, agreed: int, of: int) -> bool:
        """Whether enough of `of` answers agree with the first, itself included."""
        return agreed >= self._check.agree * of

    def observe_model(
        self, state: RunState, request: ModelRequest, judged: Judgement, routed: Routed | None = None
    ) -> RunState:
        """The state after a model call: signals are used up, a block of escalated calls begins or ends.

        A call that could have been escalated and was not had no signal to read: what is there now came from a parallel branch, or
        from the loop control's look at this very answer, and waits for the next call.
        """
        return self._escalating.observe_model(state, request, judged, routed)

    def observe_tool(self, state: RunState, call: ToolCall, result: ToolResult) -> RunState:
        """The state after a tool call: a real failure is a signal; governor's own denials are not."""
        return self._escalating.observe_tool(state, call, result)
