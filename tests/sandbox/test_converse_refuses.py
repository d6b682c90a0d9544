"""What Converse refuses, the sandbox refuses: same status, same error shape, at no cost."""

import copy
from typing import Any

import pytest

from governor_sandbox import Sandbox
from tests.sandbox.clients import NOVA_PRO, SONNET, post

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
