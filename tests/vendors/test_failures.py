"""A refund is given on evidence: each failure of the real clients is known as refused, or charged."""

import socket
from typing import Any, ClassVar

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError
from langchain_core.exceptions import ContextOverflowError, ModelRateLimitError
from langchain_core.messages import AIMessage, HumanMessage

import governor_bedrock
import governor_openai
from governor_langgraph import generic
from governor_langgraph.vendors import Failure, vendor_of
from governor_sandbox import Fault, Reply, Sandbox, Scenario
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, FAMILIES, OPENAI

ONCE = Config(retries={"total_max_attempts": 1})


def failing(family: str, fault: Fault | None = None, *, stream: bool = False, **settings: Any) -> Failure:
    """How the vendor reads what its client raises when that happens."""
    with Sandbox(Scenario.from_callable(lambda _: Reply(text="word " * 40, chunk_tokens=1))) as box:
        if fault is not None:
            box.fault(fault)
        if family == BEDROCK:
            settings["config"] = ONCE
        model = CLIENTS[family](box, **settings)
        with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is what this is about
            for _ in model.stream("Go.") if stream else [model.invoke("Go.")]:
                pass
    return vendor_of(model).classify(raised.value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("kind", "rejected", "transient"),
    [("throttle", True, True), ("server_error", False, True), ("unavailable", False, True)],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_throttling_is_free_and_a_server_error_may_have_been_billed(
    family: str, kind: Any, rejected: bool, transient: bool, stream: bool
) -> None:
    failure = failing(family, Fault(kind=kind), stream=stream)

    assert (rejected, transient) == (failure.rejected, failure.transient)


@pytest.mark.parametrize(
    ("family", "code"),
    [(BEDROCK, "ThrottlingException"), (ANTHROPIC, "rate_limit_error"), (OPENAI, "rate_limit_exceeded")],
)
def test_the_code_is_the_vendors_own(family: str, code: str) -> None:
    assert code == failing(family, Fault(kind="throttle")).code


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        (BEDROCK, {"model": "us.anthropic.claude-none-v1:0"}),
        (ANTHROPIC, {"model": "claude-none"}),
        (OPENAI, {"model": "gpt-none"}),
        (BEDROCK, {"max_tokens": 10**7}),
        (ANTHROPIC, {"max_tokens": 10**6}),
    ],
)
def test_a_request_that_the_provider_finds_invalid_is_free_and_stays_invalid(
    family: str, settings: dict[str, Any]
) -> None:
    failure = failing(family, **settings)

    assert (True, False) == (failure.rejected, failure.transient)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["stream_error", "disconnect"])
def test_a_stream_that_breaks_after_content_may_have_been_billed(family: str, kind: Any) -> None:
    failure = failing(family, Fault(kind=kind, after_chunks=5), stream=True)

    assert not failure.rejected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_lost_before_the_answer_may_have_been_billed(family: str) -> None:
    assert (False, True) == ((f := failing(family, Fault(kind="disconnect"))).rejected, f.transient)


