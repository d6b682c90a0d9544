"""What a failed Converse call means for its reservation, and why an answer ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EventStreamError,
    HTTPClientError,
)
from botocore.exceptions import ConnectionError as NeverConnected

from governor_langgraph.answers import causes, failure_by_status, finish_of
from governor_langgraph.vendors import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

    from governor_langgraph.vendors import Finish

__all__ = ["classify", "finish"]

STATUS = {
    "accessdeniedexception": 403,
    "resourcenotfoundexception": 404,
    "validationexception": 400,
    "modeltimeoutexception": 408,
    "modelerrorexception": 424,
    "throttlingexception": 429,
    "modelnotreadyexception": 429,
    "internalserverexception": 500,
    "serviceunavailableexception": 503,
}
"""Converse's exceptions (botocore's service model of bedrock-runtime), for errors that come without their status."""


def classify(error: BaseException) -> Failure:
    """By HTTP status. An error event inside a stream comes after content: some output was billed, and no usage follows."""
    for cause in causes(error):
        if isinstance(cause, ClientError):
            return _answered(cause)
    code = type(error).__name__
    if isinstance(error, NeverConnected):
        return Failure(rejected=True, transient=True, code=code, resent=True, unanswered=True)
    if isinstance(error, HTTPClientError):  # within a stream it is urllib3's own error
        return Failure(rejected=False, transient=True, code=code, resent=True, unanswered=True)
    # All else of botocore's own (no credentials, invalid parameters) is raised before anything is sent.
    rejected = isinstance(error, BotoCoreError)
    return Failure(rejected=rejected, transient=isinstance(error, (ConnectionError, TimeoutError)), code=code)


def _answered(error: ClientError) -> Failure:
    response = cast("Mapping[str, Any]", error.response)
    code = str(response.get("Error", {}).get("Code") or type(error).__name__)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    known = STATUS.get(code.lower())
    failure = failure_by_status(status if isinstance(status, int) and status >= 400 else known, code)
    if isinstance(error, EventStreamError):
        return Failure(rejected=False, transient=failure.transient, code=code)
    return failure


def finish(message: BaseMessage) -> Finish:
    """Why the answer ended, from `stopReason`."""
    return finish_of(message)
