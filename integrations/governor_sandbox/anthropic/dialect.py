"""Words answers as Anthropic does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from governor_sandbox.anthropic.request import parse
from governor_sandbox.catalogue import Finds
from governor_sandbox.dialect import Answered, Chunk, Draft, Target, retry_after, streamed
from governor_sandbox.errors import Kind, Rejection
from governor_sandbox.meter import Usage
from governor_sandbox.output import CallPart, StopReason, TextPart
from governor_sandbox.prompt import Request, compact_json

_STATUS: dict[Kind, tuple[int, str]] = {
    "invalid": (400, "invalid_request_error"),
    "unauthenticated": (401, "authentication_error"),
    "forbidden": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "throttled": (429, "rate_limit_error"),
    "server": (500, "api_error"),
    "model_error": (500, "api_error"),
    "timeout": (504, "timeout_error"),
    "unavailable": (529, "overloaded_error"),
}
_STOP: dict[StopReason, str] = {
    "end": "end_turn",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
}


class Anthropic:
    """The Messages API."""

    stream_content_type = "text/event-stream; charset=utf-8"
    call_id_prefix = "toolu_"

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """A key and a version; the key is not verified."""
        if not headers.get("x-api-key") and not headers.get("authorization"):
            raise Rejection("unauthenticated", "x-api-key header is required")
        if not headers.get("anthropic-version"):
            raise Rejection("invalid", "anthropic-version: header is required")

    def parse(self, target: Target, body: Mapping[str, Any], catalogue: Finds) -> Request:
        """See `governor_sandbox.anthropic.request.parse`."""
        return parse(target, body, catalogue)

    def counted(self, tokens: int) -> Mapping[str, Any]:
        """A token count."""
        return {"input_tokens": tokens}

    def whole(self, draft: Draft) -> Mapping[str, Any]:
        """A message."""
        return _message(draft, [_content(part) for part in draft.output.parts], _usage(draft.usage)) | _ending(draft)

    def stream(self, draft: Draft) -> Iterator[Chunk]:
        """Server-sent events from message_start to message_stop."""
        opening = _message(draft, [], _usage(draft.usage) | {"output_tokens": 1})
        yield _event({"type": "message_start", "message": opening}, draft.output.reasoning)
        for index, part in enumerate(draft.output.parts):
            yield _event({"type": "content_block_start", "index": index, "content_block": _empty(part)}, _head(part))
            kind, key = ("text_delta", "text") if isinstance(part, TextPart) else ("input_json_delta", "partial_json")
            for text, tokens in streamed(part, draft.output.chunk_tokens):
                delta = {"type": kind, key: text}
                yield _event({"type": "content_block_delta", "index": index, "delta": delta}, tokens)
            yield _event({"type": "content_block_stop", "index": index})
        yield _event({"type": "message_delta", "delta": _ending(draft), "usage": _usage(draft.usage)})
        yield _event({"type": "message_stop"})

    def stream_error(self, rejection: Rejection) -> bytes:
        """An error event."""
        return _event(_error(rejection)).data

    def error(self, rejection: Rejection, seq: int) -> Answered:
        """The error's type is in the body."""
        request_id = f"req_{seq:012d}"
        body = compact_json({**_error(rejection), "request_id": request_id}).encode()
        return Answered(
            status=_STATUS[rejection.kind][0], body=body, headers={"request-id": request_id} | retry_after(rejection)
        )


def _error(rejection: Rejection) -> dict[str, Any]:
    return {"type": "error", "error": {"type": _STATUS[rejection.kind][1], "message": rejection.message}}


def _event(data: Mapping[str, Any], tokens: int = 0) -> Chunk:
    return Chunk(f"event: {data['type']}\ndata: {compact_json(data)}\n\n".encode(), tokens)


def _message(draft: Draft, content: list[Mapping[str, Any]], usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{draft.seq:012d}",
        "type": "message",
        "role": "assistant",
        "model": draft.request.spec.id,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _ending(draft: Draft) -> dict[str, Any]:
    return {"stop_reason": _STOP[draft.output.stop], "stop_sequence": draft.output.stop_sequence}


def _content(part: TextPart | CallPart) -> Mapping[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.args}


def _empty(part: TextPart | CallPart) -> Mapping[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": ""}
    return {"type": "tool_use", "id": part.id, "name": part.name, "input": {}}


def _head(part: TextPart | CallPart) -> int:
    return part.head_tokens if isinstance(part, CallPart) else 0


def _usage(usage: Usage) -> dict[str, Any]:
    details = {"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}
    return {
        "input_tokens": usage.uncached,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "service_tier": "standard",
        **details,
    }
