"""Asking a person: the tool call becomes a LangGraph interrupt, the resume value its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langgraph.types import interrupt

from governor.effects import Approve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langgraph.types import Interrupt

    from governor.policy.schema import Policy

__all__ = ["answer_to", "asked", "asked_async", "is_yes", "rejections"]

TYPE = "governor.approval"
YES = frozenset({"approve", "approved", "accept", "yes"})


def answer_to(effect: Approve, policy: Policy) -> bool:
    """Interrupt with what a person needs to decide; on resume, whether they said yes.

    Resume with `True`, `"approve"` or `{"decision": "approve"}`. Anything else is no.
    """
    reason = effect.decision.reason
    rule = reason.rule if reason else ""
    answer: Any = interrupt(
        {
            "type": TYPE,
            "tool": effect.call.name,
            "args": dict(effect.call.args),
            "id": effect.call.id,
            "digest": effect.digest,
            "step": effect.call.step.ns,
            "rule": rule,
            "text": reason.text if reason else "",
            "expires": _expires(rule, policy),
        }
    )
    return is_yes(answer)


def asked(policy: Policy, effect: object) -> bool:
    """`answer_to` for a flow that asks and calls nothing."""
    if not isinstance(effect, Approve):
        message = f"judging a call yielded {type(effect).__name__}"
        raise TypeError(message)
    return answer_to(effect, policy)


async def asked_async(policy: Policy, effect: object) -> bool:
    """The async twin of `asked`."""
    return asked(policy, effect)


def rejections(interrupts: Sequence[Interrupt], answers: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    """The calls that answers by interrupt id reject, as the run's state keeps them."""
    found: dict[str, tuple[str, str, str]] = {}
    for each in interrupts:
        asked_about: Any = each.value
        if not isinstance(asked_about, dict) or each.id not in answers or is_yes(answers[each.id]):
            continue
        shown = cast("Mapping[str, Any]", asked_about)
        if shown.get("type") == TYPE:
            found[shown["digest"]] = (shown["rule"], shown["step"], shown["id"])
    return found


def is_yes(answer: Any) -> bool:
    """Whether a person's answer is a clear yes."""
    if isinstance(answer, dict):
        given = cast("Mapping[str, Any]", answer)
        answer = given.get("decision", given.get("approved"))
    return answer is True or (isinstance(answer, str) and answer.lower() in YES)


def _expires(rule: str, policy: Policy) -> str | None:
    found = next((each for each in policy.tools.rules if each.id == rule), None)
    return found.expires.written if found is not None and found.expires is not None else None
