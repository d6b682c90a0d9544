"""Where no rule decides: which of two tiers a step is worth, by what was learned of steps like it and what it costs to change.

    V(t) = P(ok | t) * value - cost(t) - switch(t) - P(fail | t) * repair

Only the difference of both tiers counts, and `value` is one repair, so that it comes to

    net = (gain - threshold) * worth - (switch(strong) - switch(weak)),    worth = value + repair

with the threshold at which the gain just pays for the dearer tokens, or, where the policy names a `frontier_share`, at that quantile of
the gains that were recorded. Money is nano-USD in integers, gains are whole millionths: equal inputs give equal answers anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.controls.route.rules import Base
from governor.controls.route.switching import NEW, StepPrice, priced, repair, size_of
from governor.routing.live import live_step
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from governor.calls import ModelCall
    from governor.controls.route.locks import Held
    from governor.controls.route.tiers import Tiers
    from governor.policy.schema import Policy
    from governor.prices import PriceBook
    from governor.routing.estimate import Estimate, StepFeatures
    from governor.routing.knowledge import Knowledge
    from governor.runs import RunState

__all__ = ["Choosing", "Weighed", "weigh"]

_MILLION = 1_000_000
_BLOCK = 6
"""Calls of a block where the policy has no `escalate`: the default of `for`."""
Evidence = dict[str, "str | int | float | bool"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A gain against its price."""

    net: int
    """Nano-USD by which the better tier is worth more; below 0 the cheaper one is."""
    threshold: int
    """Of the gain, millionths."""


