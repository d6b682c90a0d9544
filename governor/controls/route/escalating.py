"""What went wrong, and the block of calls that a better tier answers for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import Decision, Reason, Verdict
from governor.plans import Judgement, Routed
from governor.runs import RouteState
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRequest, ModelResponse, ToolCall, ToolResult
    from governor.controls.route.rules import Base, Rules
    from governor.controls.route.tiers import Tiers
    from governor.policy.schema import Policy
    from governor.runs import RunState

__all__ = ["Escalating"]

_SIGNALS_KEPT = 8
_PASSES = Judgement()


class Escalating:
    """Signals, the look at an answer, the escalation block. Pure; what is going on is in the run's state."""

    def __init__(self, policy: Policy, tiers: Tiers, rules: Rules) -> None:
        """Read `routing.escalate`."""
        self._escalate = policy.routing.escalate
        self._tiers = tiers
        self._rules = rules
        escalate = policy.routing.escalate
        answers_loops = escalate is not None and "escalate" in policy.loops.respond
        self._after = frozenset((*(escalate.after if escalate else ()), *(("loop",) if answers_loops else ())))

    def raised(self, state: RunState, call: ModelCall, base: Base) -> Routed | None:
        """The better tier that an escalation block or fresh signals ask for; None where the base answers."""
        up, kept = self._up(base, call), base.tier if base.derived else None
        route = state.route
        in_block = up is not None and self.in_block(state) and self._tiers.better(route.tier, base.tier)
        signals = self._triggers(route.signals)
        if in_block and route.tier is not None and self._tiers.fits(route.tier, call):
            higher = self._tiers.above(route.tier, call) if signals and self._may_escalate(route) else None
            if higher is not None:
                reason = self._escalated(higher, f"{route.tier} did no better: {', '.join(signals)}")
                return self._tiers.routed(call, higher, reason, escalated=True, base=kept)
            reason = self._escalated(route.tier, f"an escalation lasts until call {route.until_call} of the run")
            return self._tiers.routed(call, route.tier, reason, escalated=True, base=kept)
        if up is not None and signals and self._may_escalate(route):
            return self._tiers.routed(
                call,
                up,
                self._escalated(up, f"seen since the last call: {', '.join(signals)}"),
                escalated=True,
                base=kept,
            )
        return None

    def judge(self, state: RunState, request: ModelRequest, response: ModelResponse) -> Judgement:
        """What the answer was worth, and whether to ask a better tier at once: never twice, and never for a stream.

        Parallel branches judge by the state that each has seen, so `at_most` may be passed by as many as run at once.
        """
        signal = _signal(response)
        if signal is None:
            return _PASSES
        decision = Decision(
            control="route",
            verdict=Verdict.ALLOW,
            reason=Reason(
                code="route.signal",
                rule="routing.escalate",
                text=f"The answer of {request.model} was not usable: {signal}.",
                seen=signal,
            ),
        )
        base = self._base(state, request)
        up = self._up(base, request.call)
        asked_base = request.tier == base.tier
        if up is None or not asked_base or not self._triggers((signal,)) or not self._may_escalate(state.route):
            return Judgement(signal=signal, decision=decision)
        if request.call.streaming or self._tiers.observed:
            return Judgement(signal=signal, decision=decision)
        again = self._tiers.routed(
            request.call,
            up,
            self._escalated(up, f"the answer was not usable: {signal}"),
            escalated=True,
            base=request.base,
        )
        return Judgement(signal=signal, decision=decision, again=again)

    def observe_model(self, state: RunState, request: ModelRequest, judged: Judgement) -> RunState:
        """The state after a model call: signals are used up, a block of escalated calls begins or ends.

        A call that could have been escalated and was not had no signal to read: what is there now came from a parallel branch, or
        from the loop control's look at this very answer, and waits for the next call.
        """
        escalate, route = self._escalate, state.route
        if escalate is None:
            return state
        base = self._base(state, request)
        raised = self._tiers.better(request.tier, base.tier)
        unread = not raised and self._up(base, request.call) is not None and not self._tiers.observed
        signals = route.signals if unread and judged.again is None else ()
        if judged.signal is not None and judged.again is None and judged.signal not in signals:
            signals = (*signals, *self._triggers((judged.signal,)))
        begins = judged.again.tier if judged.again is not None else None
        if begins is None and raised and (not self.in_block(state) or self._tiers.better(request.tier, route.tier)):
            begins = request.tier
        if begins is not None:
            until = state.model_calls + int(escalate.for_) - 1
            begun = RouteState(tier=begins, until_call=until, escalations=route.escalations + 1, signals=signals)
            return replace(state, route=begun)
        if route.tier is not None and state.model_calls >= route.until_call:
            route = replace(route, tier=None, until_call=0)
        return replace(state, route=replace(route, signals=signals))

    def observe_tool(self, state: RunState, call: ToolCall, result: ToolResult) -> RunState:
        """The state after a tool call: a real failure is a signal; governor's own denials are not."""
        del call
        if not result.failed or result.synthetic or not self._triggers(("tool_error",)):
            return state
        if "tool_error" in state.route.signals or len(state.route.signals) >= _SIGNALS_KEPT:
            return state
        return replace(state, route=replace(state.route, signals=(*state.route.signals, "tool_error")))

    def _base(self, state: RunState, request: ModelRequest) -> Base:
        """Where a call that was made belonged when nothing went wrong, as it was decided then."""
        base = self._rules.base(state, request.call)
        return base if request.base is None else replace(base, tier=request.base)

    def _up(self, base: Base, call: ModelCall) -> str | None:
        """The next tier above the base that can read the call, or None where there is none or nothing may raise it.

        The graph's own model counts as the tier that has the same model.
        """
        tier = base.tier or self._tiers.of(call.model)
        if base.locked or tier is None or self._escalate is None:
            return None
        return self._tiers.above(tier, call)

    def in_block(self, state: RunState) -> bool:
        """Whether a better tier answers because something went wrong."""
        if self._escalate is None:
            return False
        return state.route.tier in self._tiers.names and state.model_calls <= state.route.until_call

    def _triggers(self, signals: tuple[str, ...]) -> tuple[str, ...]:
        """Those signals after which the policy escalates."""
        return tuple(signal for signal in signals if signal in self._after)

    def _may_escalate(self, route: RouteState) -> bool:
        escalate = self._escalate
        return escalate is not None and route.escalations < escalate.at_most

    def _escalated(self, tier: str, why: str) -> Reason:
        escalate = self._escalate
        return Reason(
            code="route.escalated",
            rule="routing.escalate",
            text=f"Escalated to {tier}: {why}.",
            limit=escalate.at_most.written if escalate else None,
        )


def _signal(response: ModelResponse) -> str | None:
    """What is wrong with an answer, the surest sign first, in the policy's words; None when nothing is."""
    if response.invalid or any(use.args is None for use in response.tool_uses):
        return "invalid_output"
    if response.finish == "refusal":
        return "refusal"
    if not response.text.strip() and not response.tool_uses:
        return "cut_off" if response.finish == "length" else "empty"
    return "cut_off" if response.finish == "length" else None
