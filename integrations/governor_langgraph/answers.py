"""What an answer or a failure says, read from the words that several vendors share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor_langgraph.vendors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_core.messages import BaseMessage

    from governor_langgraph.vendors import Finish

__all__ = [
    "causes",
    "failure_at_gateway",
    "failure_by_status",
    "finish_of",
    "from_transport",
    "never_sent",
    "wait_asked",
]

WORDS: Mapping[str, Finish] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_use",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "refusal": "refusal",
    "content_filter": "refusal",
    "content_filtered": "refusal",
    "guardrail_intervened": "refusal",
    "safety": "refusal",
}
"""Stop reasons of Anthropic, Converse, OpenAI's two APIs and Gemini; their words do not contradict each other."""

PLACES = ("stop_reason", "stopReason", "finish_reason", "status")

UNKNOWN_4XX = frozenset({408, 409, 424, 446, 499})
"""Statuses below 500 after which work may have been done: timeouts, conflicts, a model that failed while it answered, a guardrail of
Portkey's (446, portkey.ai/docs/api-reference/inference-api/error-codes: of the prompt, or of an answer that was paid for)."""

BLOCKED_PROMPT, BLOCKED_ANSWER = 2016, 2017
"""Cloudflare AI Gateway's codes for what its guardrails block (developers.cloudflare.com/ai-gateway/guardrails): only the first means that
no model was asked, whatever the status."""


def finish_of(message: BaseMessage) -> Finish:
    """Why the answer ended: from the response's metadata, else from what the message holds."""
    metadata = cast("Mapping[str, Any]", message.response_metadata)
    if message.additional_kwargs.get("refusal"):
        return "refusal"
    incomplete = metadata.get("incomplete_details")
    word = cast("Mapping[str, Any]", incomplete).get("reason") if isinstance(incomplete, dict) else None
    word = word or next((metadata[place] for place in PLACES if metadata.get(place)), None)
    finish = WORDS.get(str(word).lower(), "other") if word else "other"
    if finish in ("stop", "other") and getattr(message, "tool_calls", None):
        return "tool_use"
    return finish


def failure_by_status(status: int | None, code: str) -> Failure:
    """A failure that the provider answered with an HTTP status.

    Below 500 it refused the request before any token (validation, permissions, throttling), with the exceptions of `UNKNOWN_4XX`; from
    500 on it may have worked and billed. Throttling, timeouts and server errors may pass.
    """
    answered = status is not None and 400 <= status < 500
    transient = status in (408, 409, 424, 429) or (status is not None and status >= 500)
    return Failure(
        rejected=answered and status not in UNKNOWN_4XX,
        transient=transient,
        code=code,
        resent=transient,
        unanswered=True,
    )


def failure_at_gateway(status: int, body: object) -> Failure | None:
    """A failure that Cloudflare AI Gateway itself answered with; None for anybody else's.

    Its body is `{"success": false, "error": [{"code": 2009, "message": "Unauthorized"}], ...}`, of which OpenAI's SDK keeps the list.

    2003 rate limited and 2018 its unified billing's rate (429), 2009 unauthorized or a provider's key rejected (401; users have seen
    it for throttled Workers AI as well, can1357/oh-my-pi#11327), 2021 no credit (402), 2016 and 2017 blocked by a guardrail.
    """
    outer = cast("Mapping[str, Any]", body).get("error") if isinstance(body, dict) else body
    first: object = cast("list[object]", outer)[0] if isinstance(outer, list) and outer else None
    code = cast("Mapping[str, Any]", first).get("code") if isinstance(first, dict) else None
    if not isinstance(code, int):
        return None
    named = f"AiGatewayError {code}"
    if code in (BLOCKED_PROMPT, BLOCKED_ANSWER) and status < 500:  # a server that fails may say anything
        return Failure(rejected=code == BLOCKED_PROMPT, transient=False, code=named, unanswered=True)
    return failure_by_status(status, named)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first: clients wrap the transport's errors."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})
TRANSPORTS = frozenset({"httpx", "httpx2"})
"""The two HTTP libraries that OpenAI's and Anthropic's SDKs are built on, depending on their version; alike in their names."""


def never_sent(error: BaseException) -> bool:
    """Whether the transport failed before the request left: nothing was billed."""
    return _kinds(error) & UNSENT != frozenset()


def from_transport(error: BaseException) -> bool:
    """Whether the transport failed at any moment; the same request may succeed later."""
    return "TransportError" in _kinds(error)


LONGEST_WAIT_S = 60.0
"""A longer wait than this is not waited for, as in OpenAI's and Anthropic's SDKs."""


def wait_asked(error: BaseException, longest_s: float = LONGEST_WAIT_S) -> float | None:
    """Seconds after which the provider wants to be asked again, from `retry-after`; None when it says nothing, or asks too much."""
    for cause in causes(error):
        response: Any = getattr(cause, "response", None)
        headers: Any = getattr(response, "headers", None)
        if isinstance(response, dict):  # boto3's
            headers = cast("Mapping[str, Any]", response).get("ResponseMetadata", {}).get("HTTPHeaders")
        if headers is None:
            continue
        for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
            try:
                wait_s = float(headers.get(name)) / per_second
            except (TypeError, ValueError):  # not there, or a date
                continue
            if 0 <= wait_s <= longest_s:
                return wait_s
    return None


def _kinds(error: BaseException) -> frozenset[str]:
    """Names of the transport's classes that the error is an instance of."""
    return frozenset(base.__name__ for base in type(error).__mro__ if base.__module__.partition(".")[0] in TRANSPORTS)
