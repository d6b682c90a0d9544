"""What an answer or a failure says, read from the words that several vendors share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor_langgraph.vendors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_core.messages import BaseMessage

    from governor_langgraph.vendors import Finish

__all__ = ["causes", "failure_by_status", "finish_of", "from_transport", "never_sent", "wait_asked"]

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

UNKNOWN_4XX = frozenset({408, 409, 424, 499})
"""Statuses below 500 after which work may have been done: timeouts, conflicts, a model that failed while it answered."""


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
        if headers is None and isinstance(response, dict):  # botocore's, whose names are in lower case
            headers = cast("Any", response).get("ResponseMetadata", {}).get("HTTPHeaders")
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
