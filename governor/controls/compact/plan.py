"""What a cut would leave, and how large a prompt may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.compact.span import pinned_at, tail_start, whole_pairs
from governor.decisions import Decision, Reason, Verdict
from governor.media_tokens import media_tokens
from governor.values import cheap, maker

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.calls import History, ModelRef, View
    from governor.controls.compact.span import Standing

__all__ = ["Limit", "Plan", "beyond", "fitting", "plan_cut", "tightest", "too_long"]

_WINDOW_PERCENT = 85
"""Share of the model's window, less the answer, at which a cut is forced: governor's notes are still to come."""
_REACH = 128
"""Messages looked at for an estimate."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A cut that could be made now. Tokens are without the tools'."""

    start: int
    head: tuple[int, ...]
    kept: tuple[int, ...]
    prefix: int
    """Tokens of the head, whose cached prefix survives the cut."""
    tokens: int
    """Tokens of the view it leaves, with a ledger of full size."""
    masks: bool = False
    """Whether it replaces tool results before `start` by placeholders and removes nothing."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on the prompt, in estimated tokens of its messages and tools: what the provider counts may be `ratio` times that."""

    rule: str
    written: str
    allowed: int
    """The bound as written, real tokens."""
    force: int
    """Beyond this the prompt is cut whatever that costs."""
    refuse: int
    """Beyond this it is not sent."""
    ratio: int
    """Real tokens per 1,000 estimated ones, at which `refuse` was worked out."""
    framing: int
    """Estimated tokens around messages and tools."""

    def counted(self, tokens: int) -> int:
        """What the provider is taken to count for a prompt of so many estimated tokens: to be held against the bound as written."""
        return -(-(tokens + self.framing) * self.ratio // 1_000)


_limit = maker(Limit)


def beyond(view: View, model: ModelRef, ratio: int) -> int:
    """Estimated tokens by which the bound of the pictures, documents and recordings in `view` is beyond what their messages count."""
    shown = view.media
    if not shown:
        return 0
    return -(-media_tokens(model, shown) * 1_000 // ratio) - sum(each.counted for each in shown)


def tightest(
    maximum: int | None,
    written: str,
    window: int | None,
    answer: int,
    *,
    ratio: int,
    framing: int,
    media: int = 0,
) -> Limit | None:
    """The tighter of the policy's bound and the model's window, if either is known.

    The policy's bound is kept to for certain: by the upper bound of what the provider counts. So is the window when it is decided to
    cut, but a prompt is not refused for it on suspicion: the provider would refuse it free of charge.

    Args:
        maximum: The policy's bound, real tokens.
        written: That bound as its author wrote it.
        window: Real tokens that the model reads.
        answer: Tokens that the answer may have; at most half of the window is kept free for it.
        ratio: Real tokens per 1,000 estimated ones, an upper bound.
        framing: Estimated tokens around messages and tools.
        media: Estimated tokens beyond what the messages count (`beyond`): an upper bound too, and suspicion where the window is concerned.
    """
    forces: list[int] = []
    most = sent = None
    if maximum is not None:
        most = maximum * 1_000 // ratio - framing - media
        forces.append(most)
    if window is not None:
        sent = window - framing
        room = (window - min(answer, window // 2)) * _WINDOW_PERCENT // 100
        forces.append(room * 1_000 // ratio - framing - media)
    if maximum is not None and most is not None and (sent is None or most <= sent):
        return _limit(
            rule="context.max_input_tokens",
            written=f"{written} tokens",
            allowed=maximum,
            force=min(forces),
            refuse=most,
            ratio=ratio,
            framing=framing + media,
        )
    if window is None or sent is None:
        return None
    return _limit(
        rule="the model's window",
        written=f"{window:,} tokens",
        allowed=window,
        force=min(forces),
        refuse=sent,
        ratio=1_000,
        framing=framing,
    )


def plan_cut(history: History, standing: Standing, *, keep: int, ledger: int, exact: bool = True) -> Plan | None:
    """The cut that keeps a tail of at most `keep` tokens, or None when it would leave nothing out.

    The tail is longer than `keep` when its last message, or the calls that its results answer, are. A plan that is not `exact` only
    says what a cut would save: it looks for messages to keep in the latest ones alone, so that it costs the same at any length.
    """
    start = tail_start(history, keep)
    if exact and start > standing.start:
        start = whole_pairs(history, start)
    if start <= standing.start:
        return None
    head, kept = pinned_at(history, standing, start, reach=None if exact else _REACH)
    if len(head) + len(kept) >= start:
        return None
    tokens = [sum(history.messages[position].tokens for position in positions) for positions in (head, kept)]
    tail = history.between(start, len(history.messages))
    return Plan(start=start, head=head, kept=kept, prefix=tokens[0], tokens=sum(tokens) + ledger + tail)


def fitting(
    history: History, standing: Standing, *, keep: int, ledger: int, room: Callable[[Plan], int]
) -> Plan | None:
    """The cut with the longest tail, of a few lengths up to `keep`, that leaves a quarter of its `room` to grow in; else the shortest.

    Without that quarter the next message would force the next cut, and every call would rewrite the prefix.
    """
    plan: Plan | None = None
    for share in (1, 2, 4, 8, keep + 1):
        plan = plan_cut(history, standing, keep=keep // share, ledger=ledger) or plan
        if plan is not None and plan.tokens <= room(plan) * 3 // 4:
            break
    return plan


def too_long(limit: Limit | None, tokens: int, *, observed: bool, off: bool) -> Decision | None:
    """The refusal of a prompt that does not fit, or None when it does."""
    if limit is None or tokens <= limit.refuse:
        return None
    remedy = (
        "Set context.compact so that old history may be cut, or raise the limit."
        if off
        else "Shorten the system text, the task or the latest messages, cap tool results (context.tool_results.cap), or raise the limit."
    )
    counted = limit.counted(tokens)
    reason = Reason(
        code="context.too_long",
        rule=limit.rule,
        text=f"The prompt has about {counted:,} tokens and cannot be cut below that; {limit.rule} allows {limit.written}. {remedy}",
        limit=limit.written,
        seen=str(counted),
        remedy=remedy,
        evidence={"tokens": counted, "limit": limit.allowed},
    )
    return Decision(control="compact", verdict=Verdict.DENY, reason=reason, observed=observed)
