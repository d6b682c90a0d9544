"""What a failed OpenAI call means for its reservation, and why an answer ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai

from governor_langgraph.answers import causes, failure_by_status, finish_of, from_transport, never_sent
from governor_langgraph.vendors import Failure

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from governor_langgraph.vendors import Finish

__all__ = ["classify", "finish"]

EXHAUSTED = frozenset({"insufficient_quota", "billing_hard_limit_reached", "budget_exceeded"})
"""Codes that come with 429 and do not pass by waiting (OpenAI; the last is LiteLLM's proxy)."""


def classify(error: BaseException) -> Failure:
    """By HTTP status. An error event inside a stream has none: some output was billed."""
    for cause in causes(error):
        if isinstance(cause, openai.APIStatusError):
            return _answered(cause)
        if never_sent(cause):
            return Failure(rejected=True, transient=True, code=type(cause).__name__, resent=True, unanswered=True)
    if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
        return Failure(rejected=False, transient=True, code=str(error.code or error.type or type(error).__name__))
    broken = isinstance(error, (openai.APIConnectionError, ConnectionError, TimeoutError))
    transient = broken or from_transport(error)
    return Failure(rejected=False, transient=transient, code=type(error).__name__, resent=broken)


def _answered(error: openai.APIStatusError) -> Failure:
    code = str(error.code or error.type or f"HTTP {error.status_code}")
    failure = failure_by_status(error.status_code, code)
    if {str(error.code), str(error.type)} & EXHAUSTED:
        return Failure(rejected=failure.rejected, transient=False, code=code, unanswered=True, exhausted=True)
    return failure


def finish(message: BaseMessage) -> Finish:
    """Why the answer ended, from `finish_reason`, or the Responses API's `status` and `incomplete_details`."""
    return finish_of(message)
