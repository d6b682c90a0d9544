"""Masking: tool results of the past as short placeholders, everything else word for word.

What was asked and what was concluded stays, what tools said is named by size and by the handle that the recall tool reads it by. A
placeholder depends on its message alone, so that between two cuts every request extends the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from governor.calls import History
from governor.controls.compact.plan import Plan
from governor.controls.compact.show import RECALL_TOOL, handle_of
from governor.controls.compact.span import tail_start
from governor.prefix import digest_of, resumed, rolled_on
from governor.tokens import MESSAGE_FRAMING, estimate
from governor.values import cheap, maker, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import Message
    from governor.controls.compact.span import Standing
    from governor.runs import Cut

__all__ = ["Masked", "Masks", "dropping", "masking", "placeholder"]

_history = maker(History)

_LENGTH = 32
"""Tokens of a placeholder, about: for plans that need not be exact."""
_LANES = 32
"""Lanes for which the masked past is remembered."""


def placeholder(message: Message, *, recall: bool) -> Message | None:
    """The message with a placeholder for its text; None when it stays as it is: no tool's result, pinned, or no longer than that.

    `recall`: whether a recall call would be answered. Without it what is left out is lost to the model, as after any cut.
    """
    if message.role != "tool" or message.pinned:
        return None
    handle = (message.handle or (handle_of(message.text) if message.text else None)) if recall else None
    reads = f'; {RECALL_TOOL}(handle="{handle}") reads it' if handle else ""
    text = f"[result of {message.name or 'the tool'}, about {message.tokens:,} tokens, left out{reads}]"
    tokens = MESSAGE_FRAMING + estimate(text)
    if tokens >= message.tokens:
        return None
    return replace(message, text=text, tokens=tokens, blocks=1, edited=True, handle=handle, opaque=False, media=())


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A history as it is shown under a cut."""

    history: History
    altered: tuple[int, ...] = ()
    """Positions of placeholders, rising."""
    elided: tuple[tuple[str, str], ...] = ()
    """(handle, full text) of what they leave out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """The masked beginning of one lane's history, which is the same at every call until the next cut."""

    cut: Cut
    recall: bool
    source: tuple[Message, ...]
    messages: tuple[Message, ...]
    cumulative: list[int]
    rolled: list[int]
    altered: tuple[int, ...]
    elided: tuple[tuple[str, str], ...]


class Masks:
    """Masked histories. What is remembered saves work and changes nothing."""

    def __init__(self) -> None:
        """Nothing remembered."""
        self._known: dict[str, _Past] = {}

    def shown(self, lane: str, history: History, standing: Standing, *, recall: bool) -> Masked:
        """The history with the placeholders of the cut in force: itself when there are none."""
        cut = standing.cut
        if cut is None or not (cut.masked or cut.dropped):
            return Masked(history=history)
        past = self._past(lane, history, standing, cut, recall=recall)
        end, count = len(past.messages), len(history.messages)
        less = history.between(0, end) - (past.cumulative[-1] if end else 0)
        cumulative = [*past.cumulative, *[total - less for total in history.cumulative[end:count]]]
        derived = _history(
            messages=(*past.messages, *history.messages[end:]),
            cumulative=cumulative,
            index=history.index,
            spoken=history.spoken,
            media=history.media,
            rolled=_rolled(history, past, end),
            replaced=history.replaced,
            excess=_excess(history, cumulative),
        )
        return Masked(history=derived, altered=past.altered, elided=past.elided)

    def _past(self, lane: str, history: History, standing: Standing, cut: Cut, *, recall: bool) -> _Past:
        end = max([standing.verbatim, *(position + 1 for position in standing.dropped)])
        source = tuple(history.messages[:end])
        known = self._known.get(lane)
        if known is not None and known.cut == cut and known.recall is recall and known.source == source:
            return known
        if len(self._known) >= _LANES:
            self._known = {}
        past = self._known[lane] = _past_of(source, standing, cut, recall=recall)
        return past


def _rolled(history: History, past: _Past, end: int) -> list[int] | None:
    """The digests of the history as it is shown, without reading again what is shown word for word."""
    if history.rolled is None:
        return None
    return past.rolled + resumed(history.rolled, end, len(history.messages), past.rolled[-1] if end else 0)


def _excess(history: History, cumulative: list[int]) -> list[int]:
    """What shortening took off messages 0..i, placeholders included: the whole history stays what it is, however it is shown."""
    own = history.excess or [0] * len(cumulative)
    return [less + was - now for less, was, now in zip(own, history.cumulative, cumulative, strict=False)]


def _past_of(source: tuple[Message, ...], standing: Standing, cut: Cut, *, recall: bool) -> _Past:
    messages = list(source)
    altered: list[int] = []
    elided: dict[str, str] = {}
    for position in sorted({*range(standing.start, standing.verbatim), *standing.dropped}):
        shown = placeholder(source[position], recall=recall)
        if shown is None:
            continue
        messages[position] = shown
        altered.append(position)
        if shown.handle is not None and source[position].handle is None:
            elided[shown.handle] = source[position].text
    return _Past(
        cut=cut,
        recall=recall,
        source=source,
        messages=tuple(messages),
        cumulative=list(accumulate(message.tokens for message in messages)),
        rolled=list(accumulate((digest_of(message) for message in messages), rolled_on, initial=0))[1:],
        altered=tuple(altered),
        elided=tuple(elided.items()),
    )


def masking(
    history: History, masked: Masked, standing: Standing, shown: int, *, keep: int, recall: bool, exact: bool
) -> Plan | None:
    """The cut that masks every tool result before a tail of at most `keep` tokens; None when that would leave nothing out.

    Args:
        history: As the graph has it.
        masked: As it is shown now.
        standing: The cut in force.
        shown: Tokens of the view as it stands, without the tools'.
        keep: Tokens that stay word for word.
        recall: As for `placeholder`.
        exact: Whether the placeholders are made; else their length is taken to be the usual one.
    """
    end = tail_start(masked.history, keep)
    begin = max(standing.verbatim, standing.start)
    return _replacing(history, masked, standing, shown, range(begin, end), end, recall=recall, exact=exact)


def dropping(
    history: History, masked: Masked, standing: Standing, shown: int, positions: Sequence[int], *, recall: bool
) -> Plan | None:
    """The cut that masks the results at `positions` alone. Its `kept` names them."""
    end = max(positions, default=-1) + 1
    plan = _replacing(history, masked, standing, shown, positions, end, recall=recall, exact=True)
    return replace(plan, kept=tuple(positions)) if plan else None


def _replacing(
    history: History,
    masked: Masked,
    standing: Standing,
    shown: int,
    positions: Sequence[int],
    end: int,
    *,
    recall: bool,
    exact: bool,
) -> Plan | None:
    messages, already = history.messages, set(masked.altered)
    saved, first = 0, None
    for position in positions:
        message = messages[position]
        if message.role != "tool" or message.pinned or position in already:
            continue
        less = message.tokens - _LENGTH
        if exact:
            short = placeholder(message, recall=recall)
            less = message.tokens - short.tokens if short else 0
        if less > 0:
            saved += less
            first = position if first is None else first
    if first is None:
        return None
    follows = masked.history.between(first, len(messages))
    return Plan(start=end, head=(), kept=(), prefix=shown - follows, tokens=shown - saved, masks=True)
