"""Order: the request in the form in which the provider's prompt cache hits, and where the cache markers go.

Stable parts come first (tools, system text, task, ledger, history), what changes from call to call comes last (governor's notes).
A cache is a matter of bytes: a marker helps only where an earlier request had the same bytes up to that place and a marker there.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from governor.calls import Breakpoint, CachePlan, ModelRequest
from governor.decisions import Decision, Reason, Verdict
from governor.models import facts
from governor.plans import NO_RUNG, Lead
from governor.prefix import digest_of
from governor.tokens import estimate
from governor.values import cheap, maker, replace
from governor.volatile import parted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import Message, ModelCall, ToolSpec, View
    from governor.models import ModelFacts
    from governor.plans import Routed, Rung, Viewed
    from governor.policy.schema import Policy
    from governor.runs import Lane, RunState

__all__ = ["Order"]

_request, _plan = maker(ModelRequest), maker(CachePlan)

_MARKERS = 4
"""Most cache markers in one request (Anthropic, Amazon Bedrock)."""
_AS_OF_NOW = "Of your instructions, as of now:"
_SPACING = 15
"""Content blocks after which an intermediate marker is set: providers look back about 20 for an older entry."""


_WORTH_WAITING = 5_000_000
"""Nano-USD that a call must save by waiting for the first of its fan-out: half a cent, 1,450 tokens of prefix on Claude Sonnet. A choice:
what is cached for less is not worth seconds of whoever waits for the run."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The rendered view with its positions: pinned messages, inserted ones, the tail."""

    view: View
    tools: int
    """Tokens of the tools, which come before everything."""

    @property
    def fixed(self) -> int:
        """Messages before the tail."""
        return len(self.view.pinned) + len(self.view.inserted)

    @property
    def length(self) -> int:
        """Messages of the rendered view."""
        return self.fixed + len(self.view.history.messages) - self.view.start

    def message(self, position: int) -> Message:
        """The message at a position of the rendered view."""
        view = self.view
        if position < len(view.pinned):
            return view.history.messages[view.pinned[position]]
        if position < self.fixed:
            return view.inserted[position - len(view.pinned)]
        return view.history.messages[view.start + position - self.fixed]

    def place_of(self, key: str | None) -> int | None:
        """Position of a message of the tail, or None when it is not shown there."""
        history = self.view.history
        index = history.index.get(key, -1) if key is not None else -1
        return self.fixed + index - self.view.start if self.view.start <= index < len(history.messages) else None

    def tokens_to(self, position: int) -> int:
        """Tokens of the prompt up to and with a position, tools included."""
        before = sum(self.message(i).tokens for i in range(min(position + 1, self.fixed)))
        if position < self.fixed:
            return self.tools + before
        start = self.view.start
        return self.tools + before + self.view.history.between(start, start + position - self.fixed + 1)

    def last_within(self, tokens: int) -> int:
        """The last position up to which the prompt has at most `tokens`; -1 when not even the first does."""
        history, start = self.view.history, self.view.start
        left = tokens - self.tools - sum(self.message(i).tokens for i in range(self.fixed))
        if left < 0:
            return max((i for i in range(self.fixed) if self.tokens_to(i) <= tokens), default=-1)
        before = history.cumulative[start - 1] if start else 0
        end = bisect_right(history.cumulative, before + left, start, len(history.messages))
        return self.fixed + end - start - 1


