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
    verbatim: int = 0
    """Tool results from `start` to before it are placeholders."""
    dropped: tuple[int, ...] = ()
    """Other tool results that are, rising."""


NO_CUT = Standing(cut=None, start=0)
"""The whole history."""


def newest_cut(cuts: Sequence[Cut], history: History) -> Standing:
    """The newest cut whose messages are part of the history: a fork from before a cut is not bound by it."""
    index, count = history.index, len(history.messages)
    for cut in reversed(cuts):
        start, verbatim, seen = (index.get(key, 0) if key else None for key in (cut.first, cut.masked, cut.seen))
        if any(position is not None and not 0 < position < count for position in (start, verbatim, seen)):
            continue
        start = start or 0
        positions = (index.get(key, start) for key in cut.kept)
        dropped = (index.get(key, 0) for key in cut.dropped)
        return Standing(
            cut=cut,
            start=start,
            kept=tuple(sorted(position for position in positions if position < start)),
            verbatim=verbatim or 0,
            dropped=tuple(sorted(position for position in dropped if start <= position < count)),
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
    """What a cut at `start` keeps: the head, and beside it later system text (each text once), pinned messages, the user's latest one.

    A pinned result stays with the call that it answers, a pinned call with its results.

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
    kept: set[int] = set()
    for position in candidates:
        if messages[position].role == "system" and messages[position].text not in texts:
            texts.add(messages[position].text)
            kept.add(position)
        if messages[position].pinned or messages[position].role not in ("system", "user"):
            kept |= _with_its_pairs(history, position, start)
    users = [position for position in candidates if messages[position].role == "user"]
    return head, tuple(sorted({*kept, *users[-1:]} - set(head)))


def _with_its_pairs(history: History, position: int, end: int) -> set[int]:
    """A message, with the model message whose call it answers and all results of that one's calls before `end`."""
    messages = history.messages
    answers = messages[position].answers if messages[position].role == "tool" else None
    if answers is not None:
        before = range(position - 1, -1, -1)
        caller = next((i for i in before if any(use.id == answers for use in messages[i].tool_uses)), None)
        return {position} if caller is None else {position, *_with_its_pairs(history, caller, end)}
    open_calls, found = {use.id for use in messages[position].tool_uses}, {position}
    for following in range(position + 1, end) if open_calls else ():
        if messages[following].role == "tool" and messages[following].answers in open_calls:
            open_calls.discard(messages[following].answers or "")
            found.add(following)
        if not open_calls:
            break
    return found


def _spoken(history: History, begin: int, end: int) -> Sequence[int]:
    """Positions of system text, of the user's messages and of pinned ones from `begin` to before `end`."""
    if history.spoken is not None:
        return history.spoken[bisect_left(history.spoken, begin) : bisect_left(history.spoken, end)]
    messages = history.messages
    return [i for i in range(begin, end) if messages[i].pinned or messages[i].role in ("system", "user")]


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


def cut_view(history: History, standing: Standing, altered: tuple[int, ...] = (), edge: int = 0) -> View:
    """What the model sees under the cut in force.

    Args:
        history: With its placeholders.
        standing: The cut, as positions.
        altered: Where those are.
        edge: Where the placeholders of the cut before it ended, when this is a new one: the cached prefix ends there.
    """
    cut = standing.cut
    if cut is None:
        return _whole(history=history)
    edges = tuple(position - 1 for position in dict.fromkeys((edge, standing.verbatim)) if position > standing.start)
    if not cut.first:
        return View(history=history, altered=altered, edges=edges)
    head = tuple(position for position in head_of(history) if position < standing.start)
    pinned = tuple(sorted({*head, *standing.kept}))
    ledger = Message(key=f"ledger:{cut.first}", role="user", text=cut.text, tokens=cut.tokens)
    inserted = (ledger,)
    if cut.summary:
        told = Message(key=f"summary:{cut.first}", role="user", text=cut.summary, tokens=cut.summary_tokens)
        inserted = (told, ledger)
    return View(history=history, pinned=pinned, inserted=inserted, start=standing.start, altered=altered, edges=edges)
