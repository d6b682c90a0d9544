"""What the real APIs refuse, the sandbox refuses: same status, same error shape, at no cost."""

import copy
from typing import Any

import anthropic as anthropic_sdk
import openai as openai_sdk
import pytest
from botocore.exceptions import ClientError
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from governor_sandbox import Sandbox
from tests.sandbox.clients import NOVA_PRO, SONNET, anthropic, bedrock, openai, post

Body = dict[str, Any]


def user(text: str = "hi") -> Body:
    return {"role": "user", "content": [{"text": text}]}


def use(*ids: str) -> Body:
    return {"role": "assistant", "content": [{"toolUse": {"toolUseId": i, "name": "look", "input": {}}} for i in ids]}


def result(*ids: str) -> Body:
    return {"role": "user", "content": [{"toolResult": {"toolUseId": i, "content": [{"text": "found"}]}} for i in ids]}


POINT: Body = {"cachePoint": {"type": "default"}}
HOUR: Body = {"cachePoint": {"type": "default", "ttl": "1h"}}
TOOL: Body = {"toolSpec": {"name": "look", "description": "d", "inputSchema": {"json": {"type": "object"}}}}
TOOLS: Body = {"toolConfig": {"tools": [TOOL]}}


def _named(name: str) -> Body:
    tool = copy.deepcopy(TOOL)
    tool["toolSpec"]["name"] = name
    return tool


