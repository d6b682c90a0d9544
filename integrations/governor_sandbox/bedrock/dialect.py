"""Words answers as Bedrock does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from governor_sandbox import eventstream
from governor_sandbox.bedrock.request import parse
from governor_sandbox.catalogue import Finds
from governor_sandbox.dialect import Answered, Chunk, Draft, Target, retry_after, streamed
from governor_sandbox.errors import Kind, Rejection
from governor_sandbox.output import CallPart, StopReason, TextPart
from governor_sandbox.prompt import Request, compact_json

_STATUS: dict[Kind, tuple[int, str]] = {
    "invalid": (400, "ValidationException"),
    "unauthenticated": (403, "UnrecognizedClientException"),
    "forbidden": (403, "AccessDeniedException"),
    "not_found": (404, "ResourceNotFoundException"),
    "timeout": (408, "ModelTimeoutException"),
    "model_error": (424, "ModelErrorException"),
    "throttled": (429, "ThrottlingException"),
    "server": (500, "InternalServerException"),
    "unavailable": (503, "ServiceUnavailableException"),
}
_STREAM_EXCEPTION: dict[Kind, str] = {
    "throttled": "throttlingException",
    "server": "internalServerException",
    "unavailable": "serviceUnavailableException",
    "invalid": "validationException",
}
_STOP: dict[StopReason, str] = {
    "end": "end_turn",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
}


class Bedrock:
    """The Converse API."""

    stream_content_type = eventstream.CONTENT_TYPE
    call_id_prefix = "tooluse_"

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """A SigV4 signature or a bearer key; neither is verified."""
        if not headers.get("authorization"):
            raise Rejection("unauthenticated", "The security token included in the request is invalid.")

    def parse(self, target: Target, body: Mapping[str, Any], catalogue: Finds) -> Request:
        """See `governor_sandbox.bedrock.request.parse`."""
        return parse(target, body, catalogue)

    def counted(self, tokens: int) -> Mapping[str, Any]:
        """CountTokens."""
        return {"inputTokens": tokens}

    def whole(self, draft: Draft) -> Mapping[str, Any]:
        """Converse."""
        content = [_content(part) for part in draft.output.parts]
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": _STOP[draft.output.stop],
            **_closing(draft),
        }

    def stream(self, draft: Draft) -> Iterator[Chunk]:
        """ConverseStream: messageStart, blocks, messageStop, metadata."""
        reasoning = draft.output.reasoning
        yield Chunk(eventstream.event("messageStart", {"role": "assistant"}), reasoning)
        for index, part in enumerate(draft.output.parts):
            if isinstance(part, CallPart):
                start = {"toolUse": {"toolUseId": part.id, "name": part.name}}
                payload = {"start": start, "contentBlockIndex": index}
                yield Chunk(eventstream.event("contentBlockStart", payload), part.head_tokens)
            for text, tokens in streamed(part, draft.output.chunk_tokens):
                delta = {"text": text} if isinstance(part, TextPart) else {"toolUse": {"input": text}}
                payload = {"delta": delta, "contentBlockIndex": index}
                yield Chunk(eventstream.event("contentBlockDelta", payload), tokens)
            yield Chunk(eventstream.event("contentBlockStop", {"contentBlockIndex": index}))
        yield Chunk(eventstream.event("messageStop", {"stopReason": _STOP[draft.output.stop]}))
        yield Chunk(eventstream.event("metadata", _closing(draft)))

    def stream_error(self, rejection: Rejection) -> bytes:
        """An exception frame."""
        name = _STREAM_EXCEPTION.get(rejection.kind, "modelStreamErrorException")
        return eventstream.exception(name, rejection.message)

    def error(self, rejection: Rejection, seq: int) -> Answered:
        """The error code travels in a header."""
        status, code = _STATUS[rejection.kind]
        headers = {"x-amzn-ErrorType": code, "x-amzn-RequestId": f"00000000-0000-4000-8000-{seq:012d}"}
        return Answered(
            status=status,
            body=compact_json({"message": rejection.message}).encode(),
            headers=headers | retry_after(rejection),
        )


def _content(part: TextPart | CallPart) -> Mapping[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": part.args}}


def _closing(draft: Draft) -> dict[str, Any]:
    usage = draft.usage
    counts: dict[str, Any] = {
        "inputTokens": usage.uncached,
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
    }
    if draft.request.spec.cache in ("claude", "nova"):
        details = [{"ttl": "1h", "inputTokens": usage.cache_write_1h}] if usage.cache_write_1h else []
        details += [{"ttl": "5m", "inputTokens": usage.cache_write_5m}] if usage.cache_write_5m else []
        counts |= {"cacheReadInputTokens": usage.cache_read, "cacheWriteInputTokens": usage.cache_write}
        counts |= {"cacheDetails": details} if details else {}
    tier = {"serviceTier": {"type": draft.request.service_tier}} if draft.request.service_tier else {}
    invoked = draft.request.invoked
    trace = {"trace": {"promptRouter": {"invokedModelId": invoked}}} if invoked else {}
    return {"usage": counts, "metrics": {"latencyMs": 1}, **tier, **trace}