class Order:
    """Arranges a request. Pure, and constant in the length of the history."""

    def __init__(self, policy: Policy) -> None:
        """Read `context.order` and `context.cache` of the policy. In observe mode the request stays as it was asked for."""
        observed = policy.mode == "observe"
        self._sorts = policy.context.order == "auto" and not observed
        self._ttl: Literal["5m", "1h", "off"] = "off" if observed else policy.context.cache.ttl
        self._stagger = policy.context.cache.stagger

    def sort_tools(self, tools: Sequence[ToolSpec]) -> tuple[int, ...]:
        """Indices of the tools in the order in which they are sent: by name, or as they are when the policy says `order: off`."""
        if not self._sorts:
            return tuple(range(len(tools)))
        return tuple(sorted(range(len(tools)), key=lambda index: tools[index].name))

    def steady(self, message: Message) -> Message:
        """A system text without the lines that change from call to call (clock, date, ids); `arrange` sends those last."""
        if not self._sorts or message.role != "system" or message.opaque:
            return message
        text, moved = parted(message.text)
        if not moved:
            return message
        tokens = max(1, message.tokens - estimate(message.text) + estimate(text))
        return replace(message, text=text, tokens=tokens, edited=True, moved=moved)

    def arrange(
        self,
        state: RunState,
        call: ModelCall,
        routed: Routed,
        viewed: Viewed,
        *,
        note: str | None,
        rung: Rung = NO_RUNG,
    ) -> ModelRequest:
        """The request as it will be sent, but for the clamp. `note` is the loop control's word to the model; notes go last.

        `rung`: what the degrade ladder asks of the call.
        """
        del state  # what was sent before is in the lane
        notes = (*_moved(viewed.view), *(each for each in (note, rung.note) if each is not None))
        view = replace(viewed.view, notes=(*viewed.view.notes, *notes)) if notes else viewed.view
        limits = (call.max_output_tokens, routed.max_output_tokens, rung.max_output_tokens)
        bounds = [bound for bound in limits if bound is not None]
        bound = min(bounds) if bounds else None
        return _request(
            call=call,
            tier=routed.tier,
            model=routed.model,
            view=view,
            cache=self._cache(call, routed, view, viewed.lane.previous_last),
            max_output_tokens=bound,
            base=routed.base,
            final=rung.last,
        )

    def lead(self, request: ModelRequest, routed: Routed, lane: Lane, now: int) -> Lead | None:
        """What the request writes that others would rather read, or None when waiting for that saves nothing worth it.

        What a lane has sent is in the cache for as long as that keeps it. `now`: milliseconds since the epoch.
        """
        cache, rates = request.cache, routed.rates
        if self._stagger is None or rates is None or not (cache.system or cache.tools or cache.messages):
            return None
        hour = (cache.system or cache.tools or cache.messages[0].ttl) == "1h"
        lives = 3_600_000 if hour else 300_000
        if lane.sent is not None and lane.model == str(request.model) and now - lane.last_at_ms < lives:
            return None
        layout = _Layout(view=request.view, tools=sum([tool.tokens for tool in request.call.tools]))
        count = _leading_system(layout) if cache.system else 0 if cache.tools else cache.messages[-1].position + 1
        tokens = layout.tokens_to(count - 1) if count else layout.tools
        at = rates.at(request.view.tokens + layout.tools)
        saved = tokens * ((at.cache_write_1h if hour else at.cache_write_5m) - at.cache_read) // 1_000_000
        if saved < _WORTH_WAITING:
            return None
        texts = [digest_of(layout.message(position)) for position in range(count)]
        offered = [(tool.name, tool.digest) for tool in request.call.tools]
        told = json.dumps([str(request.model), offered, texts])
        key = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        return Lead(key=key, tokens=tokens, saved=saved, patience_ms=int(self._stagger), lives_ms=lives)

    def staggered(self, lead: Lead, waited_ms: int, *, late: bool) -> Decision:
        """A call waited for the first one with its prefix; `late`: in vain, for it was slow or failed."""
        what = "which did not come in time" if late else f"to read {lead.tokens:,} tokens that it wrote"
        reason = Reason(
            code="cache.stagger",
            rule="context.cache.stagger",
            text=f"Waited {waited_ms / 1_000:.1f} s for the first answer to the same prefix, {what}.",
            limit=self._stagger.written if self._stagger is not None else None,
            seen=f"{waited_ms} ms",
            evidence={"waited_ms": waited_ms, "tokens": lead.tokens, "saved_nano_usd": 0 if late else lead.saved},
        )
        return Decision(control="order", verdict=Verdict.MODIFY, reason=reason)

    def _cache(self, call: ModelCall, routed: Routed, view: View, previous: str | None) -> CachePlan:
        known = facts(routed.model)
        if self._ttl == "off" or known.cache == "none":
            return CachePlan()
        if known.cache == "automatic":
            return _plan(key=_cache_key(call))
        ttl: Literal["5m", "1h"] = "1h" if self._ttl == "1h" and known.cache_1h else "5m"
        layout = _Layout(view=view, tools=sum([tool.tokens for tool in call.tools]))
        return _markers(layout, known, ttl, previous)


