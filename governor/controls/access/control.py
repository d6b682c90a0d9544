"""Which tool may be called: nothing that no rule allows, and of all matching rules the strongest decides.

Deny > ask > nudge > allow > default, whatever the order of rules or files. Every matching rule is looked at and recorded. A rule that
cannot be evaluated, or that needs an identity the run does not have, denies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from governor.calls import ToolResult
from governor.controls.access.rules import RuleIndex
from governor.controls.access.wording import (
    approval_used,
    by_default,
    by_rule,
    rejected_earlier,
    told,
    unknown_tool,
)
from governor.decisions import ALLOWED, Decision, Reason, Verdict
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import ToolCall
    from governor.controls.access.rules import Match
    from governor.policy.schema import Policy
    from governor.runs import RunState

__all__ = ["Access"]

_RECALL = "recall"
"""Governor's own tool, by which the model reads back what compaction left out."""

_APPROVALS = 256
_SAID = 4_096
"""Decisions remembered. Names of tools that a rule's pattern matches may be made up by the model, so there is a bound."""


class Access:
    """The `tools` part of one policy. Pure: the clock's reading comes in as `now`."""

    def __init__(self, policy: Policy) -> None:
        """Compile the rules."""
        self._index = RuleIndex(policy)
        self._said: dict[tuple[object, ...], Decision] = {}
        self._tells = {rule.id: rule.tell for rule in policy.tools.rules}
        self._default = policy.tools.default
        self._observed = policy.mode == "observe"
        self._recall = policy.context.tool_results.recall and not self._index.names(_RECALL)

    def decide(self, state: RunState, call: ToolCall, now: int) -> Decision:
        """Whether this call may be made. `now` is milliseconds since the epoch, for rules about recent calls.

        A rule in observe mode neither allows nor denies: where it is stronger than what is enforced, the answer is what it would have
        said, marked as observed.
        """
        if call.name == _RECALL and self._recall:
            return ALLOWED  # only a rule that names it outright can take it away
        if not call.known:
            return unknown_tool(call, observed=self._observed)
        matches = self._index.matches(state, call, now)
        enforced = next((match for match in matches if not match.observed), None)
        if enforced is not None and enforced.decide != "allow":
            return self._by_rule(call, enforced, matches)
        if enforced is None and self._default == "deny" and not self._observed:
            return by_default(call, matches, observed=False)
        would = next((match for match in matches if match.observed and match.decide != "allow"), None)
        if would is not None:
            return replace(self._by_rule(call, would, matches), observed=True)
        if matches:
            return self._by_rule(call, enforced or matches[0], matches)
        return ALLOWED if self._default == "allow" else by_default(call, matches, observed=True)

    def _by_rule(self, call: ToolCall, match: Match, matches: Sequence[Match]) -> Decision:
        """What `match` says of the call. Remembered: it follows from the tool, the node and the rules that matched."""
        key = (call.name, call.step.node, match.rule.id, *((each.rule.id, each.code, each.problem) for each in matches))
        said = self._said.get(key)
        if said is None:
            said = by_rule(call, match, matches)
            if len(self._said) < _SAID:
                self._said[key] = said
        return said

    def answer(self, call: ToolCall, decision: Decision) -> ToolResult:
        """What the model is told in place of the result: that the call was not made, which rule says so, what to do instead."""
        code, rule = (decision.reason.code, decision.reason.rule) if decision.reason else ("access.deny", "tools")
        return ToolResult(text=told(call.name, code, rule, self._tells.get(rule)), failed=True, synthetic=True)

    # --- approvals

    def digest(self, call: ToolCall) -> str:
        """SHA-256 of the tool's name and its arguments as canonical JSON. One changed character is another call."""
        text = json.dumps(_canonical({"tool": call.name, "args": call.args}), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def remember(self, state: RunState, digest: str, now: int) -> tuple[RunState, int]:
        """Note that approval was asked for; answers when it was first asked, which a resume does not move."""
        asked = state.approvals.get(digest)
        if asked is not None:
            return state, asked
        kept = dict(list(state.approvals.items())[-(_APPROVALS - 1) :])
        return replace(state, approvals={**kept, digest: now}), now

    def forget(self, state: RunState, digest: str, now: int) -> RunState:
        """Use up a question, however it was answered. The time the run waited for it does not count as the run's own."""
        asked = state.approvals.get(digest)
        if asked is None:
            return state
        pending = {other: at for other, at in state.approvals.items() if other != digest}
        waited = 0 if pending else max(0, now - asked)  # answers come together: the last one ends the waiting
        return replace(state, approvals=pending, started_ms=min(now, state.started_ms + waited))

    def answered(
        self, state: RunState, call: ToolCall, digest: str, now: int, *, rule: str, approved: bool
    ) -> tuple[RunState, bool]:
        """Take a person's answer. False when the call may not be made: by this answer, or because it was rejected before."""
        state = self.forget(state, digest, now)
        if not approved and digest not in state.rejected:
            state = replace(state, rejected={**state.rejected, digest: (rule, call.step.ns, call.id)})
        return state, digest not in state.rejected

    def rejected_before(self, state: RunState, call: ToolCall) -> Decision | None:
        """The denial of a call that a person rejected in this run, whatever the rules say of it now.

        None for the rejected call itself when its step runs again: LangGraph counts a step's questions, so it has to be put again, and
        is answered as it was.
        """
        found = state.rejected.get(self.digest(call)) if state.rejected else None
        if found is None:
            return None
        rule, ns, identifier = found
        return None if (ns, identifier) == (call.step.ns, call.id) else rejected_earlier(call, rule)

    def use(self, state: RunState, call: ToolCall) -> tuple[RunState, Decision | None]:
        """Use an approval up, right before the call. Answers the denial of one that is used up or that was rejected meanwhile."""
        digest = self.digest(call)
        if digest in state.rejected:
            return state, rejected_earlier(call, state.rejected[digest][0])
        key = (call.step.ns, call.id, digest)
        if key in state.used:
            return state, approval_used(call)
        return replace(state, used=(*state.used, key)), None

    def unused(self, state: RunState, call: ToolCall) -> RunState:
        """Give an approval back: the tool was interrupted before it did its work."""
        key = (call.step.ns, call.id, self.digest(call))
        return replace(state, used=tuple(each for each in state.used if each != key))

    def approved(self, decision: Decision, *, approved: bool, waited_ms: int) -> Decision:
        """The person's answer as a decision. An answer after the rule's `expires` is a denial."""
        asked = decision.reason or Reason(code="access.ask", rule="tools", text="This call needs approval.")
        expires = asked.evidence.get("expires_ms")
        if not approved:
            text = f"A person rejected this call, which rule {asked.rule} asks about."
            reason = replace(
                asked, code="access.rejected", text=text, remedy="Do something else, or ask again in other terms."
            )
        elif isinstance(expires, int) and waited_ms > expires:
            reason = replace(
                asked,
                code="access.approval_expired",
                text=f"The approval that rule {asked.rule} asks for came too late.",
                seen=f"{waited_ms // 1_000}s",
                remedy=f"Ask again and answer within {asked.limit}, or raise `expires` of rule {asked.rule}.",
            )
        else:
            text = f"A person approved this call, which rule {asked.rule} asks about."
            return replace(
                decision, verdict=Verdict.ALLOW, reason=replace(asked, code="access.approved", text=text, remedy=None)
            )
        return replace(decision, verdict=Verdict.DENY, reason=reason)


def _canonical(value: object) -> Any:
    """A value as JSON can hold it without two different ones becoming equal."""
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {name if isinstance(name, str) else f"\0{name!r}": _canonical(item) for name, item in items}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in cast("list[object]", value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return [f"\0{type(value).__name__}", repr(value)]
