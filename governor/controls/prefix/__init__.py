"""Prefix: whether a prompt begins as the one before it did, why not, and what that and the view come to in money.

Pure, and after the fact: nothing is decided here. Two requests of a lane are compared by digests; texts are looked at only where they
differ. Figures are in the provider's own tokens, as its usage counts them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.prefix.differing import difference
from governor.controls.prefix.money import Prompt, priced
from governor.controls.prefix.move import Move, told
from governor.models import facts
from governor.prefix import Remembered, shown_in
from governor.runs import Sent
from governor.tokens import estimate
from governor.values import cheap, maker

if TYPE_CHECKING:
    from governor.calls import Message, ModelRequest
    from governor.controls.prefix.differing import Difference
    from governor.controls.prefix.move import Cause
    from governor.decisions import Decision
    from governor.models import ModelFacts
    from governor.plans import Viewed
    from governor.policy.schema import Policy
    from governor.prefix import Shown
    from governor.prices import Rates
    from governor.runs import Lane, PromptSums
    from governor.usage import Usage

__all__ = ["Compared", "Move", "Prefix"]

_sent, _remembered = maker(Sent), maker(Remembered)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One answered request beside the one before it."""

    sent: Sent
    """What the next one is compared with."""
    move: Move | None
    sums: PromptSums | None
    """None where the provider reported no usage."""


_compared = maker(Compared)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """What a comparison looks at."""

    lane: Lane
    """As it was before this call."""
    request: ModelRequest
    shown: Shown
    system: str
    systems: int
    before: Remembered | None
    """The lane's request before this one, where this process remembers it."""

    @property
    def tools(self) -> int:
        """Estimated tokens of the tools, which come before everything."""
        return sum([tool.tokens for tool in self.request.call.tools])


_pair = maker(_Pair)


class Prefix:
    """Compares and prices prompts."""

    def __init__(self, policy: Policy) -> None:
        """Read `context.cache` and `trace.content` of the policy."""
        self._hour = policy.context.cache.ttl == "1h"
        self._excerpts = policy.trace.content == "full"

    @staticmethod
    def remember(request: ModelRequest) -> Remembered:
        """What this process should remember of a request."""
        view = request.view
        shown = shown_in(view)
        messages = view.history.messages
        leading = view.pinned if view.cut else range(shown.length)
        system: list[str] = []
        for position in leading:
            if messages[position].role != "system":
                break
            system.append(messages[position].text)
        return _remembered(shown=shown, tools=request.call.tools, system=tuple(system))

    def told(self, move: Move) -> Decision:
        """The move as the trace shows it."""
        return told(move, excerpts=self._excerpts)

    def compare(
        self,
        request: ModelRequest,
        viewed: Viewed,
        usage: Usage,
        rates: Rates | None,
        now: int,
        *,
        remembered: Remembered,
        before: Remembered | None,
    ) -> Compared:
        """A request that was answered, beside the one before it in its lane. `now`: when it was sent, milliseconds since the epoch.

        `remembered` is what is kept of it, `before` what this process kept of the one before it, if anything.
        """
        lane, shown, known = viewed.lane, remembered.shown, facts(request.model)
        systems = len(remembered.system)
        pair = _pair(
            lane=lane,
            request=request,
            shown=shown,
            system=format(shown.upto(systems), "x"),
            systems=systems,
            before=before if _belongs(before, lane) else None,
        )
        tools, choice = _digest(pair), _choice(request)
        cold = self._cold(pair, known, now)
        cut = viewed.decision.reason is not None and viewed.decision.reason.code == "context.cut"
        move = _move(pair, tools, cold, cut=cut and not viewed.decision.observed) or _rechosen(pair, choice, known)
        prompt = _prompt(pair, usage, move, cold, known)
        if move is not None:
            move = _with_loss(move, prompt, lane, known)
        sent = _sent(
            messages=shown.length,
            digest=format(shown.upto(shown.length), "x"),
            systems=systems,
            system=pair.system,
            tools=tools,
            choice=choice,
            whole=prompt.whole - prompt.notes,
            notes=prompt.notes,
        )
        sums = None if usage.estimated or not usage.prompt else priced(prompt, usage, rates, known, hour=self._hour)
        return _compared(sent=sent, move=move, sums=sums)

    def _cold(self, pair: _Pair, known: ModelFacts, now: int) -> Cause | None:
        """Why nothing of the lane can be in the cache, whatever the bytes are."""
        lane = pair.lane
        if lane.sent is None or known.cache == "none":
            return None
        if lane.model != str(pair.request.model):
            return "model"
        hour = known.cache == "automatic" or (self._hour and known.cache_1h)
        return "expired" if now - lane.last_at_ms > (3_600_000 if hour else 300_000) else None