def _moved(view: View) -> tuple[str, ...]:
    """What was taken out of the system texts that are shown, as a note."""
    if not view.history.moved:
        return ()
    messages = view.history.messages
    shown = (*view.pinned, *range(view.start, len(messages)))
    lines = [messages[position].moved for position in shown if messages[position].moved]
    return ("\n".join([_AS_OF_NOW, *lines]),) if lines else ()


def _markers(layout: _Layout, known: ModelFacts, ttl: Literal["5m", "1h"], previous: str | None) -> CachePlan:
    """At most four markers, the most useful ones first.

    The last message (what the next request reads), the last one of the previous request (what this one reads), the end of the
    instructions (what every run reads), the place of the cut (what survives until the next one), one in between after a turn of
    many blocks, the tools. All have the same TTL, so that TTLs never increase from tools over system to messages.
    """
    leading = _leading_system(layout)
    wanted = [layout.length - 1]
    before = layout.place_of(previous)
    if before is not None:
        wanted.append(before)
    wanted = _within_cap(layout, known, wanted)
    system = leading > 0 and known.min_cache_tokens <= layout.tokens_to(leading - 1)
    if layout.view.cut:
        wanted += _within_cap(layout, known, [layout.fixed - 1])
    edges = [layout.fixed + edge - layout.view.start for edge in layout.view.edges if edge >= layout.view.start]
    wanted += _within_cap(layout, known, edges) if edges else []
    between = _between(layout, before)
    if between is not None:
        wanted += _within_cap(layout, known, [between])
    chosen: list[int] = []
    for position in wanted:
        useful = position >= leading and layout.tokens_to(position) >= known.min_cache_tokens
        if useful and position not in chosen and len(chosen) + system < _MARKERS:
            chosen.append(position)
    tools = known.cache_in_tools and known.min_cache_tokens <= layout.tools and len(chosen) + system < _MARKERS
    return CachePlan(
        tools=ttl if tools else None,
        system=ttl if system else None,
        messages=tuple(Breakpoint(position=position, ttl=ttl) for position in sorted(chosen)),
        planned=True,
    )


def _leading_system(layout: _Layout) -> int:
    count = 0
    while count < layout.length and layout.message(count).role == "system":
        count += 1
    return count


def _within_cap(layout: _Layout, known: ModelFacts, positions: list[int]) -> list[int]:
    """Positions that the provider caches; one beyond its cap is replaced by the last position within it."""
    cap = known.cache_cap_tokens
    if cap is None or layout.tokens_to(max(positions, default=0)) <= cap:
        return positions
    last = layout.last_within(cap)
    return [min(position, last) for position in positions]


def _between(layout: _Layout, before: int | None) -> int | None:
    """A position after the previous request's last message such that the last marker finds an entry in its look-back."""
    if before is None:
        return None
    blocks = sum(layout.message(position).blocks for position in range(before + 1, layout.length))
    if blocks <= _SPACING:
        return None
    position = before + 1
    seen = layout.message(position).blocks
    while position < layout.length - 2 and seen + layout.message(position + 1).blocks <= _SPACING:
        position += 1
        seen += layout.message(position).blocks
    return position


def _cache_key(call: ModelCall) -> str:
    """Key that routes requests with one prefix to one machine of a provider that caches by itself: scopes and node, hashed.

    Runs of one tenant in one node share their tools, their instructions and nothing else.
    """
    return _hashed(tuple(sorted(call.step.run.scopes.items())), call.step.path)


@lru_cache(maxsize=1024)
def _hashed(scopes: tuple[tuple[str, str], ...], path: str) -> str:
    told = json.dumps([scopes, path], ensure_ascii=False)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]