CONVERSE: dict[str, tuple[Body, str]] = {
    "no messages": ({"messages": []}, "must start with a user message"),
    "starts with the assistant": (
        {"messages": [{"role": "assistant", "content": [{"text": "hi"}]}]},
        "must start with a user",
    ),
    "two user messages in a row": ({"messages": [user(), user()]}, "must alternate between user and assistant"),
    "blank text": ({"messages": [user(" ")]}, "messages.0.content.0 is blank"),
    "empty content": ({"messages": [{"role": "user", "content": []}]}, "messages.0 is empty"),
    "empty system text": ({"messages": [user()], "system": [{"text": ""}]}, "system.0.text"),
    "two keys in a block": (
        {"messages": [{"role": "user", "content": [{"text": "a", "image": {}}]}]},
        "must set one of",
    ),
    "an unknown field": ({"messages": [user()], "max_tokens": 5}, "max_tokens: Extra inputs are not permitted"),
    "a result without a use": (
        {"messages": [user(), {"role": "assistant", "content": [{"text": "a"}]}, result("t1")], **TOOLS},
        "exceeds the number of toolUse blocks of previous turn",
    ),
    "an orphan result at the start": ({"messages": [result("t1")], **TOOLS}, "exceeds the number of toolUse blocks"),
    "a use without a result": (
        {"messages": [user(), use("t1"), user()], **TOOLS},
        "Expected toolResult blocks at messages.2.content for the following Ids: t1",
    ),
    "one of two results missing": (
        {"messages": [user(), use("t1", "t2"), result("t1")], **TOOLS},
        "following Ids: t1, t2, but found: t1",
    ),
    "a use at the end": (
        {"messages": [user(), use("t1")], **TOOLS},
        "Expected toolResult blocks at messages.2.content",
    ),
    "tool blocks without toolConfig": (
        {"messages": [user(), use("t1"), result("t1")]},
        "toolConfig field must be defined",
    ),
    "a tool use by the user": (
        {"messages": [{"role": "user", "content": use("t1")["content"]}], **TOOLS},
        "not allowed for the role user",
    ),
    "a bad tool name": ({"messages": [user()], "toolConfig": {"tools": [_named("look up!")]}}, "toolSpec.name"),
    "a tool name too long": ({"messages": [user()], "toolConfig": {"tools": [_named("x" * 65)]}}, "toolSpec.name"),
    "the same tool twice": ({"messages": [user()], "toolConfig": {"tools": [TOOL, TOOL]}}, "already defined"),
    "a forced tool that is not there": (
        {"messages": [user()], "toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "no"}}}},
        "not defined",
    ),
    "five cache points": (
        {"messages": [user()], "system": [{"text": "a"}, *[POINT] * 5]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "a longer ttl after a shorter": (
        {"messages": [{"role": "user", "content": [{"text": "a"}, HOUR]}], "system": [{"text": "a"}, POINT]},
        "a ttl='1h' cache_control block must not come after a ttl='5m'",
    ),
    "a bad ttl": (
        {"messages": [user()], "system": [{"text": "a"}, {"cachePoint": {"type": "default", "ttl": "2h"}}]},
        "system.1.cachePoint.ttl",
    ),
    "too many output tokens": (
        {"messages": [user()], "inferenceConfig": {"maxTokens": 64_001}},
        "exceeds the model limit of 64000",
    ),
    "no output tokens": ({"messages": [user()], "inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
    "a prompt beyond the window": ({"messages": [user(" abc" * 200_001)]}, "Input is too long for requested model."),
    "trailing blanks in a prefill": (
        {"messages": [user(), {"role": "assistant", "content": [{"text": "So "}]}]},
        "trailing whitespace",
    ),
    "too many tags": ({"messages": [user()], "requestMetadata": {f"k{i}": "v" for i in range(17)}}, "requestMetadata"),
}


@pytest.mark.parametrize("case", sorted(CONVERSE))
def test_converse_refuses(box: Sandbox, case: str) -> None:
    body, says = CONVERSE[case]

    status, headers, answer = post(box, f"/model/{SONNET}/converse", body)

    assert (400, "ValidationException") == (status, headers["x-amzn-errortype"])
    assert says in answer["message"]
    assert ("rejected", 0) == (box.meter.records[0].outcome, box.meter.bill().nano_usd)


NOVA_REFUSES: dict[str, tuple[Body, str]] = {
    "a cache point in tools": (
        {"messages": [user()], "toolConfig": {"tools": [TOOL, POINT]}},
        "does not support cachePoint in toolConfig",
    ),
    "an hour": ({"messages": [user()], "system": [{"text": "a"}, HOUR]}, "does not support the cache ttl '1h'"),
}


@pytest.mark.parametrize("case", sorted(NOVA_REFUSES))
def test_nova_refuses(box: Sandbox, case: str) -> None:
    body, says = NOVA_REFUSES[case]

    status, _, answer = post(box, f"/model/{NOVA_PRO}/converse", body)

    assert 400 == status
    assert says in answer["message"]


def test_a_model_without_a_prompt_cache_refuses_cache_points(box: Sandbox) -> None:
    body = {"messages": [user()], "system": [{"text": "a"}, POINT]}

    status, _, answer = post(box, "/model/meta.llama3-3-70b-instruct-v1:0/converse", body)

    assert 400 == status
    assert "did not allow prompt caching" in answer["message"]


def said(text: str = "hi", **extra: Any) -> Body:
    return {"role": "user", "content": [{"type": "text", "text": text, **extra}]}


def asked(*ids: str) -> Body:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": i, "name": "look", "input": {}} for i in ids]}


def told(*ids: str) -> Body:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": i, "content": "found"} for i in ids]}


LOOK: Body = {"name": "look", "input_schema": {"type": "object"}}
FIVE: Body = {"cache_control": {"type": "ephemeral"}}
MESSAGES: dict[str, tuple[Body, str]] = {
    "no max_tokens": ({"max_tokens": None}, "max_tokens"),
    "no messages": ({"messages": []}, "messages"),
    "starts with the assistant": (
        {"messages": [{"role": "assistant", "content": "hi"}]},
        'first message must use the "user" role',
    ),
    "an unknown role": ({"messages": [{"role": "system", "content": "hi"}]}, "messages.0.role"),
    "an empty text block": ({"messages": [said("")]}, "text content blocks must be non-empty"),
    "a blank text block": ({"messages": [said(" ")]}, "must contain non-whitespace text"),
    "empty content": ({"messages": [{"role": "user", "content": ""}]}, "all messages must have non-empty content"),
    "an empty system block": (
        {"system": [{"type": "text", "text": ""}]},
        "system: text content blocks must be non-empty",
    ),
    "an unknown field": ({"maxTokens": 5}, "maxTokens: Extra inputs are not permitted"),
    "an unknown field in a block": ({"messages": [said(cachePoint={})]}, "Extra inputs are not permitted"),
    "a use without a result": (
        {"messages": [said(), asked("t1"), said()], "tools": [LOOK]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1",
    ),
    "a use at the end": ({"messages": [said(), asked("t1")], "tools": [LOOK]}, "`tool_use` ids were found without"),
    "one of two results missing": (
        {"messages": [said(), asked("t1", "t2"), told("t1")], "tools": [LOOK]},
        "immediately after: t2",
    ),
    "text before the results": (
        {"messages": [said(), asked("t1"), said(), told("t1")], "tools": [LOOK]},
        "`tool_use` ids were found without",
    ),
    "an orphan result": (
        {"messages": [told("t1")], "tools": [LOOK]},
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1",
    ),
    "the same result twice": (
        {"messages": [said(), asked("t1"), told("t1", "t1")], "tools": [LOOK]},
        "each tool_use must have a single result",
    ),
    "tool blocks without tools": ({"messages": [said(), asked("t1"), told("t1")]}, "must define tools"),
    "a bad tool name": ({"tools": [{**LOOK, "name": "look up!"}]}, "tools.0.name: String should match pattern"),
    "the same tool twice": ({"tools": [LOOK, LOOK]}, "Tool names must be unique"),
    "a forced tool that is not there": (
        {"tools": [LOOK], "tool_choice": {"type": "tool", "name": "no"}},
        "not found in provided tools",
    ),
    "five cache points": (
        {"system": [{"type": "text", "text": "a", **FIVE} for _ in range(5)]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "five with the automatic one": (
        {"system": [{"type": "text", "text": "a", **FIVE} for _ in range(4)], **FIVE},
        "Found 5.",
    ),
    "a longer ttl after a shorter": (
        {
            "system": [{"type": "text", "text": "a", **FIVE}],
            "messages": [said(cache_control={"type": "ephemeral", "ttl": "1h"})],
        },
        "must not come after a ttl='5m'",
    ),
    "too many output tokens": ({"max_tokens": 128_001}, "max_tokens: 128001 > 128000"),
    "a prompt beyond the window": (
        {"messages": [said(" abc" * 1_000_001)]},
        "prompt is too long: 1000005 tokens > 1000000 maximum",
    ),
    "trailing blanks in a prefill": (
        {"messages": [said(), {"role": "assistant", "content": "So "}]},
        "trailing whitespace",
    ),
}


@pytest.mark.parametrize("case", sorted(MESSAGES))
def test_messages_refuse(box: Sandbox, case: str) -> None:
    changes, says = MESSAGES[case]
    body = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": [said()], **changes}
    body = {key: value for key, value in body.items() if value is not None}

    status, headers, answer = post(box, "/v1/messages", body)

    assert 400 == status
    assert ("error", "invalid_request_error") == (answer["type"], answer["error"]["type"])
    assert says in answer["error"]["message"]
    assert answer["request_id"] == headers["request-id"]
    assert 0 == box.meter.bill().nano_usd


def test_messages_merge_consecutive_turns_of_one_role(box: Sandbox) -> None:
    body = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": [said("a"), said("b")]}

    status, _, _ = post(box, "/v1/messages", body)

    assert 200 == status


def calls(*ids: str) -> Body:
    made = [{"id": i, "type": "function", "function": {"name": "look", "arguments": "{}"}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def tool(call_id: str) -> Body:
    return {"role": "tool", "tool_call_id": call_id, "content": "found"}


HI: Body = {"role": "user", "content": "hi"}
FUNCTION: Body = {"type": "function", "function": {"name": "look", "parameters": {}}}
CHAT: dict[str, tuple[Body, str, str | None]] = {
    "no messages": ({"messages": []}, "messages", "messages"),
    "an unknown field": ({"maxTokens": 5}, "Unknown parameter: 'maxTokens'.", "maxTokens"),
    "an orphan tool message": (
        {"messages": [HI, tool("c1")]},
        "must be a response to a preceeding message with 'tool_calls'",
        "messages.[1].role",
    ),
    "a call without an answer": (
        {"messages": [HI, calls("c1"), HI]},
        "did not have response messages: c1",
        "messages.[2].role",
    ),
    "a call at the end": ({"messages": [HI, calls("c1")]}, "did not have response messages: c1", "messages.[2].role"),
    "one of two answers missing": (
        {"messages": [HI, calls("c1", "c2"), tool("c1")]},
        "did not have response messages: c2",
        None,
    ),
    "the same answer twice": ({"messages": [HI, calls("c1"), tool("c1"), tool("c1")]}, "must be a response", None),
    "no content": (
        {"messages": [{"role": "user", "content": None}]},
        "expected a string, got null",
        "messages.[0].content",
    ),
    "a bad tool name": (
        {"tools": [{"type": "function", "function": {"name": "look up!"}}]},
        "does not match pattern",
        "tools[0].function.name",
    ),
    "an empty tool list": ({"tools": []}, "tools", "tools"),
    "a tool choice without tools": (
        {"tool_choice": "required"},
        "only allowed when 'tools' are specified",
        "tool_choice",
    ),
    "both limits": ({"max_tokens": 5, "max_completion_tokens": 5}, "at the same time is not supported", "max_tokens"),
    "stream options without a stream": (
        {"stream_options": {"include_usage": True}},
        "only allowed when 'stream'",
        "stream_options",
    ),
    "too many output tokens": ({"max_tokens": 16_385}, "supports at most 16384 completion tokens", "max_tokens"),
    "several choices": ({"n": 2}, "n = 1 only", "n"),
    "a missing model": ({"model": None}, "Missing required parameter: 'model'", "model"),
}


@pytest.mark.parametrize("case", sorted(CHAT))
def test_chat_completions_refuse(box: Sandbox, case: str) -> None:
    changes, says, param = CHAT[case]
    body = {key: value for key, value in {"model": "gpt-4o", "messages": [HI], **changes}.items() if value is not None}

    status, _, answer = post(box, "/v1/chat/completions", body)

    assert (400, "invalid_request_error") == (status, answer["error"]["type"])
    assert says in answer["error"]["message"]
    if param is not None:
        assert param == answer["error"]["param"]


def test_a_prompt_beyond_the_window_has_the_code_clients_look_for(box: Sandbox) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": " abc" * 128_001}]}

    status, _, answer = post(box, "/v1/chat/completions", body)

    assert (400, "context_length_exceeded") == (status, answer["error"]["code"])


def test_chat_completions_accept_either_limit(box: Sandbox) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        assert 200 == post(box, "/v1/chat/completions", {"model": "gpt-4o", "messages": [HI], name: 5})[0]


def test_an_unknown_model_is_not_found(box: Sandbox) -> None:
    with pytest.raises(ClientError) as bedrock_error:
        bedrock(box, "anthropic.claude-imaginary-v1:0").invoke("hi")
    with pytest.raises(openai_sdk.NotFoundError) as openai_error:
        openai(box, "gpt-imaginary").invoke("hi")
    with pytest.raises(anthropic_sdk.NotFoundError) as anthropic_error:
        anthropic(box, "claude-imaginary").invoke("hi")

    assert "ResourceNotFoundException" == bedrock_error.value.response["Error"]["Code"]
    assert "model_not_found" == openai_error.value.code
    assert "not_found_error" == anthropic_error.value.type
    assert [404, 404, 404] == [record.status for record in box.meter.records]


def test_a_model_of_another_provider_is_not_found(box: Sandbox) -> None:
    assert 404 == post(box, "/v1/chat/completions", {"model": SONNET, "messages": [HI]})[0]


def test_clients_raise_their_own_errors_for_an_orphan_tool_result(box: Sandbox) -> None:
    look = {"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object"}}}
    orphan = [HumanMessage("hi"), AIMessage("hello"), ToolMessage("found", tool_call_id="t1")]

    with pytest.raises(ClientError) as bedrock_error:
        bedrock(box).bind_tools([look]).invoke(orphan)
    with pytest.raises(openai_sdk.BadRequestError):
        openai(box).bind_tools([look]).invoke(orphan)
    with pytest.raises(anthropic_sdk.BadRequestError):
        anthropic(box).bind_tools([look]).invoke(orphan)

    assert "ValidationException" == bedrock_error.value.response["Error"]["Code"]
    assert 0 == box.meter.bill().nano_usd


def test_credentials_are_required_though_any_will_do(box: Sandbox) -> None:
    bare = {"Authorization": "", "x-api-key": ""}

    assert 403 == post(box, f"/model/{SONNET}/converse", {"messages": [user()]}, **bare)[0]
    assert 401 == post(box, "/v1/chat/completions", {"model": "gpt-4o", "messages": [HI]}, **bare)[0]
    assert 401 == post(box, "/v1/messages", {}, **bare)[0]


def test_a_body_that_is_not_json_is_refused_and_on_record(box: Sandbox) -> None:
    status, _, answer = post(box, "/v1/chat/completions", b"{not json")

    assert 400 == status
    assert "could not parse the JSON body" in answer["error"]["message"]
    assert "rejected" == box.meter.records[0].outcome


def test_an_unknown_path_is_not_served(box: Sandbox) -> None:
    assert 404 == post(box, "/v1/embeddings", {})[0]
    assert 404 == post(box, f"/model/{SONNET}/invoke", {})[0]
    assert () == box.meter.records
