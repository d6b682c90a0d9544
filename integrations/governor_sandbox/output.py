"""From what the scenario says to what the model emits: token by token, cut at the limit or at a stop sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Literal

from governor_sandbox.prompt import compact_json
from governor_sandbox.tokens import count, pieces

StopReason = Literal["end", "tool_use", "max_tokens", "stop_sequence"]

_FILLER = pieces(" I checked the details again and they are in order. Nothing else needs to change at this point.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedCall:
    """A tool call in a reply; without an ``id`` the sandbox makes one."""

    name: str
    args: Mapping[str, Any]
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a scenario answers.

    ``pad_to_tokens`` lengthens the text with filler that really is sent, so it is in the history from then on;
    ``reasoning_tokens`` are billed as output and shown to nobody. ``chunk_tokens`` is the size of a streamed piece;
    ``finishes_unread`` writes and bills the whole answer even when the client leaves a stream, as some gateways do;
    ``ignores_limit`` writes on past the request's output limit, as far as the model can.
    ``latency_ms`` passes before the response begins and ``chunk_delay_ms`` before each later chunk.
    """

    text: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    reasoning_tokens: int = 0
    pad_to_tokens: int = 0
    latency_ms: int = 0
    chunk_tokens: int = 8
    chunk_delay_ms: int = 0
    finishes_unread: bool = False
    ignores_limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Text, in tokens."""

    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        """The tokens joined."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """What it costs."""
        return len(self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPart:
    """A tool call; its name is paid when the call begins, its arguments piece by piece."""

    id: str
    name: str
    args: Mapping[str, Any]
    pieces: tuple[str, ...]
    complete: bool = True

    @property
    def json(self) -> str:
        """The arguments as far as they were generated: not valid JSON when the limit cut them."""
        return "".join(self.pieces)

    @property
    def head_tokens(self) -> int:
        """What beginning the call costs."""
        return count(self.name)

    @property
    def tokens(self) -> int:
        """What it costs."""
        return self.head_tokens + len(self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What was generated, and why it ended."""

    parts: tuple[TextPart | CallPart, ...]
    stop: StopReason
    stop_sequence: str | None = None
    reasoning: int = 0
    chunk_tokens: int = 8
    tokens: int = field(init=False)

    def __post_init__(self) -> None:
        """Add the parts up once."""
        object.__setattr__(self, "tokens", self.reasoning + sum(part.tokens for part in self.parts))

    @property
    def text(self) -> str:
        """All text parts."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def calls(self) -> tuple[CallPart, ...]:
        """All tool calls."""
        return tuple(part for part in self.parts if isinstance(part, CallPart))


def compose(reply: Reply, *, limit: int, stops: tuple[str, ...], call_ids: str) -> Output:
    """Generate a reply within ``limit`` output tokens.

    Args:
        reply: What the scenario wants said.
        limit: Hard maximum of output tokens, reasoning included.
        stops: Sequences that end the text before they would appear.
        call_ids: Prefix of the ids made for tool calls; unique per request.
    """
    text, stopped_by = _stop_at(_padded(reply), stops)
    parts: list[TextPart | CallPart] = [TextPart(pieces=pieces(text))] if text else []
    if stopped_by is None:
        for i, call in enumerate(reply.tool_calls):
            args = pieces(compact_json(call.args))
            parts.append(CallPart(id=call.id or f"{call_ids}{i:02d}", name=call.name, args=call.args, pieces=args))
    whole: StopReason = "stop_sequence" if stopped_by else "tool_use" if reply.tool_calls else "end"
    reasoning = min(reply.reasoning_tokens, limit)
    kept = _cut(parts, limit - reasoning)
    uncut = reasoning == reply.reasoning_tokens and sum(p.tokens for p in kept) == sum(p.tokens for p in parts)
    return Output(
        parts=tuple(kept),
        stop=whole if uncut else "max_tokens",
        stop_sequence=stopped_by if uncut else None,
        reasoning=reasoning,
        chunk_tokens=reply.chunk_tokens,
    )


def _padded(reply: Reply) -> str:
    missing = reply.pad_to_tokens - count(reply.text)
    if missing <= 0:
        return reply.text
    filler = cycle(_FILLER)
    return reply.text + "".join(next(filler) for _ in range(missing))


def _stop_at(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return text, None
    position, stop = min(found)
    return text[:position], stop


def _cut(parts: list[TextPart | CallPart], room: int) -> list[TextPart | CallPart]:
    kept: list[TextPart | CallPart] = []
    for part in parts:
        if part.tokens <= room:
            kept.append(part)
            room -= part.tokens
            continue
        if isinstance(part, TextPart):
            if room:
                kept.append(TextPart(pieces=part.pieces[:room]))
        elif room >= part.head_tokens:
            args = part.pieces[: room - part.head_tokens]
            kept.append(CallPart(id=part.id, name=part.name, args={}, pieces=args, complete=False))
        break
    return kept
