"""What it means that a prompt does not begin as the one before it did: a decision for the trace, free of content unless the policy asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from governor.decisions import Decision, Reason, Verdict
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.controls.prefix.differing import Difference

__all__ = ["Cause", "Move", "told"]

Cause = Literal[
    "tools", "key_order", "choice", "system", "edited", "removed", "inserted", "cut", "model", "expired", "unknown"
]
"""Why the cache could not read on: `edited`, `removed` and `inserted` are the application's doing, `key_order` is a tool described by
the same words in another order, `expired` no change of bytes at all. `unknown`: this process did not see the request before."""

_SENTENCES: Mapping[Cause, str] = {
    "tools": "the tools changed",
    "choice": "what the model must do about its tools changed, or how it may think",
    "system": "the system text changed",
    "edited": "the application edited message {position}",
    "removed": "the application removed message {position}, or what stood before it",
    "inserted": "the application put something before message {position}",
    "key_order": "the same tools are described by the same keys in another order",
    "cut": "governor cut the history",
    "model": "another model answers, which has a cache of its own",
    "expired": "nobody asked for longer than the cache lives",
    "unknown": "the history is not what it was",
}
_REMEDIES: Mapping[Cause, str] = {
    "tools": "Offer the same tools in every call of a run, in the same order (`context.order: auto` sorts them).",
    "choice": "Ask for the same in every call of a run; where it has to change, the messages are paid in full once.",
    "system": "Put what changes from call to call into the last message: whatever follows it has to be paid in full.",
    "edited": "Append a message instead of changing one that was sent.",
    "removed": "Leave the history whole and let `context.compact` shorten it where that pays.",
    "inserted": "Append it at the end.",
    "key_order": "Build a tool's schema the same way each time: a dictionary made from a set has another order in each process.",
}


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a prompt is not what the one before it was, and why."""

    cause: Cause
    position: int = 0
    """The first message that differs, as shown; 0 when it is not the messages that differ."""
    role: str = ""
    kept: int = 0
    """Estimated tokens that both begin with."""
    lost: int = 0
    """Tokens of the prompt before that could have been read and could not, by the provider's count."""
    detail: str = ""
    """Names of tools that came and went, of models."""
    where: Difference | None = None

    @property
    def text(self) -> str:
        """The whole sentence."""
        said = _SENTENCES[self.cause].format(position=self.position)
        if self.detail:
            said += f" ({self.detail})"
        if self.where is not None:
            said += f" at character {self.where.at:,}: {self.where.kind}"
        lost = f" {self.lost:,} tokens that were cached could not be read." if self.lost else ""
        return f"The prompt does not begin as the one before it did: {said}.{lost}"


def told(move: Move, *, excerpts: bool) -> Decision:
    """The move as a decision: what was changed is allowed, and named. `excerpts`: whether the differing text may be shown."""
    evidence: dict[str, str | int | float | bool] = {
        "cause": move.cause,
        "position": move.position,
        "kept_tokens": move.kept,
        "lost_tokens": move.lost,
    }
    if move.role:
        evidence["role"] = move.role
    if move.where is not None:
        evidence |= {"character": move.where.at, "kind": move.where.kind}
        if excerpts:
            evidence |= {"before": move.where.before, "after": move.where.after}
    reason = Reason(
        code=f"prefix.{move.cause}",
        rule="context.order",
        text=move.text,
        seen=str(move.lost),
        remedy=_REMEDIES.get(move.cause),
        evidence=evidence,
    )
    return Decision(control="order", verdict=Verdict.ALLOW, reason=reason)
