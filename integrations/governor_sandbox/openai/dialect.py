"""Words answers as OpenAI does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from governor_sandbox.catalogue import Finds
from governor_sandbox.dialect import Answered, Chunk, Draft, Target, retry_after, streamed
from governor_sandbox.errors import Kind, Rejection
from governor_sandbox.meter import Usage
from governor_sandbox.openai.request import parse
from governor_sandbox.output import CallPart, StopReason, TextPart
from governor_sandbox.prompt import Request, compact_json

_STATUS: dict[Kind, tuple[int, str, str | None]] = {
    "invalid": (400, "invalid_request_error", None),
    "unauthenticated": (401, "invalid_request_error", "invalid_api_key"),
    "forbidden": (403, "invalid_request_error", "permission_denied"),
    "not_found": (404, "invalid_request_error", "not_found"),
    "timeout": (408, "server_error", "timeout"),
    "throttled": (429, "requests", "rate_limit_exceeded"),
    "server": (500, "server_error", None),
    "model_error": (500, "server_error", None),
    "unavailable": (503, "server_error", "overloaded"),
}
_STOP: dict[StopReason, str] = {
    "end": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop",
}
_CREATED = 1_700_000_000
"""A fixed time: the sandbox keeps no calendar."""


class OpenAI:
    """The chat completions API."""

    stream_content_type = "text/event-stream; charset=utf-8"
    call_id_prefix = "call_"

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """A bearer key; it is not verified."""
        if not headers.get("authorization", "").removeprefix("Bearer "):
            raise Rejection("unauthenticated", "You didn't provide an API key.")

    def parse(self, target: Target, body: Mapping[str, Any], catalogue: Finds) -> Request:
        """See `governor_sandbox.openai.request.parse`."""
        return parse(target, body, catalogue)

    def counted(self, tokens: int) -> Mapping[str, Any]:
        """OpenAI's chat API has no token count; kept for symmetry."""
        return {"input_tokens": tokens}

    def whole(self, draft: Draft) -> Mapping[str, Any]:
        """A chat completion."""
        calls = [_call(call, call.json) for call in draft.output.calls]
        message = {"role": "assistant", "content": draft.output.text or (None if calls else ""), "refusal": None}
        message |= {"tool_calls": calls} if calls else {}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _STOP[draft.output.stop]}
        return {**_head(draft, "chat.completion"), "choices": [choice], "usage": _usage(draft.usage)}

    def stream(self, draft: Draft) -> Iterator[Chunk]:
        """Server-sent chunks, usage last when asked for, then ``[DONE]``."""
        opening = {"role": "assistant", "content": "", "refusal": None}
        yield _delta(draft, opening, draft.output.reasoning)
        number = -1
        for part in draft.output.parts:
            if isinstance(part, CallPart):
                number += 1
                yield _delta(draft, {"tool_calls": [{"index": number, **_call(part, "")}]}, part.head_tokens)
            for text, tokens in streamed(part, draft.output.chunk_tokens):
                if isinstance(part, TextPart):
                    yield _delta(draft, {"content": text}, tokens)
                else:
                    yield _delta(draft, {"tool_calls": [{"index": number, "function": {"arguments": text}}]}, tokens)
        yield _delta(draft, {}, finish=_STOP[draft.output.stop])
        usage: dict[str, Any] = {**_head(draft, "chat.completion.chunk"), "choices": [], "usage": _usage(draft.usage)}
        ending = _sse(usage) if draft.request.include_usage else b""
        yield Chunk(ending + b"data: [DONE]\n\n")

    def stream_error(self, rejection: Rejection) -> bytes:
        """An error object instead of a chunk."""
        return _sse(_error(rejection))

    def error(self, rejection: Rejection, seq: int) -> Answered:
        """The error's type and code are in the body."""
        body = compact_json(_error(rejection)).encode()
        return Answered(
            status=_STATUS[rejection.kind][0],
            body=body,
            headers={"x-request-id": f"req_{seq:012d}"} | retry_after(rejection),
        )


def _error(rejection: Rejection) -> dict[str, Any]:
    _, kind, code = _STATUS[rejection.kind]
    error = {"message": rejection.message, "type": kind, "param": rejection.param, "code": rejection.code or code}
    return {"error": error}


def _sse(data: Mapping[str, Any]) -> bytes:
    return f"data: {compact_json(data)}\n\n".encode()


def _delta(draft: Draft, delta: Mapping[str, Any], tokens: int = 0, *, finish: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    usage = {"usage": None} if draft.request.include_usage else {}
    return Chunk(_sse({**_head(draft, "chat.completion.chunk"), "choices": [choice], **usage}), tokens)


def _head(draft: Draft, kind: str) -> dict[str, Any]:
    tier = draft.request.service_tier
    return {
        "id": f"chatcmpl-{draft.seq:012d}",
        "object": kind,
        "created": _CREATED,
        "model": draft.request.model,
        "service_tier": "default" if tier in (None, "auto") else tier,
        "system_fingerprint": "fp_sandbox",
    }


def _call(part: CallPart, arguments: str) -> dict[str, Any]:
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": arguments}}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }
