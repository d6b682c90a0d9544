"""Where a call belongs when nothing went wrong: by lock, rule or default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.policy.matchers import matches_glob
from governor.values import cheap, replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, StepRef
    from governor.controls.route.tiers import Tiers
    from governor.policy.schema import Policy, RouteRule
    from governor.runs import RunState

__all__ = ["Base", "Rules"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where a call belongs when nothing went wrong."""

    tier: str | None
    """None: the graph's own model."""
    code: str
    rule: str
    text: str
    locked: bool = False
    evidence: dict[str, str | int | float | bool]
    derived: bool = False
    """Whether more than a rule or the default says it: a snapshot, or who answered before."""


class Rules:
    """The order of the file decides. Pure."""

    def __init__(self, policy: Policy, tiers: Tiers) -> None:
        """Read `routing.rules` and `routing.default`."""
        self._policy = policy
        self._routing = policy.routing
        self._tiers = tiers

    def base(self, state: RunState, call: ModelCall) -> Base:
        """The tier by pin, rule or default, raised when the prompt would not fit its window."""
        if not self._tiers.names:
            return Base(
                tier=None,
                code="route.no_tiers",
                rule="tiers",
                text=f"The policy names no tiers: {call.model} answers.",
                evidence={},
            )
        if call.locked:
            lane = state.lanes.get(call.lane)
            warm = lane.model if lane is not None else None
            tier = self._tiers.of(warm)
            text = f"The conversation holds state of its model: {warm or call.model} keeps answering."
            return Base(tier=tier, code="route.locked", rule="routing", text=text, locked=True, evidence={})
        return self._by_rule(call)

    def _by_rule(self, call: ModelCall) -> Base:
        evidence: dict[str, str | int | float | bool] = {}
        for rule in self._routing.rules:
            if not _matches(rule, call.step):
                continue
            if self._policy.mode_of(rule.mode) == "observe" and not self._tiers.observed:
                evidence.setdefault("observed_rule", rule.id)
                evidence.setdefault("observed_tier", rule.tier)
                continue
            code = "route.locked" if rule.lock else "route.rule"
            text = f"Rule {rule.id} sends {call.step.path} to {rule.tier}."
            base = Base(tier=rule.tier, code=code, rule=rule.id, text=text, locked=rule.lock, evidence=evidence)
            return base if rule.lock else self._fitted(base, call)
        default = self._routing.default
        text = f"No rule matches {call.step.path}: {default or call.model} answers."
        base = Base(tier=default, code="route.default", rule="routing.default", text=text, evidence=evidence)
        return self._fitted(base, call)

    def _fitted(self, base: Base, call: ModelCall) -> Base:
        """The base, or the next better tier whose window holds the smallest view that compaction can reach."""
        if base.tier is None:
            return base
        candidates = self._tiers.names[self._tiers.names.index(base.tier) :: -1]
        fits = next((name for name in candidates if self._tiers.fits(name, call)), None)
        if fits is None or fits == base.tier:
            return base
        window = self._tiers.window(base.tier)
        text = f"About {self._tiers.need(call):,} tokens do not fit the window of {base.tier} ({window:,}): {fits} answers."
        return replace(base, tier=fits, code="route.window", text=text)


def _matches(rule: RouteRule, step: StepRef) -> bool:
    return matches_glob(rule.when.node, step.node) or matches_glob(rule.when.node, step.path)