def weigh(gain: int, share: int | None, worth: int, dearer: int, switch_strong: int, switch_weak: int) -> Weighed:
    """Weigh a gain of so many millionths. `share`: the threshold of a `frontier_share`; None: where the gain pays for what is `dearer`.

    A higher price of changing to a tier never speaks for changing to it.
    """
    threshold = share if share is not None else (min(_MILLION, -(-dearer * _MILLION // worth)) if worth > 0 else 0)
    return Weighed(net=(gain - threshold) * worth // _MILLION - (switch_strong - switch_weak), threshold=threshold)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    strong: StepPrice
    weak: StepPrice
    switch_strong: int
    switch_weak: int
    worth: int
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict[str, "str | int | float | bool"])


class Choosing:
    """Decides by a snapshot. Pure."""

    def __init__(self, policy: Policy, prices: PriceBook, tiers: Tiers, knowledge: Knowledge) -> None:
        """`knowledge`: the promoted snapshot; its tiers are tiers of the policy."""
        routing = policy.routing
        self._tiers, self._prices, self._known = tiers, prices, knowledge
        self._promised = routing.quality is not None
        share = routing.frontier_share
        found = knowledge.threshold(float(share)) if share is not None else None
        self._share = None if found is None else round(found * _MILLION)
        self._block = int(routing.escalate.for_) if routing.escalate is not None else _BLOCK
        self._ttl: Literal["5m", "1h", "off"] = policy.context.cache.ttl

    def base(self, state: RunState, call: ModelCall, held: Held, default: Base, now: int) -> Base:
        """The tier of a call that no rule names. `default`: what answers by the policy alone."""
        if held.stays or (held.pending and not self._tiers.better(held.tier, self._known.weak)):
            return self._stays(state, call, held, default, now)
        step = live_step(state, call)
        estimate = self._known.estimate(step)
        evidence = self._told(held, estimate)
        if estimate is None:
            text = f"Nothing is recorded of steps like this one in {step.path}: {self._upper(default)} answers."
            return self._base("route.unknown", self._upper(default), text, evidence, call)
        price = self._priced(state, call, held, estimate, now)
        found = weigh(
            round(estimate.gain * _MILLION),
            self._share,
            price.worth,
            price.strong.steady - price.weak.steady,
            price.switch_strong,
            price.switch_weak,
        )
        evidence.update(price.facts)
        evidence |= {"threshold": found.threshold / _MILLION, "net_nano_usd": found.net}
        if found.net >= 0:
            return self._base("route.gain", self._known.strong, _gains(estimate, self._known.strong), evidence, call)
        return self._lower(step, held, estimate, evidence, call)

    def _lower(self, step: StepFeatures, held: Held, estimate: Estimate, evidence: Evidence, call: ModelCall) -> Base:
        """The cheaper tier, if the promise of quality and the place in the conversation allow it."""
        strong, weak = self._known.strong, self._known.weak
        if self._promised:
            bound = self._known.bound(step)
            if bound is not None:
                evidence |= {
                    "guard_bound": bound.upper,
                    "guard_target": bound.target,
                    "guard_pairs": bound.n,
                    "guard_regrets": bound.regrets,
                    "guard_open": bound.open,
                }
            if self._known.proven is not None:
                evidence["guard_proven_gain"] = self._known.proven
            beyond = self._known.proven is None or estimate.gain > self._known.proven
            if bound is not None and bound.open and beyond:
                text = f"{weak} would do, but a gain of {estimate.gain:.1%} is more than its quality is proven for: {strong} answers."
                return self._base("route.guard", strong, text, evidence, call)
            if bound is None or not bound.open:
                seen = "nothing was compared there" if bound is None else f"{bound.regrets} losses in {bound.n} pairs"
                text = f"{weak} would do, but its quality in {step.path} is not proven ({seen}): {strong} answers."
                return self._base("route.guard", strong, text, evidence, call)
        if held.tier is not None and not held.boundary and self._tiers.better(held.tier, weak):
            text = f"{weak} would do, but the conversation is lowered at a boundary only: {held.tier} keeps answering."
            return self._base("route.boundary", held.tier, text, evidence | {"would_be": weak}, call)
        return self._base("route.gain", weak, _suffices(estimate, weak), evidence, call)

    def _stays(self, state: RunState, call: ModelCall, held: Held, default: Base, now: int) -> Base:
        """The incumbent, and what changing would have cost: nothing is estimated in the middle of a turn."""
        tier = held.tier or self._known.strong
        other = self._known.weak if tier == self._known.strong else self._known.strong
        price = self._priced(state, call, held, None, now)
        switch = price.switch_strong if other == self._known.strong else price.switch_weak
        evidence: Evidence = {
            **self._told(held, None),
            **price.facts,
            "would_be": other,
            "would_switch_nano_usd": switch,
        }
        text = f"The newest messages are results that {tier} asked for: it keeps answering."
        return replace(self._base("route.tool_loop", tier, text, evidence, call), rule=default.rule)

    def _priced(self, state: RunState, call: ModelCall, held: Held, estimate: Estimate | None, now: int) -> _Priced:
        strong, weak = self._known.strong, self._known.weak
        lane = state.lanes.get(call.lane)
        size = size_of(call, lane, call.max_output_tokens)
        better, cheaper = [
            (self._tiers.models[name], self._prices.rates(self._tiers.models[name])) for name in (strong, weak)
        ]
        step_strong, step_weak = priced(size, (better, cheaper), lane, now, self._ttl)
        fix = repair(size, *better, self._block, self._ttl)
        back = self._back(size.answer, held, estimate)
        switch_strong = step_strong.fill + (back if held.tier not in (None, strong) else 0)
        switch_weak = step_weak.fill + (back if held.tier not in (None, weak) else 0)
        facts: Evidence = {"prompt_tokens": size.prompt, "answer_tokens": size.answer, "worth_nano_usd": 2 * fix}
        for name, step, switch in ((strong, step_strong, switch_strong), (weak, step_weak, switch_weak)):
            facts |= {
                f"{name}.step_nano_usd": step.cost,
                f"{name}.steady_nano_usd": step.steady,
                f"{name}.switch_nano_usd": switch,
                f"{name}.warm_tokens": step.warm,
            }
        return _Priced(
            strong=step_strong,
            weak=step_weak,
            switch_strong=switch_strong,
            switch_weak=switch_weak,
            worth=2 * fix,
            facts=facts,
        )

    def _back(self, answer: int, held: Held, estimate: Estimate | None) -> int:
        """What it will cost to come back: the incumbent then has to read what a block has added.

        A better tier is left again for certain, since a block ends. A cheaper one as often as it fails where the better one would not.
        """
        if held.tier is None:
            return 0
        rates = self._prices.rates(self._tiers.models[held.tier])
        if rates is None:
            return 0
        added = (NEW + answer) * self._block * rates.cache_write_5m // _MILLION
        if held.tier != self._known.strong:
            return added
        return (
            added
            * (round(max(0.0, min(1.0, estimate.high)) * _MILLION) if estimate is not None else _MILLION)
            // _MILLION
        )

    def _upper(self, default: Base) -> str:
        """Where a step goes of which nothing is known."""
        strong = self._known.strong
        return default.tier if default.tier is not None and self._tiers.better(default.tier, strong) else strong

    def _told(self, held: Held, estimate: Estimate | None) -> Evidence:
        told: Evidence = {"snapshot": self._known.id}
        if held.tier is not None:
            told |= {
                "incumbent": held.tier,
                "boundary": held.boundary,
                "idle_ms": held.idle_ms,
                "pending": held.pending,
            }
        if estimate is not None:
            told |= {f"fact.{name}": value for name, value in estimate.facts.items()}
            told |= {
                "gain": estimate.gain,
                "gain_low": estimate.low,
                "gain_high": estimate.high,
                "records": estimate.records,
                "layer": estimate.layer,
            }
        return told

    def _base(self, code: str, tier: str, text: str, evidence: Evidence, call: ModelCall) -> Base:
        """A tier that was arrived at, or the next better one that can read the call."""
        if not self._tiers.fits(tier, call):
            higher = self._tiers.above(tier, call)
            if higher is not None:
                text, code = f"{tier} cannot read the call: {higher} answers.", "route.window"
                evidence, tier = evidence | {"too_small": tier}, higher
        return Base(tier=tier, code=code, rule="routing.estimator", text=text, evidence=evidence, derived=True)


def _gains(estimate: Estimate, tier: str) -> str:
    return f"{tier} is expected to be right {estimate.gain:.1%} more often, which is worth its price: it answers."


def _suffices(estimate: Estimate, tier: str) -> str:
    return f"A better tier is expected to be right {estimate.gain:.1%} more often, which is not worth its price: {tier} answers."
