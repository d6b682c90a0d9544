"""What a failed Anthropic call means for its reservation, and why an answer ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anthropic

from governor_langgraph.answers import (
    causes,
    failure_at_gateway,
    failure_by_status,
    finish_of,
    from_transport,
    never_sent,
)
from governor_langgraph.vendors import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

    from governor_langgraph.vendors import Finish

__all__ = ["classify", "finish"]

PASSING = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error"})
"""Error types that may pass (Anthropic's documentation of errors)."""


def classify(error: BaseException) -> Failure:
    """By HTTP status. An error event inside a stream comes with the stream's own status, 200: some output was billed."""
    for cause in causes(error):
        if isinstance(cause, anthropic.APIStatusError):
            return _answered(cause)
        if never_sent(cause):
            return Failure(rejected=True, transient=True, code=type(cause).__name__, resent=True, unanswered=True)
    broken = isinstance(error, (anthropic.APIConnectionError, ConnectionError, TimeoutError))
    transient = broken or from_transport(error)
    # A missing key is the SDK's TypeError, raised before anything is sent.
    rejected = isinstance(error, TypeError) and "authentication" in str(error)
    return Failure(rejected=rejected, transient=transient, code=type(error).__name__, resent=broken)


def _answered(error: anthropic.APIStatusError) -> Failure:
    given: object = error.body
    body = cast("Mapping[str, Any]", given if isinstance(given, dict) else {})
    inner = cast("object", body.get("error"))
    kind = str(cast("Mapping[str, Any]", inner).get("type") or "") if isinstance(inner, dict) else ""
    code = kind or f"HTTP {error.status_code}"
    if error.status_code >= 400:
        if (at_gateway := failure_at_gateway(error.status_code, cast("object", error.body))) is not None:
            return at_gateway
        return failure_by_status(error.status_code, code)
    return Failure(rejected=False, transient=kind in PASSING, code=code)


def finish(message: BaseMessage) -> Finish:
    """Why the answer ended, from `stop_reason`."""
    return finish_of(message)
