"""What is said about a tool call: to people, who should see which rule spoke, and to the model, which should do something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import Decision, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.calls import ToolCall
    from governor.controls.access.rules import Match

__all__ = ["approval_used", "by_default", "by_rule", "rejected_earlier", "told", "unknown_tool"]

_VERDICTS = {"allow": Verdict.ALLOW, "nudge": Verdict.DENY, "ask": Verdict.ASK, "deny": Verdict.DENY}
"""A nudge is a denial with advice: the call is not made, and the model is told what to do instead."""

_GO_ON = "Do not call it again like this; do something else, or say that you cannot do it."

_TOLD: Mapping[str, tuple[str, str]] = {
    "access.deny": ("it is not allowed here (rule {rule})", _GO_ON),
    "access.nudge": ("there is a better way (rule {rule})", "Follow this advice instead of repeating the call."),
    "access.default_deny": ("nothing allows it here ({rule})", _GO_ON),
    "access.unknown_tool": ("there is no such tool", "Use only the tools you were given, by their exact names."),
    "access.identity_missing": ("it is not known for whom this run works (rule {rule})", _GO_ON),
    "access.error": ("it could not be checked (rule {rule})", _GO_ON),
    "access.rejected": ("a person rejected it (rule {rule})", "Do not ask for it again; do something else or say so."),
    "access.approval_used": (
        "its approval was used up by an attempt whose outcome is not known (rule {rule})",
        "Find out what became of it before you ask for it again.",
    ),
    "access.approval_expired": (
        "the approval came too late (rule {rule})",
        "Ask for it once more only if it is still needed.",
    ),
}
"""Reason code to why and what then, in words for the model."""


def told(tool: str, code: str, rule: str, tell: str | None) -> str:
    """The text that stands in place of the result of a call that was not made.

    Never the conditions of a rule: a model that knows them tries its way around them.
    """
    why, then = _TOLD.get(code, _TOLD["access.deny"])
    advice = f" {tell}" if tell else ""
    return f"`{tool}` was not run: {why.format(rule=rule)}.{advice} {then}"


def by_default(call: ToolCall, matches: Sequence[Match], *, observed: bool) -> Decision:
    """Denied because nothing allows it."""
    reason = Reason(
        code="access.default_deny",
        rule="tools.default",
        text=f"No rule allows {call.name} for node {call.step.node}.",
        limit="deny",
        remedy=f"Add a rule that allows {call.name}, if this node should be able to call it.",
        evidence=_evidence(matches),
    )
    return Decision(control="access", verdict=Verdict.DENY, reason=reason, observed=observed)


def unknown_tool(call: ToolCall, *, observed: bool) -> Decision:
    """Denied because the model made the tool up."""
    reason = Reason(
        code="access.unknown_tool",
        rule="tools.default",
        text=f"The model asked for {call.name}, which the graph has not registered.",
        remedy="Register the tool, or look at why the model believes that it exists.",
    )
    return Decision(control="access", verdict=Verdict.DENY, reason=reason, observed=observed)


def rejected_earlier(call: ToolCall, rule: str) -> Decision:
    """Denied because a person rejected the very same call before, in the same run."""
    reason = Reason(
        code="access.rejected",
        rule=rule,
        text=f"A person rejected this very call of {call.name} before, in this run; rule {rule} had asked.",
        remedy="Do something else, or begin a new run.",
    )
    return Decision(control="access", verdict=Verdict.DENY, reason=reason)


def approval_used(call: ToolCall) -> Decision:
    """Denied because the approval was for one attempt, and there has been one."""
    reason = Reason(
        code="access.approval_used",
        rule="tools",
        text=f"The approval of this call of {call.name} was used up by an attempt whose outcome is not known.",
        remedy="Find out what became of the attempt; to make the call again, it has to be asked for and approved again.",
    )
    return Decision(control="access", verdict=Verdict.DENY, reason=reason)


def _evidence(matches: Sequence[Match]) -> dict[str, str | int | float | bool]:
    evidence: dict[str, str | int | float | bool] = {"rules": ",".join(sorted(match.rule.id for match in matches))}
    observed = sorted(match.rule.id for match in matches if match.observed)
    return evidence | ({"observed": ",".join(observed)} if observed else {})


def by_rule(call: ToolCall, match: Match, matches: Sequence[Match]) -> Decision:
    """What the deciding rule says, with every other rule that matched as evidence."""
    rule = match.rule
    evidence = _evidence(matches)
    if match.decide == "ask" and rule.expires is not None:
        evidence["expires_ms"] = int(rule.expires)
    if match.problem:
        evidence["problem"] = match.problem
    reason = Reason(
        code=match.code,
        rule=rule.id,
        text=_sentence(call, match),
        limit=rule.expires.written if match.decide == "ask" and rule.expires else match.conditions or None,
        remedy=_REMEDIES.get(match.code, "Change the call, or rule {rule} if it is too strict.").format(rule=rule.id)
        or None,
        evidence=evidence,
    )
    return Decision(control="access", verdict=_VERDICTS[match.decide], reason=reason)


def _sentence(call: ToolCall, match: Match) -> str:
    words = {
        "access.allow": "allows",
        "access.nudge": "advises against",
        "access.ask": "asks a person about",
        "access.identity_missing": "could not be applied to",
        "access.error": "could not be evaluated for",
    }.get(match.code, "denies")
    problem = f": {match.problem}" if match.problem else ""
    return f"Rule {match.rule.id} {words} {call.name} from node {call.step.node}{problem}."


_REMEDIES: Mapping[str, str] = {
    "access.allow": "",
    "access.ask": "Approve or reject the call.",
    "access.identity_missing": "Name it in the run's config, as `identity` of the policy says.",
    "access.error": "Mend rule {rule}: until then what it speaks about is denied.",
}
