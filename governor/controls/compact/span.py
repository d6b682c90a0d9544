"""Where a history may be cut: what stays before the cut, where the tail begins, and that no tool call loses its answer."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.calls import Message, View
from governor.values import cheap, maker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import History
    from governor.runs import Cut

__all__ = ["NO_CUT", "Standing", "cut_view", "has_open_call", "newest_cut", "pinned_at", "tail_start", "whole_pairs"]

_whole = maker(View)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The cut in force: where its tail begins and what it keeps, as positions of the present history."""

    cut: Cut | None
    start: int
    kept: tuple[int, ...] = ()
    """Kept messages beside the head."""


NO_CUT = Standing(cut=None, start=0)
"""The whole history."""


def newest_cut(cuts: Sequence[Cut], history: History) -> Standing:
    """The newest cut whose first message is part of the history: a fork from before a cut is not bound by it."""
    for cut in reversed(cuts):
        start = history.index.get(cut.first, 0)
        if 0 < start < len(history.messages):
            positions = (history.index.get(key, start) for key in cut.kept)
            return Standing(
                cut=cut, start=start, kept=tuple(sorted(position for position in positions if position < start))
            )
    return NO_CUT


def head_of(history: History) -> tuple[int, ...]:
    """The leading system messages and the first message of the user: instructions and the task."""
    messages = history.messages
    end = 0
    while end < len(messages) and messages[end].role == "system":
        end += 1
    task = next((i for i in range(end, len(messages)) if messages[i].role == "user"), None)
    return (*range(end), *(() if task is None else (task,)))


def pinned_at(
    history: History, standing: Standing, start: int, *, reach: int | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a cut at `start` keeps: the head, and beside it later system text (each text once) and the latest message of the user.

    Reads only the messages since the cut in force, of these the last `reach`: what came before the cut is in `standing.kept`.
    """
    messages = history.messages
    head = tuple(position for position in head_of(history) if position < start)
    begin = max(standing.start, sum(1 for position in head if messages[position].role == "system"))
    if reach is not None:
        begin = max(begin, start - reach)
    since = [position for position in _spoken(history, begin, start) if position not in head]
    candidates = [*(position for position in standing.kept if position not in head), *since]
    texts = {messages[position].text for position in head if messages[position].role == "system"}
    kept: list[int] = []
    for position in candidates:
        if messages[position].role == "system" and messages[position].text not in texts:
            texts.add(messages[position].text)
            kept.append(position)
    users = [position for position in candidates if messages[position].role == "user"]
    return head, tuple(sorted([*kept, *users[-1:]]))


def _spoken(history: History, begin: int, end: int) -> Sequence[int]:
    """Positions of system text and of the user's messages from `begin` to before `end`."""
    if history.spoken is not None:
        return history.spoken[bisect_left(history.spoken, begin) : bisect_left(history.spoken, end)]
    return [i for i in range(begin, end) if history.messages[i].role in ("system", "user")]


def tail_start(history: History, keep: int) -> int:
    """First position of a tail of at most `keep` tokens and at least one message, moved back to the model message that called."""
    messages = history.messages
    count = len(messages)
    if not count:
        return 0
    start = min(bisect_left(history.cumulative, history.tokens - keep, 0, count) + 1, count - 1)
    if history.tokens <= keep:
        start = 0
    while start > 0 and messages[start].role == "tool":
        start -= 1
    return start


def whole_pairs(history: History, start: int) -> int:
    """`start`, moved back until every tool result of the tail has its call there, wherever other messages came between.

    A result that has no call in the whole history is left as it is.
    """
    messages = history.messages
    while True:
        tail = messages[start:]
        called = {use.id for message in tail for use in message.tool_uses}
        missing = {message.answers for message in tail if message.role == "tool"} - called
        backwards = range(start - 1, -1, -1) if missing else ()
        caller = next((i for i in backwards if any(use.id in missing for use in messages[i].tool_uses)), None)
        if caller is None:
            return start
        start = caller


def has_open_call(history: History) -> bool:
    """Whether the latest model message asked for a tool that has not answered yet."""
    answered: set[str] = set()
    for position in range(len(history.messages) - 1, -1, -1):
        message = history.messages[position]
        if message.role == "tool":
            answered.add(message.answers or "")
        elif message.role == "assistant":
            return any(use.id not in answered for use in message.tool_uses)
    return False


def cut_view(history: History, standing: Standing) -> View:
    """What the model sees under the cut in force."""
    cut = standing.cut
    if cut is None:
        return _whole(history=history)
    head = tuple(position for position in head_of(history) if position < standing.start)
    pinned = tuple(sorted({*head, *standing.kept}))
    ledger = Message(key=f"ledger:{cut.first}", role="user", text=cut.text, tokens=cut.tokens)
    return View(history=history, pinned=pinned, inserted=(ledger,), start=standing.start)
