"""Cached tokens as each client reports them, with the markers each client sends."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from governor_sandbox import Fault, Sandbox
from tests.sandbox.clients import NOVA_MICRO, NOVA_PRO, SONNET, anthropic, bedrock, openai

LONG = " The policy of the shop is kind." * 300  # 2,400 tokens
POINT: dict[str, Any] = {"cachePoint": {"type": "default"}}
HOUR: dict[str, Any] = {"cachePoint": {"type": "default", "ttl": "1h"}}


def with_points(*blocks: Any) -> list[Any]:
    return [block if isinstance(block, dict) else {"text": block} for block in blocks]


def system(*blocks: Any) -> SystemMessage:
    return SystemMessage(content=[{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks])


def details(answer: AIMessage) -> dict[str, int]:
    usage: Any = answer.usage_metadata
    return {key: value for key, value in usage["input_token_details"].items() if value}


def test_bedrock_reports_writes_per_ttl_and_then_reads(box: Sandbox) -> None:
    model = bedrock(box)
    talk: list[BaseMessage] = [system(LONG, HOUR), HumanMessage(content=[{"type": "text", "text": LONG}, POINT])]

    first, second = model.invoke(talk), model.invoke(talk)

    system_tokens = box.meter.records[0].usage.cache_write_1h
    chat_tokens = box.meter.records[0].usage.cache_write_5m
    assert {"ephemeral_1h_input_tokens": system_tokens, "ephemeral_5m_input_tokens": chat_tokens} == details(first)
    assert {"cache_read": system_tokens + chat_tokens} == details(second)
    assert (2400, 2404) == (system_tokens, chat_tokens)


def test_bedrock_input_tokens_on_the_wire_are_the_uncached_remainder(box: Sandbox) -> None:
    client = bedrock(box).client
    request: dict[str, Any] = {
        "modelId": SONNET,
        "system": [{"text": LONG}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
    }
    client.converse(**request)

    usage = client.converse(**request)["usage"]

    assert {
        "inputTokens": 5,
        "outputTokens": 1,
        "totalTokens": 2406,
        "cacheReadInputTokens": 2400,
        "cacheWriteInputTokens": 0,
    } == usage


def test_a_cached_read_costs_a_tenth_and_a_write_a_quarter_more(box: Sandbox) -> None:
    model = bedrock(box)
    for _ in range(2):
        model.invoke([system(LONG, POINT), HumanMessage("hi")])

    written, read = box.meter.records
    rest = 5 * 3000 + 1 * 15_000
    assert (2400 * 3750 + rest, 2400 * 300 + rest) == (written.nano_usd, read.nano_usd)


def test_an_entry_expires_on_the_sandboxs_clock(box: Sandbox) -> None:
    model = bedrock(box)
    talk = [system(LONG, POINT), HumanMessage("hi")]
    model.invoke(talk)

    box.advance(299)
    assert {"cache_read": 2400} == details(model.invoke(talk))
    box.advance(300)
    assert {"ephemeral_5m_input_tokens": 2400} == details(model.invoke(talk))


def test_the_apis_own_cache_control_argument_caches_a_growing_conversation(box: Sandbox) -> None:
    model = bedrock(box)
    talk: list[BaseMessage] = [SystemMessage(LONG), HumanMessage("hi")]
    control = {"type": "ephemeral", "ttl": "5m"}

    for _ in range(3):
        answer = model.invoke(talk, cache_control=control)
        talk += [answer, HumanMessage("go on")]

    reads = [record.usage.cache_read for record in box.meter.records]
    assert 0 == reads[0]
    assert 2400 < reads[1] < reads[2]


def test_a_long_turn_is_beyond_the_look_back(box: Sandbox) -> None:
    model = bedrock(box)
    talk: list[BaseMessage] = [HumanMessage(content=[{"type": "text", "text": LONG}, POINT])]
    model.invoke(talk)

    def after(blocks: int) -> dict[str, int]:
        more = [{"type": "text", "text": f"part {i}"} for i in range(blocks - 2)]
        return details(
            model.invoke([*talk[:-1], HumanMessage(LONG), AIMessage("ok"), HumanMessage(content=[*more, POINT])])
        )

    assert 2404 == after(19)["cache_read"]
    box.reset()
    model.invoke(talk)
    assert "cache_read" not in after(21)


def test_nova_reads_what_was_marked_at_the_same_place(box: Sandbox) -> None:
    model = bedrock(box, NOVA_PRO)
    talk = [system(LONG, POINT), HumanMessage("hi")]

    model.invoke(talk)
    again = model.invoke(talk)

    assert {"cache_read": 2400} == details(again)
    assert {} == details(bedrock(box, NOVA_MICRO).invoke([system(LONG[:3000], POINT), HumanMessage("hi")]))


def test_anthropic_reports_writes_per_ttl_and_then_reads(box: Sandbox) -> None:
    model = anthropic(box)
    marked = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    talk = [SystemMessage(content=[marked]), HumanMessage("hi")]

    first, second = model.invoke(talk), model.invoke(talk)

    assert {"ephemeral_1h_input_tokens": 2400} == details(first)
    assert {"cache_read": 2400} == details(second)


def test_anthropics_automatic_marker_caches_the_whole_prompt(box: Sandbox) -> None:
    model = anthropic(box)
    talk: list[BaseMessage] = [SystemMessage(LONG), HumanMessage("hi")]

    first = model.invoke(talk, cache_control={"type": "ephemeral"})
    second = model.invoke([*talk, first, HumanMessage("go on")], cache_control={"type": "ephemeral"})

    assert {"ephemeral_5m_input_tokens": 2405} == details(first)
    assert 2405 == details(second)["cache_read"]


def test_a_streamed_anthropic_answer_reports_the_same_usage(box: Sandbox) -> None:
    marked = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    talk = [SystemMessage(content=[marked]), HumanMessage("hi")]
    model = anthropic(box)
    model.invoke(talk)

    whole = None
    for chunk in model.stream(talk):
        whole = chunk if whole is None else whole + chunk

    assert whole is not None
    assert {"cache_read": 2400} == details(whole)


def test_openai_caches_by_itself_in_steps_of_128(box: Sandbox) -> None:
    model = openai(box)
    talk = [SystemMessage(LONG), HumanMessage("hi")]

    first, second = model.invoke(talk), model.invoke(talk)

    assert {} == details(first)
    assert {"cache_read": 2304} == details(second)
    assert 0 == 2304 % 128


def test_openai_prompt_tokens_include_the_cached_ones(box: Sandbox) -> None:
    model = openai(box)
    talk = [SystemMessage(LONG), HumanMessage("hi")]
    model.invoke(talk)

    usage: Any = model.invoke(talk).usage_metadata

    record = box.meter.records[1]
    assert usage["input_tokens"] == record.usage.input == 2304 + record.usage.uncached


def test_a_switch_of_model_loses_the_cache(box: Sandbox) -> None:
    talk = [SystemMessage(LONG), HumanMessage("hi")]
    openai(box).invoke(talk)

    assert {} == details(openai(box, "gpt-4o-mini").invoke(talk))


def test_a_rejected_request_does_not_fill_the_cache(box: Sandbox) -> None:
    box.fault(Fault(kind="throttle", times=1))
    client = bedrock(box).client
    request: dict[str, Any] = {
        "modelId": SONNET,
        "system": [{"text": LONG}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
    }
    with pytest.raises(client.exceptions.ThrottlingException):
        client.converse(**request)

    assert 2400 == client.converse(**request)["usage"]["cacheWriteInputTokens"]