def nobody() -> str:
    """The address of a port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_that_was_never_made_is_free(family: str) -> None:
    model = CLIENTS[family](_Elsewhere(nobody()), **({"config": ONCE} if family == BEDROCK else {}))

    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is what this is about
        model.invoke("Go.")

    failure = vendor_of(model).classify(raised.value)
    assert (True, True) == (failure.rejected, failure.transient)


class _Elsewhere:
    """A sandbox that is not there: only the arguments for clients are read."""

    def __init__(self, address: str) -> None:
        self.address = address

    def bedrock_kwargs(self) -> dict[str, Any]:
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
        return {"endpoint_url": self.address, "region_name": "us-east-1", **keys}

    def anthropic_kwargs(self) -> dict[str, Any]:
        return {"base_url": self.address, "api_key": "x"}

    def openai_kwargs(self) -> dict[str, Any]:
        return {"base_url": self.address, "api_key": "x"}


@pytest.mark.parametrize(
    ("code", "status", "rejected", "transient"),
    [
        ("AccessDeniedException", 403, True, False),
        ("ResourceNotFoundException", 404, True, False),
        ("ValidationException", 400, True, False),
        ("ModelTimeoutException", 408, False, True),
        ("ModelErrorException", 424, False, True),
        ("ThrottlingException", 429, True, True),
        ("ModelNotReadyException", 429, True, True),
        ("InternalServerException", 500, False, True),
        ("ServiceUnavailableException", 503, False, True),
    ],
)
@pytest.mark.parametrize("with_status", [True, False])
def test_every_error_of_converse_has_its_meaning(
    code: str, status: int, rejected: bool, transient: bool, with_status: bool
) -> None:
    response: Any = {"Error": {"Code": code}} | (
        {"ResponseMetadata": {"HTTPStatusCode": status}} if with_status else {}
    )

    failure = governor_bedrock.classify(ClientError(response, "Converse"))

    assert Failure(rejected=rejected, transient=transient, code=code, resent=transient, unanswered=True) == failure


def test_what_botocore_refuses_by_itself_was_never_sent_and_a_timeout_was() -> None:
    classify = governor_bedrock.classify

    assert classify(NoCredentialsError()).rejected
    assert not classify(ReadTimeoutError(endpoint_url="x")).rejected
    assert not classify(ConnectionError("Incomplete Bedrock response stream")).rejected


def test_an_error_that_wraps_the_vendors_is_read_by_it() -> None:
    cause = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Converse")
    wrapped = ValueError("System tools require a permission")
    wrapped.__cause__ = cause

    assert governor_bedrock.classify(wrapped).rejected


def test_an_exhausted_account_does_not_pass_by_waiting() -> None:
    import openai

    class Response:
        status_code = 429
        headers: ClassVar[dict[str, str]] = {}
        request = None

    error = openai.RateLimitError("No money.", response=Response(), body={"code": "insufficient_quota"})  # pyright: ignore[reportArgumentType] - as much of a response as is read

    failure = governor_openai.classify(error)
    assert (True, False, False, "insufficient_quota") == (
        failure.rejected,
        failure.transient,
        failure.resent,
        failure.code,
    )


class Answered(Exception):
    def __init__(self, status: int) -> None:
        self.status_code = status


@pytest.mark.parametrize(
    ("error", "rejected", "transient"),
    [
        (ModelRateLimitError("slow down"), True, True),
        (ContextOverflowError("too long"), True, False),
        (Answered(400), True, False),
        (Answered(503), False, True),
        (TimeoutError(), False, True),
        (ValueError("who knows"), False, False),
        (KeyboardInterrupt(), False, False),
    ],
    ids=repr,
)
def test_an_unknown_vendors_failure_is_read_by_class_or_status_and_charged_in_doubt(
    error: BaseException, rejected: bool, transient: bool
) -> None:
    failure = generic.classify(error)

    assert (rejected, transient) == (failure.rejected, failure.transient)


@pytest.mark.parametrize(
    ("metadata", "extra", "finish"),
    [
        ({"stop_reason": "end_turn"}, {}, "stop"),
        ({"stop_reason": "stop_sequence"}, {}, "stop"),
        ({"stop_reason": "max_tokens"}, {}, "length"),
        ({"stop_reason": "tool_use"}, {}, "tool_use"),
        ({"stop_reason": "refusal"}, {}, "refusal"),
        ({"stop_reason": "pause_turn"}, {}, "other"),
        ({"stopReason": "end_turn"}, {}, "stop"),
        ({"stopReason": "guardrail_intervened"}, {}, "refusal"),
        ({"stopReason": "model_context_window_exceeded"}, {}, "length"),
        ({"stopReason": "malformed_tool_use"}, {}, "other"),
        ({"finish_reason": "stop"}, {}, "stop"),
        ({"finish_reason": "length"}, {}, "length"),
        ({"finish_reason": "tool_calls"}, {}, "tool_use"),
        ({"finish_reason": "content_filter"}, {}, "refusal"),
        ({"finish_reason": "stop"}, {"refusal": "I will not."}, "refusal"),
        ({"status": "completed"}, {}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, {}, "length"),
        ({"status": "completed", "incomplete_details": None}, {}, "stop"),
        ({}, {}, "other"),
    ],
    ids=str,
)
def test_why_an_answer_ended_is_one_vocabulary(metadata: dict[str, Any], extra: dict[str, Any], finish: str) -> None:
    assert finish == generic.finish(AIMessage("ok", response_metadata=metadata, additional_kwargs=extra))


def test_an_answer_with_tool_calls_ended_for_them_whatever_it_says() -> None:
    call: Any = {"name": "t", "args": {}, "id": "1", "type": "tool_call"}

    for metadata in ({"status": "completed"}, {"finish_reason": "stop"}, {}):
        assert "tool_use" == generic.finish(AIMessage("", tool_calls=[call], response_metadata=metadata))
    assert "other" == generic.finish(HumanMessage("hi"))
