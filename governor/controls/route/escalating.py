"""What went wrong, and the block of calls that a better tier answers for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.controls.route.gates import Fault, fault_of
from governor.controls.route.hopeless import HopelessCap
from governor.decisions import Decision, Reason, Verdict
from governor.plans import Judgement
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRequest, ModelResponse, ToolCall, ToolResult
    from governor.controls.route.rules import Base, Rules
    from governor.controls.route.tiers import Tiers
    from governor.plans import Routed
    from governor.policy.schema import Policy
    from governor.runs import RouteState, RunState

__all__ = ["Escalating"]

_SIGNALS_KEPT = 8
_PASSES = Judgement()


class Escalating:
    """Signals, the look at an answer, the escalation block. Pure; what is going on is in the run's state."""

    def __init__(self, policy: Policy, tiers: Tiers, rules: Rules) -> None:
        """Read `routing.escalate` and `routing.hopeless`."""
        self._escalate = policy.routing.escalate
        self._repairs = self._escalate is not None and self._escalate.repair
        self._hopeless = HopelessCap(policy, tiers)
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

    def capped(self, state: RunState, call: ModelCall, routed: Routed, base: Base) -> Routed:
        """The tier that was chosen, unless the run is hopeless (`HopelessCap.applied`)."""
        return self._hopeless.applied(state, call, routed, base, self._triggers(state.route.signals))

    def judge(
        self,
        state: RunState,
        request: ModelRequest,
        response: ModelResponse,
        routed: Routed | None = None,
        *,
        failed: str | None = None,
    ) -> Judgement:
        """What the answer was worth, and whom to ask at once: the same tier to repair it, then a better one, each once, never for a stream.

        `routed`: how the request came to its tier. `failed`: as `gates.fault_of`. Parallel branches judge by the state that each has seen,
        so `at_most` may be passed by as many as run at once.
        """
        fault = fault_of(request.call, response, failed=failed)
        if fault is None:
            return _PASSES
        said = f" ({fault.told})" if fault.told else ""
        return self._judged(
            state, request, routed, fault, f"The answer of {request.model} was not usable: {fault.signal}{said}."
        )

    def disagreed(
        self, state: RunState, request: ModelRequest, routed: Routed | None, agreed: int, of: int
    ) -> Judgement:
        """The judgement of an answer that too few of `of` answers to the same prompt agree with; `agreed` do, itself included."""
        text = f"{agreed} of {of} answers of {request.model} to the same prompt agree with the first."
        return self._judged(state, request, routed, Fault(signal="disagreement"), text)

    def scored(
        self, state: RunState, request: ModelRequest, routed: Routed | None, gain: float, above: float
    ) -> Judgement:
        """The judgement of an answer over which a better tier is expected to have this gain, more than the threshold `above`."""
        text = f"A better tier is expected to gain {gain:.3f} over the answer of {request.model}, above {above:.3f}."
        return self._judged(state, request, routed, Fault(signal="low_score"), text)

    def _judged(
        self, state: RunState, request: ModelRequest, routed: Routed | None, fault: Fault, text: str
    ) -> Judgement:
        reason = Reason(code="route.signal", rule="routing.escalate", text=text, seen=fault.signal)
        decision = Decision(control="route", verdict=Verdict.ALLOW, reason=reason)
        judged = Judgement(signal=fault.signal, decision=decision)
        if not self.may_ask(state, request, routed) or not self._triggers((fault.signal,)):
            return judged
        if self._repairs and fault.told and routed is not None and routed.note is None:
            return replace(judged, again=self._repair(routed, fault))
        up = self._up(self._base(state, request), request.call)
        if up is None:
            return judged
        reason = self._escalated(up, f"the answer was not usable: {fault.signal}")
        return replace(judged, again=self._tiers.routed(request.call, up, reason, escalated=True, base=request.base))

    def may_ask(self, state: RunState, request: ModelRequest, routed: Routed | None) -> bool:
        """Whether a bad answer to this request may be followed by another one at once.

        Only where a better tier could give it, the run has escalations left, nobody reads along, and it is the tier's own answer: neither
        escalated already nor given in another's stead.
        """
        if request.call.streaming or self._tiers.observed:
            return False
        if routed is not None and (routed.escalated or routed.instead_of is not None):
            return False
        base = self._base(state, request)
        return (
            request.tier == base.tier and self._up(base, request.call) is not None and self._may_escalate(state.route)
        )

    @staticmethod
    def _repair(routed: Routed, fault: Fault) -> Routed:
        """The same tier once more, told what was wrong."""
        reason = Reason(
            code="route.repair",
            rule="routing.escalate.repair",
            text=f"{routed.tier or routed.model} is asked once more: {fault.told}.",
            seen=fault.signal,
        )
        decision = Decision(control="route", verdict=Verdict.MODIFY, reason=reason)
        note = f"[governor] Your last answer was not used: {fault.told}. Answer again, without that mistake."
        return replace(routed, decision=decision, note=note)

    def observe_model(
        self, state: RunState, request: ModelRequest, judged: Judgement, routed: Routed | None = None
    ) -> RunState:
        """The state after a model call: signals are used up, a block of escalated calls begins or ends.

        A call that could have been escalated and was not had no signal to read: what is there now came from a parallel branch, or
        from the loop control's look at this very answer, and waits for the next call.
        """
        escalate, route = self._escalate, state.route
        if escalate is None:
            return state
        if judged.again is not None and not judged.again.escalated:
            return state  # the same tier repairs its answer: nothing has come of the call yet
        base = self._base(state, request)
        tier = routed.instead_of if routed is not None and routed.instead_of is not None else request.tier
        raised = self._tiers.better(tier, base.tier)
        wrong = self._triggers(route.signals)
        unusable = judged.signal is not None and judged.signal in self._after
        route = self._hopeless.observed(route, request.call, request.tier, wrong, unusable=unusable)
        unread = not raised and self._up(base, request.call) is not None and not self._tiers.observed
        signals = route.signals if unread and judged.again is None else ()
        if judged.signal is not None and judged.again is None and judged.signal not in signals:
            signals = (*signals, *self._triggers((judged.signal,)))
        begins = judged.again.tier if judged.again is not None else None
        if begins is None and raised and (not self.in_block(state) or self._tiers.better(tier, route.tier)):
            begins = tier
        if begins is not None:
            until = state.model_calls + int(escalate.for_) - 1
            more = route.escalations + 1
            begun = replace(route, tier=begins, until_call=until, escalations=more, signals=signals)
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
