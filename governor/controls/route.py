"""Route: which tier answers this step, and whether an answer was good enough.

Rules first, in the order of the file; then the default. A step that went wrong moves one tier up for a block of calls, because every
switch of model rewrites the whole prefix: one cold frontier call costs as much as some 160 warm ones of a small model. Lowering a
tier is left to the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.calls import ModelRef
from governor.decisions import Decision, Reason, Verdict
from governor.models import facts
from governor.plans import Judgement, Routed
from governor.policy.matchers import matches_glob
from governor.runs import RouteState
from governor.values import cheap, replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRequest, ModelResponse, StepRef, ToolCall, ToolResult
    from governor.policy.schema import Policy, RouteRule
    from governor.prices import PriceBook
    from governor.runs import RunState

__all__ = ["Route"]

_SIGNALS_KEPT = 8
_PASSES = Judgement()
_OWN_MODELS = 256


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """Where a call belongs when nothing went wrong."""

    tier: str | None
    """None: the graph's own model."""
    code: str
    rule: str
    text: str
    locked: bool = False
    evidence: dict[str, str]


class Route:
    """Chooses tiers and judges answers. Pure; escalation is remembered in the run's state."""

    def __init__(self, policy: Policy, prices: PriceBook) -> None:
        """Read `tiers` (best first) and `routing` of the policy."""
        self._policy = policy
        self._routing = policy.routing
        self._prices = prices
        self._names = tuple(policy.tiers)
        self._models = {
            name: ModelRef(provider=tier.provider, model=tier.model_name) for name, tier in policy.tiers.items()
        }
        self._own: dict[ModelRef, Routed] = {}
        """What is said of each of the graph's own models when there are no tiers: always the same."""
        self._observed = policy.mode == "observe"
        escalate = policy.routing.escalate
        answers_loops = escalate is not None and "escalate" in policy.loops.respond
        self._after = frozenset((*(escalate.after if escalate else ()), *(("loop",) if answers_loops else ())))
        compact = policy.context.compact
        self._compacts = compact.strategy != "off"
        self._view = int(compact.keep_tail) + int(compact.ledger)

    def choose(self, state: RunState, call: ModelCall) -> Routed:
        """The tier that answers. `state` counts this call already. The decision always says why."""
        if not self._names:
            return self._untiered(state, call)
        base = self._base(state, call)
        up = self._up(base, call)
        route = state.route
        in_block = up is not None and self._in_block(state) and self._better(route.tier, base.tier)
        signals = self._triggers(route.signals)
        if in_block and route.tier is not None and self._fits(route.tier, call):
            higher = self._above(route.tier, call) if signals and self._may_escalate(route) else None
            if higher is not None:
                reason = self._escalated(higher, f"{route.tier} did no better: {', '.join(signals)}")
                return self._routed(call, higher, reason, escalated=True)
            reason = self._escalated(route.tier, f"an escalation lasts until call {route.until_call} of the run")
            return self._routed(call, route.tier, reason, escalated=True)
        if up is not None and signals and self._may_escalate(route):
            return self._routed(
                call, up, self._escalated(up, f"seen since the last call: {', '.join(signals)}"), escalated=True
            )
        reason = Reason(code=base.code, rule=base.rule, text=base.text, evidence=base.evidence)
        return self._routed(call, base.tier, reason)

    def lowered(self, state: RunState, call: ModelCall, routed: Routed, by: int) -> Routed:
        """The tier `by` steps below the one chosen, or the lowest that can read the call; the same where nothing may lower it."""
        if not by or routed.tier is None or self._base(state, call).locked or call.locked:
            return routed
        at = self._names.index(routed.tier)
        below = [name for name in self._names[at + 1 : at + 1 + by] if self._fits(name, call)]
        if not below:
            return routed
        reason = Reason(
            code="route.lowered",
            rule="ladder",
            text=f"{below[-1]} answers instead of {routed.tier}: a budget runs out.",
        )
        return self._routed(call, below[-1], reason)

    def _untiered(self, state: RunState, call: ModelCall) -> Routed:
        """The graph's own model, when the policy names no tiers."""
        known = self._own.get(call.model)
        if known is None:
            base = self._base(state, call)
            known = self._routed(call, None, Reason(code=base.code, rule=base.rule, text=base.text))
            if len(self._own) < _OWN_MODELS:
                self._own[call.model] = known
        return known

    def lower(self, state: RunState, call: ModelCall, routed: Routed) -> Routed | None:
        """The next cheaper tier that can read the call, for when the chosen one has no room. None where there is none, or a lock holds."""
        if routed.tier is None or self._base(state, call).locked:
            return None
        below = self._names[self._names.index(routed.tier) + 1 :]
        tier = next((name for name in below if self._fits(name, call)), None)
        if tier is None:
            return None
        text = f"The rate of {routed.tier} is used up: {tier} answers."
        return self._routed(call, tier, Reason(code="route.rate_full", rule="rates", text=text, seen=routed.tier))

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
        base = self._base(state, request.call)
        up = self._up(base, request.call)
        asked_base = request.tier == base.tier
        if up is None or not asked_base or not self._triggers((signal,)) or not self._may_escalate(state.route):
            return Judgement(signal=signal, decision=decision)
        if request.call.streaming or self._observed:
            return Judgement(signal=signal, decision=decision)
        again = self._routed(
            request.call, up, self._escalated(up, f"the answer was not usable: {signal}"), escalated=True
        )
        return Judgement(signal=signal, decision=decision, again=again)

    def observe_model(self, state: RunState, request: ModelRequest, judged: Judgement) -> RunState:
        """The state after a model call: signals are used up, a block of escalated calls begins or ends.

        A call that could have been escalated and was not had no signal to read: what is there now came from a parallel branch, or
        from the loop control's look at this very answer, and waits for the next call.
        """
        escalate, route = self._routing.escalate, state.route
        if escalate is None:
            return state
        base = self._base(state, request.call)
        raised = self._better(request.tier, base.tier)
        unread = not raised and self._up(base, request.call) is not None and not self._observed
        signals = route.signals if unread and judged.again is None else ()
        if judged.signal is not None and judged.again is None and judged.signal not in signals:
            signals = (*signals, *self._triggers((judged.signal,)))
        begins = judged.again.tier if judged.again is not None else None
        if begins is None and raised and (not self._in_block(state) or self._better(request.tier, route.tier)):
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

    def _base(self, state: RunState, call: ModelCall) -> _Base:
        """The tier by pin, rule or default, raised when the prompt would not fit its window."""
        if not self._names:
            return _Base(
                tier=None,
                code="route.no_tiers",
                rule="tiers",
                text=f"The policy names no tiers: {call.model} answers.",
                evidence={},
            )
        if call.locked:
            lane = state.lanes.get(call.lane)
            warm = lane.model if lane is not None else None
            tier = next((name for name, model in self._models.items() if str(model) == warm), None)
            text = f"The conversation holds state of its model: {warm or call.model} keeps answering."
            return _Base(tier=tier, code="route.locked", rule="routing", text=text, locked=True, evidence={})
        return self._by_rule(call)

    def _by_rule(self, call: ModelCall) -> _Base:
        evidence: dict[str, str] = {}
        for rule in self._routing.rules:
            if not _matches(rule, call.step):
                continue
            if self._policy.mode_of(rule.mode) == "observe" and not self._observed:
                evidence.setdefault("observed_rule", rule.id)
                evidence.setdefault("observed_tier", rule.tier)
                continue
            code = "route.locked" if rule.lock else "route.rule"
            text = f"Rule {rule.id} sends {call.step.path} to {rule.tier}."
            base = _Base(tier=rule.tier, code=code, rule=rule.id, text=text, locked=rule.lock, evidence=evidence)
            return base if rule.lock else self._fitted(base, call)
        default = self._routing.default
        text = f"No rule matches {call.step.path}: {default or call.model} answers."
        base = _Base(tier=default, code="route.default", rule="routing.default", text=text, evidence=evidence)
        return self._fitted(base, call)

    def _fitted(self, base: _Base, call: ModelCall) -> _Base:
        """The base, or the next better tier whose window holds the smallest view that compaction can reach."""
        if base.tier is None:
            return base
        candidates = self._names[self._names.index(base.tier) :: -1]
        fits = next((name for name in candidates if self._fits(name, call)), None)
        if fits is None or fits == base.tier:
            return base
        window = self._window(base.tier)
        text = f"About {self._need(call):,} tokens do not fit the window of {base.tier} ({window:,}): {fits} answers."
        return replace(base, tier=fits, code="route.window", text=text)

    def _fits(self, tier: str, call: ModelCall) -> bool:
        return self._need(call) + self._answer(tier, call) <= self._window(tier)

    def _need(self, call: ModelCall) -> int:
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

    def _window(self, tier: str) -> int:
        given = self._policy.tiers[tier].context_window
        return int(given) if given is not None else facts(self._models[tier]).context_window

    def _answer(self, tier: str, call: ModelCall) -> int:
        return int(self._policy.tiers[tier].max_output_tokens or call.max_output_tokens or 0)

    def _up(self, base: _Base, call: ModelCall) -> str | None:
        """The next tier above the base that can read the call, or None where there is none or nothing may raise it.

        The graph's own model counts as the tier that has the same model.
        """
        tier = base.tier or next((name for name, model in self._models.items() if model == call.model), None)
        if base.locked or tier is None or self._routing.escalate is None:
            return None
        return self._above(tier, call)

    def _above(self, tier: str, call: ModelCall) -> str | None:
        above = reversed(self._names[: self._names.index(tier)])
        return next((name for name in above if self._fits(name, call)), None)

    def _better(self, tier: str | None, than: str | None) -> bool:
        if tier is None or tier not in self._names:
            return False
        return than is None or self._names.index(tier) < self._names.index(than)

    def _in_block(self, state: RunState) -> bool:
        return state.route.tier in self._names and state.model_calls <= state.route.until_call

    def _triggers(self, signals: tuple[str, ...]) -> tuple[str, ...]:
        """Those signals after which the policy escalates."""
        return tuple(signal for signal in signals if signal in self._after)

    def _may_escalate(self, route: RouteState) -> bool:
        escalate = self._routing.escalate
        return escalate is not None and route.escalations < escalate.at_most

    def _escalated(self, tier: str, why: str) -> Reason:
        escalate = self._routing.escalate
        return Reason(
            code="route.escalated",
            rule="routing.escalate",
            text=f"Escalated to {tier}: {why}.",
            limit=escalate.at_most.written if escalate else None,
        )

    def _routed(self, call: ModelCall, tier: str | None, reason: Reason, *, escalated: bool = False) -> Routed:
        model = self._models[tier] if tier is not None else call.model
        changes = model != call.model
        decision = Decision(
            control="route",
            verdict=Verdict.MODIFY if changes else Verdict.ALLOW,
            reason=reason,
            observed=self._observed and changes,
        )
        if self._observed:
            tier, model, escalated = None, call.model, False
        limit = self._policy.tiers[tier].max_output_tokens if tier is not None else None
        return Routed(
            tier=tier,
            model=model,
            rates=self._prices.rates(model),
            max_output_tokens=None if limit is None else int(limit),
            decision=decision,
            escalated=escalated,
        )


def _matches(rule: RouteRule, step: StepRef) -> bool:
    return matches_glob(rule.when.node, step.node) or matches_glob(rule.when.node, step.path)


def _signal(response: ModelResponse) -> str | None:
    """What is wrong with an answer, the surest sign first, in the policy's words; None when nothing is."""
    if response.invalid or any(use.args is None for use in response.tool_uses):
        return "invalid_output"
    if response.finish == "refusal":
        return "refusal"
    if not response.text.strip() and not response.tool_uses:
        return "cut_off" if response.finish == "length" else "empty"
    return "cut_off" if response.finish == "length" else None
