"""What OpenAI's chat completions refuses, the sandbox refuses: same status, same error shape, at no cost."""

from typing import Any

import pytest

from governor_sandbox import Sandbox
from tests.sandbox.clients import post

Body = dict[str, Any]


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