def _belongs(before: Remembered | None, lane: Lane) -> bool:
    """Whether what this process remembers is the lane's latest request, and not one that another process has followed up."""
    sent = lane.sent
    return (
        before is not None
        and sent is not None
        and before.shown.length == sent.messages
        and format(before.shown.upto(sent.messages), "x") == sent.digest
    )


def _digest(pair: _Pair) -> str:
    """Digest of the tools. The same tuple of tools is offered call after call."""
    tools, sent = pair.request.call.tools, pair.lane.sent
    if sent is not None and pair.before is not None and pair.before.tools is tools:
        return sent.tools
    told = ";".join([f"{tool.name}:{tool.tokens}:{tool.digest}" for tool in tools])
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _move(pair: _Pair, tools: str, cold: Cause | None, *, cut: bool) -> Move | None:
    """Where the request is not what the one before it was; None for one that extends it."""
    sent, shown = pair.lane.sent, pair.shown
    if sent is None:
        return None
    if cold == "model":
        return Move(cause="model", detail=f"{pair.lane.model} before")
    if tools != sent.tools:
        return _tools_changed(pair)
    same = sent.messages <= shown.length and format(shown.upto(sent.messages), "x") == sent.digest
    if same:
        return Move(cause="expired", kept=_tokens_to(pair, sent.messages)) if cold == "expired" else None
    return _message_moved(pair, sent, cut=cut)


def _choice(request: ModelRequest) -> str:
    """What the model must do about its tools: a run's last answer is asked for in words, where the provider can be told so."""
    own = request.call.choice
    return (
        "none" if request.final and not own and request.call.tools and "bedrock" not in request.model.provider else own
    )


def _rechosen(pair: _Pair, choice: str, known: ModelFacts) -> Move | None:
    """Providers with markers cache the messages for one choice of tools and one way of thinking; tools and system text for any."""
    sent = pair.lane.sent
    if sent is None or sent.choice == choice or known.cache != "explicit":
        return None
    detail = "governor asks for a last answer in words" if pair.request.final and choice == "none" else ""
    return Move(cause="choice", position=pair.systems, kept=_tokens_to(pair, pair.systems), detail=detail)


def _message_moved(pair: _Pair, sent: Sent, *, cut: bool) -> Move:
    before, shown = pair.before, pair.shown
    if before is not None:
        at = shown.common(before.shown)
    else:  # how far both are alike is not known here; the system text is, if it stayed
        at = pair.systems if (pair.systems, pair.system) == (sent.systems, sent.system) else 0
    role = _message_at(pair, at).role if at < shown.length else ""
    kept = _tokens_to(pair, at)
    if at < max(pair.systems, sent.systems) and (pair.systems, pair.system) != (sent.systems, sent.system):
        return Move(
            cause="system",
            position=at,
            role="system",
            kept=kept,
            where=_system_differs(pair, at),
            detail="lines that change are sent last from now on" if _newly_apart(pair) else "",
        )
    if cut:
        return Move(cause="cut", position=at, role=role, kept=kept)
    if before is None:
        return Move(cause="unknown", position=at, role=role, kept=kept)
    if _left_out(before.shown) != _left_out(shown):
        return Move(
            cause="cut", position=at, role=role, kept=kept, detail="another cut is in force: the history went back"
        )
    cause, where = _edit(pair, before.shown, at)
    return Move(cause=cause, position=at, role=role, kept=kept, where=where)


def _newly_apart(pair: _Pair) -> bool:
    """Whether lines of the system text were taken to the tail in this request for the first time."""
    seen, before = pair.request.call.steady, pair.lane.steady
    return any(each.apart and (at >= len(before) or before[at].changes != each.changes) for at, each in enumerate(seen))


def _left_out(shown: Shown) -> object:
    """What a cut does to a history, as long as it is in force."""
    return shown.pinned, shown.inserted, shown.start, shown.altered


def _edit(pair: _Pair, before: Shown, at: int) -> tuple[Cause, Difference | None]:
    """What an application did to its list at a place: it took something out, put something in, or wrote something else there."""
    shown = pair.shown
    if at >= shown.length:
        return "removed", None
    if at < before.length:
        was, now = before.at(at), shown.at(at)
        if any(before.at(other) == now for other in range(at + 1, before.length)):
            return "removed", None
        if any(shown.at(other) == was for other in range(at + 1, shown.length)):
            return "inserted", None
    replaced = pair.request.view.history.replaced
    message = _message_at(pair, at)
    if replaced is None or pair.request.view.history.messages[replaced[0]] is not message:
        return "edited", None
    old = replaced[1]
    return "edited", (difference(old.text, message.text) if old.text != message.text else None)


