"""Which nodes may run: a denial wins over a permission, a permission over the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import ALLOWED, Decision, Reason, Verdict
from governor.policy.matchers import matches_glob

if TYPE_CHECKING:
    from governor.calls import StepRef
    from governor.policy.schema import NodeRule, Policy

__all__ = ["NodeAccess"]


class NodeAccess:
    """The `nodes` part of one policy."""

    def __init__(self, policy: Policy) -> None:
        """Read the rules. Without any, and with `default: allow`, no node is looked at."""
        self._policy = policy
        self._rules = policy.nodes.rules
        self._default = policy.nodes.default
        self._open = not self._rules and self._default == "allow"

    def decide(self, step: StepRef) -> Decision:
        """Whether this node may run. A denied one ends the run, because nobody can answer in its place."""
        if self._open:
            return ALLOWED
        matches = [rule for rule in self._rules if _matches(rule, step)]
        denied = [rule for rule in matches if rule.decide == "deny"]
        enforced = next((rule for rule in denied if self._enforced(rule)), None)
        if enforced is not None:
            return _refused(enforced.id, step, "rule", observed=False)
        if self._default == "deny" and not any(rule.decide == "allow" and self._enforced(rule) for rule in matches):
            return _refused("nodes.default", step, "default", observed=self._policy.mode == "observe")
        return _refused(denied[0].id, step, "rule", observed=True) if denied else ALLOWED

    def _enforced(self, rule: NodeRule) -> bool:
        return self._policy.mode_of(rule.mode) == "enforce"


def _matches(rule: NodeRule, step: StepRef) -> bool:
    return matches_glob(rule.node, step.node) or matches_glob(rule.node, step.path)


def _refused(rule: str, step: StepRef, code: str, *, observed: bool) -> Decision:
    why = f"rule {rule} denies it" if code == "rule" else "no rule allows it"
    reason = Reason(
        code=f"nodes.{code}_deny",
        rule=rule,
        text=f"Node {step.path or step.node} was not run: {why}.",
        limit="deny",
        seen=step.path,
        remedy=f"Add a rule under `nodes` that allows {step.path}, if this graph should run it.",
    )
    return Decision(control="nodes", verdict=Verdict.STOP, reason=reason, observed=observed)
