"""Reads the bytes of a broken stream: what the model had written by then, and the usage that the provider had reported.

Every provider streams JSON events, as server-sent events or in AWS's frames, and what was written is under `delta` in all of them. Only
that is read here; messages are the client's business.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from governor.tokens import TOOL_FRAMING, estimate
from governor.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

__all__ = ["Arrived", "arrived", "cache_asked"]

Ttl = Literal["none", "5m", "1h"]


class Arrived(NamedTuple):
    """What a broken stream held."""

    tokens: int
    """Estimated, of everything that the model wrote."""
    largest: int
    """Of its largest event."""
    usage: Usage | None
    """As reported last."""
    final: bool
    """Whether that was the report at the end of the answer."""
    events: int
    """How many events arrived whole."""


SKIPPED = frozenset(
    {"type", "role", "id", "signature", "stop_reason", "stop_sequence", "object", "finish_reason", "usage"}
)
"""Strings under `delta` that nobody wrote."""
OPENS = ("content_block", "start", "item", "function")
"""Where an event names the tool that a call begins."""


NOTHING: Mapping[str, Any] = {}


def arrived(raw: bytes, *, framed: bool) -> Arrived:
    """Add up the events in `raw`; one that is cut off at its end counts as not arrived."""
    written: list[str] = []
    tools, largest, usage, final, events = 0, 0, None, False, 0
    for event in _frames(raw) if framed else _sent(raw):
        events += 1
        piece = "".join(_deltas(event))
        if piece:
            written.append(piece)
            largest = max(largest, estimate(piece))
        if (name := _opened(event)) is not None:
            tools += TOOL_FRAMING + estimate(name)
        if (reported := _reported(event)) is not None:
            final = _closes(event)
            usage = _merged(usage, reported)
    return Arrived(estimate("".join(written)) + tools, largest, usage, final, events)


def cache_asked(messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], model: BaseChatModel) -> Ttl:
    """The longest life of a prompt cache that a request asks for. Read off its text: markers are few words in many places.

    A provider that caches on its own bills no more for it than for input, as far as its models write openly.
    """
    own = (getattr(model, name, None) for name in ("model_kwargs", "additional_model_request_fields", "system"))
    text = repr(([message.content for message in messages], kwargs, list(own)))
    text += repr([message.additional_kwargs for message in messages])
    if not any(marker in text for marker in ("cache_control", "cachePoint", "cache_point")):
        return "none"
    return "1h" if "1h" in text else "5m"


def _sent(raw: bytes) -> Iterator[Mapping[str, Any]]:
    """Server-sent events: a line that begins with `data:` holds one."""
    *lines, _cut = raw.split(b"\n")
    for line in lines:
        if line.startswith(b"data:"):
            yield from _parsed(line[5:])


def _frames(raw: bytes) -> Iterator[Mapping[str, Any]]:
    """AWS's frames. InvokeModel packs the model's own event into one of them, in base64."""
    from botocore.eventstream import EventStreamBuffer

    buffer: Any = EventStreamBuffer()
    buffer.add_data(raw)
    for message in buffer:
        for event in _parsed(message.payload):
            packed = event.get("bytes")
            yield from _parsed(base64.b64decode(packed)) if isinstance(packed, str) else (event,)


def _parsed(text: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        event = json.loads(text)
    except ValueError:
        return
    if isinstance(event, dict):
        yield cast("Mapping[str, Any]", event)


def _deltas(event: Mapping[str, Any]) -> Iterator[str]:
    """What the model wrote in this event."""
    found: list[Any] = [event.get("delta")]
    choices = event.get("choices")
    found += [choice.get("delta") or choice.get("text") for choice in choices] if isinstance(choices, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - any JSON value
    for each in found:
        yield from _strings(each)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in cast("Mapping[str, Any]", value).items():
            if key not in SKIPPED:
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _strings(inner)


def _opened(event: Mapping[str, Any]) -> str | None:
    """The name of the tool whose call begins here; OpenAI's chat events have it under `delta`, where it is counted."""
    for place in OPENS:
        inner = event.get(place)
        if isinstance(inner, dict):
            block = cast("Mapping[str, Any]", inner)
            name = block.get("name") or cast("Mapping[str, Any]", block.get("toolUse") or {}).get("name")
            if isinstance(name, str):
                return name
    return None


def _reported(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for holder in (event, event.get("message"), event.get("response")):
        usage = cast("Mapping[str, Any]", holder).get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            return cast("Mapping[str, Any]", usage)
    return None


def _closes(event: Mapping[str, Any]) -> bool:
    """Whether usage in this event is the whole answer's: Anthropic reports the prompt's at the beginning."""
    return event.get("type") not in ("message_start", "response.created", "response.in_progress")


def _merged(before: Usage | None, reported: Mapping[str, Any]) -> Usage:
    """The latest counts; one that is not repeated stays (Anthropic's last report may leave the prompt out)."""
    usage = _usage(reported)
    return usage if before is None or usage.prompt else before + Usage(output=usage.output - before.output)


def _usage(reported: Mapping[str, Any]) -> Usage:
    """Usage from a provider's own words: Anthropic's, Converse's and those of OpenAI's two APIs."""

    def count(*names: str, of: Mapping[str, Any] = reported) -> int:
        return max((value for name in names if isinstance(value := of.get(name), int)), default=0)

    def part(*names: str) -> Mapping[str, Any]:
        found = [reported[name] for name in names if isinstance(reported.get(name), dict)]
        return cast("Mapping[str, Any]", found[0]) if found else NOTHING

    details = part("prompt_tokens_details", "input_tokens_details")
    answer = part("completion_tokens_details", "output_tokens_details")
    given = count("input_tokens", "inputTokens", "prompt_tokens")
    read = count("cache_read_input_tokens", "cacheReadInputTokens")
    written = count("cache_creation_input_tokens", "cacheWriteInputTokens")
    hour = count("ephemeral_1h_input_tokens", of=part("cache_creation"))
    for each in cast("list[Mapping[str, Any]]", reported.get("cacheDetails") or []):
        hour += count("inputTokens", of=each) if each.get("ttl") == "1h" else 0
    if details:  # OpenAI counts cached tokens inside of the input, the others beside it
        read, written = count("cached_tokens", of=details), count("cache_write_tokens", of=details)
        given = max(0, given - read - written)
    output = count("output_tokens", "outputTokens", "completion_tokens")
    return Usage(
        input=given,
        cache_read=read,
        cache_write_5m=max(0, written - hour),
        cache_write_1h=hour,
        output=output,
        reasoning=min(output, count("reasoning_tokens", of=answer)),
    )