def _system_differs(pair: _Pair, at: int) -> Difference | None:
    if pair.before is None:
        return None
    was, now = pair.before.system, _system(pair)
    return difference(was[at], now[at]) if at < min(len(was), len(now)) and was[at] != now[at] else None


def _system(pair: _Pair) -> list[str]:
    return [_message_at(pair, position).text for position in range(pair.systems)]


def _tools_changed(pair: _Pair) -> Move:
    if pair.before is None:
        return Move(cause="tools")
    tools, before = pair.request.call.tools, pair.before.tools
    was, now = [tool.name for tool in before], [tool.name for tool in tools]
    came, went = sorted(set(now) - set(was)), sorted(set(was) - set(now))
    parts = [f"new: {', '.join(came[:5])}"] if came else []
    parts += [f"gone: {', '.join(went[:5])}"] if went else []
    if parts:
        return Move(cause="tools", detail="; ".join(parts))
    if was != now:
        return Move(cause="tools", detail="another order")
    others = [tool for tool, old in zip(tools, before, strict=True) if tool.digest != old.digest]
    same = others and all(tool.source == old.source for tool, old in zip(tools, before, strict=True) if tool.source)
    if same and all(tool.source for tool in others):
        return Move(cause="key_order", detail=", ".join([tool.name for tool in others[:5]]))
    return Move(cause="tools", detail=f"another description: {', '.join([tool.name for tool in others[:5]])}")


def _message_at(pair: _Pair, position: int) -> Message:
    view = pair.request.view
    if position < len(view.pinned):
        return view.history.messages[view.pinned[position]]
    fixed = len(view.pinned) + len(view.inserted)
    if position < fixed:
        return view.inserted[position - len(view.pinned)]
    return view.history.messages[view.start + position - fixed]


def _tokens_to(pair: _Pair, count: int) -> int:
    """Estimated tokens of the tools and the first `count` messages shown."""
    view, shown = pair.request.view, pair.shown
    fixed = sum([_message_at(pair, position).tokens for position in range(min(count, shown.fixed))])
    tail = max(0, count - shown.fixed)
    return pair.tools + fixed + view.history.between(view.start, view.start + tail)


def _prompt(pair: _Pair, usage: Usage, move: Move | None, cold: Cause | None, known: ModelFacts) -> Prompt:
    """The request in the provider's tokens: estimates are scaled by what it counted for the whole prompt."""
    view, lane, sent = pair.request.view, pair.lane, pair.lane.sent
    noted = sum([estimate(note) for note in view.notes])
    estimated = max(1, view.tokens + pair.tools + noted)

    def real(tokens: int) -> int:
        return tokens * usage.prompt // estimated

    notes = real(noted) if noted else 0
    whole = usage.prompt
    left_out = view.history.uncapped - view.tokens
    if left_out > 0:
        whole += real(left_out)
    if sent is None or cold is not None:
        return Prompt(whole=whole, notes=notes, kept=0, plain=0)
    kept, plain = lane.prefix_tokens - sent.notes, sent.whole
    if move is not None:
        kept = real(move.kept)
        plain = sent.whole if move.cause == "cut" else kept
    if known.family == "nova":
        shown, whole_history = map(real, _before_tools(pair))
        kept, plain = min(kept, shown), min(plain, whole_history)
    return Prompt(whole=whole, notes=notes, kept=kept, plain=plain)


def _before_tools(pair: _Pair) -> tuple[int, int]:
    """Estimated tokens up to the last place where Nova takes a marker, a text in a turn without tools: as shown, and of all history."""
    view = pair.request.view
    history, messages = view.history, view.history.messages
    spoken = (
        history.spoken
        if history.spoken is not None
        else [at for at, message in enumerate(messages) if message.role in ("system", "user")]
    )
    at = bisect_left(spoken, len(messages)) - 1
    while at >= 0 and spoken[at] > 0 and messages[spoken[at] - 1].role == "tool":
        at -= 1
    if at < 0:
        return 0, 0
    count = max(0, spoken[at] + 1 - view.start) + pair.shown.fixed
    return _tokens_to(pair, count), pair.tools + history.between(0, spoken[at] + 1)


def _with_loss(move: Move, prompt: Prompt, lane: Lane, known: ModelFacts) -> Move:
    readable = lane.prefix_tokens - (lane.sent.notes if lane.sent else 0)
    if known.cache == "none" or readable < known.min_cache_tokens:
        return move
    kept = prompt.kept if prompt.kept >= known.min_cache_tokens else 0
    return Move(
        cause=move.cause,
        position=move.position,
        role=move.role,
        kept=move.kept,
        lost=max(0, readable - kept),
        detail=move.detail,
        where=move.where,
    )
