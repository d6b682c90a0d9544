"""What Anthropic's Messages API refuses, the sandbox refuses: same status, same error shape, at no cost."""

from typing import Any

import pytest

from governor_sandbox import Sandbox
from tests.sandbox.clients import post

Body = dict[str, Any]


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
