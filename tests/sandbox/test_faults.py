"""Failures on demand: each in its provider's shape, at the moment asked for, billed as a provider would."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic as anthropic_sdk
import httpx
import openai as openai_sdk
import pytest
from botocore.exceptions import ClientError, EventStreamError, ReadTimeoutError
from botocore.exceptions import ConnectionClosedError as BotoClosed

from governor_sandbox import Catalogue, Fault, Sandbox
from governor_sandbox.faults import FaultLine
from governor_sandbox.prompt import Conversation, Message
from tests.sandbox.clients import SONNET, Build, anthropic, bedrock, openai, post
from tests.sandbox.conftest import Serve

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
CUT_OFF = (httpx.RemoteProtocolError, openai_sdk.APIConnectionError, anthropic_sdk.APIConnectionError, BotoClosed)


def talk(text: str = "hi", model: str = "m") -> Conversation:
    return Conversation(provider="openai", model=model, messages=(Message(role="user", text=text),))


def test_throttling_has_each_providers_shape(box: Sandbox) -> None:
    box.fault(Fault(kind="throttle"))

    with pytest.raises(ClientError) as bedrock_error:
        bedrock(box).invoke("hi")
    with pytest.raises(openai_sdk.RateLimitError) as openai_error:
        openai(box).invoke("hi")
    with pytest.raises(anthropic_sdk.RateLimitError) as anthropic_error:
        anthropic(box).invoke("hi")

    assert "ThrottlingException" == bedrock_error.value.response["Error"]["Code"]
    assert "rate_limit_exceeded" == openai_error.value.code
    assert "rate_limit_error" == anthropic_error.value.type
    assert [(429, "faulted", 0)] * 3 == [(r.status, r.outcome, r.nano_usd) for r in box.meter.records]


def test_overload_has_each_providers_shape(box: Sandbox) -> None:
    box.fault(Fault(kind="unavailable"))

    with pytest.raises(ClientError) as bedrock_error:
        bedrock(box).invoke("hi")
    with pytest.raises(openai_sdk.InternalServerError) as openai_error:
        openai(box).invoke("hi")
    with pytest.raises(anthropic_sdk.APIStatusError) as anthropic_error:
        anthropic(box).invoke("hi")

    assert "ServiceUnavailableException" == bedrock_error.value.response["Error"]["Code"]
    assert 503 == openai_error.value.status_code
    assert 529 == anthropic_error.value.status_code


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [("server_error", "InternalServerException", 500), ("model_error", "ModelErrorException", 424)],
)
def test_bedrock_names_its_own_failures(box: Sandbox, kind: Any, code: str, status: int) -> None:
    box.fault(Fault(kind=kind))

    with pytest.raises(ClientError) as error:
        bedrock(box).invoke("hi")

    assert code == error.value.response["Error"]["Code"]
    assert status == error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_throttled_request_may_be_told_when_to_come_back(box: Sandbox) -> None:
    box.fault(Fault(kind="throttle", retry_after_s=1.2))

    _, headers, _ = post(
        box, "/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    )

    assert "2" == headers["retry-after"]


def test_a_client_that_retries_gets_through_the_second_time(box: Sandbox) -> None:
    box.fault(Fault(kind="throttle", times=1, retry_after_s=0))
    raw = openai_sdk.OpenAI(max_retries=1, **box.openai_kwargs())

    answer = raw.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    raw.close()

    assert "ok" == answer.choices[0].message.content
    assert ["faulted", "ok"] == [record.outcome for record in box.meter.records]


def test_an_answer_held_beyond_the_clients_patience_times_out_and_is_billed(box: Sandbox) -> None:
    """The provider does not know that nobody waits any more."""
    box.fault(Fault(kind="timeout"))

    with pytest.raises(ReadTimeoutError):
        bedrock(box, read_timeout=0.2).invoke("hi")
    assert box.meter.wait_idle()

    assert ["aborted"] == [record.outcome for record in box.meter.records]
    assert box.meter.bill().usage.output == 1


def test_each_client_reports_a_timeout(box: Sandbox) -> None:
    box.fault(Fault(kind="timeout"))

    with pytest.raises(openai_sdk.APITimeoutError):
        openai(box, timeout=0.2).invoke("hi")
    with pytest.raises(anthropic_sdk.APITimeoutError):
        anthropic(box, timeout=0.2).invoke("hi")


def test_a_held_answer_arrives_when_it_is_released(box: Sandbox, build: Build) -> None:
    box.fault(Fault(kind="timeout", times=1))

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(build(box).invoke, "hi")
        assert box.wait_held(1)
        assert not answer.done()
        box.release()

        assert "ok" == answer.result(timeout=20).text
    assert ["ok"] == [record.outcome for record in box.meter.records]


def test_a_dropped_connection_instead_of_an_answer_is_billed(box: Sandbox, build: Build) -> None:
    box.fault(Fault(kind="disconnect"))

    with pytest.raises(CUT_OFF):
        build(box).invoke("hi")

    assert ["faulted"] == [record.outcome for record in box.meter.records]
    assert box.meter.bill().nano_usd > 0


def test_a_stream_that_breaks_is_billed_for_what_was_sent(serve: Serve, build: Build) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="disconnect", after_chunks=3))
    seen: list[str] = []

    with pytest.raises(Exception):  # noqa: B017, PT011 - each client has its own error; what counts is the bill
        seen.extend(chunk.text for chunk in build(box).stream("count"))

    record = box.meter.records[0]
    assert ("faulted", "disconnect") == (record.outcome, record.error)
    assert LONG.startswith("".join(seen))
    assert "".join(seen) != LONG
    assert 0 < record.usage.output <= 24
    assert record.usage.input > 0


def test_bedrock_raises_an_event_stream_error_in_mid_stream(serve: Serve) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="stream_error", after_chunks=2, message="boom"))
    seen: list[str] = []

    with pytest.raises(EventStreamError, match="boom") as error:
        seen.extend(chunk.text for chunk in bedrock(box).stream("count"))

    assert "modelStreamErrorException" == error.value.response["Error"]["Code"]
    assert "one two three four five six" == "".join(seen)[:27]
    assert 8 == box.meter.records[0].usage.output


def test_openai_and_anthropic_raise_their_error_in_mid_stream(serve: Serve) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="stream_error", after_chunks=3, message="boom"))

    with pytest.raises(openai_sdk.APIError, match="boom"):
        list(openai(box).stream("count"))
    with pytest.raises(anthropic_sdk.APIStatusError, match="boom"):
        list(anthropic(box).stream("count"))

    assert ["stream_error", "stream_error"] == [record.error for record in box.meter.records]


def test_a_stream_error_leaves_whole_answers_alone(box: Sandbox) -> None:
    box.fault(Fault(kind="stream_error"))

    assert "ok" == bedrock(box).invoke("hi").text


def test_a_slow_stream_arrives_whole(serve: Serve, build: Build) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="slow", delay_ms=1))

    assert LONG == "".join(chunk.text for chunk in build(box).stream("count"))


def test_a_stream_held_in_the_middle_goes_on_when_released(serve: Serve, build: Build) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="timeout", after_chunks=4))

    with ThreadPoolExecutor(1) as pool:
        text = pool.submit(lambda: "".join(chunk.text for chunk in build(box).stream("count")))
        assert box.wait_held(1)
        box.release()

        assert LONG == text.result(timeout=20)


def test_a_client_that_leaves_in_mid_stream_is_billed_for_what_was_generated(serve: Serve) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="timeout", after_chunks=3))
    raw = openai_sdk.OpenAI(max_retries=0, **box.openai_kwargs())
    stream = raw.chat.completions.create(model="gpt-4o", stream=True, messages=[{"role": "user", "content": "count"}])

    next(stream)
    assert box.wait_held(1)
    stream.close()
    raw.close()
    assert box.meter.wait_idle()

    record = box.meter.records[0]
    assert ("aborted", 200, 16) == (record.outcome, record.status, record.usage.output)
    assert record.usage.cost(Catalogue.standard().models["gpt-4o"].price) == record.nano_usd


def test_a_bedrock_client_that_leaves_in_mid_stream_is_billed_for_what_was_generated(serve: Serve) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="timeout", after_chunks=2))
    client = bedrock(box).client
    body = [{"role": "user", "content": [{"text": "count"}]}]
    stream = client.converse_stream(modelId=SONNET, messages=body)["stream"]

    next(iter(stream))
    assert box.wait_held(1)
    stream.close()
    assert box.meter.wait_idle()

    assert [("aborted", 8)] == [(record.outcome, record.usage.output) for record in box.meter.records]


async def test_a_cancelled_async_stream_is_billed_for_what_was_generated(serve: Serve) -> None:
    box = serve(lambda _: LONG)
    box.fault(Fault(kind="timeout", after_chunks=3))
    raw = openai_sdk.AsyncOpenAI(max_retries=0, **box.openai_kwargs())
    stream = await raw.chat.completions.create(
        model="gpt-4o", stream=True, messages=[{"role": "user", "content": "count"}]
    )

    await anext(aiter(stream))
    assert box.wait_held(1)
    await stream.close()
    await raw.close()
    assert box.meter.wait_idle()

    assert [("aborted", 16)] == [(record.outcome, record.usage.output) for record in box.meter.records]


# --- which requests are struck -----------------------------------------------------------------------------------------


def struck(line: FaultLine, n: int = 10) -> list[int]:
    return [i for i in range(1, n + 1) if line.draw(talk(), stream=True)]


def test_the_nth_request_is_struck() -> None:
    assert [1, 3] == struck(FaultLine([Fault(kind="throttle", nth=(1, 3))], 0))


def test_every_nth_request_is_struck() -> None:
    assert [4, 8] == struck(FaultLine([Fault(kind="throttle", every=4)], 0))


def test_a_fault_strikes_at_most_so_often() -> None:
    assert [1, 2] == struck(FaultLine([Fault(kind="throttle", times=2)], 0))


def test_chance_is_the_same_in_every_run_of_a_seed() -> None:
    fault = Fault(kind="throttle", probability=0.3)

    first, again, other = (struck(FaultLine([fault], seed), 200) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert 30 < len(first) < 90


def test_only_matching_requests_are_counted() -> None:
    line = FaultLine([Fault.model_validate({"kind": "throttle", "nth": 2, "when": {"model": "*mini"}})], 0)

    hits = [line.draw(talk(model=model), stream=False) is not None for model in ("a-mini", "big", "b-mini")]

    assert [False, False, True] == hits


def test_the_first_fault_wins_and_the_others_still_count() -> None:
    line = FaultLine([Fault(kind="throttle", nth=(1,)), Fault(kind="server_error", nth=(1, 2))], 0)

    kinds = [fault.kind for _ in range(3) if (fault := line.draw(talk(), stream=False))]

    assert ["throttle", "server_error"] == kinds


def test_reset_counts_from_one_again() -> None:
    line = FaultLine([Fault(kind="throttle", nth=(1,))], 0)
    struck(line)
    line.reset()

    assert [1] == struck(line)
