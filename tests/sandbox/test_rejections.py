"""Refusals as each client raises them, and what is refused whatever the provider."""

from typing import Any

import anthropic as anthropic_sdk
import openai as openai_sdk
import pytest
from botocore.exceptions import ClientError
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from governor_sandbox import Sandbox
from tests.sandbox.clients import SONNET, anthropic, bedrock, openai, post

HI: dict[str, Any] = {"role": "user", "content": "hi"}


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

    assert (
        403
        == post(
            box, f"/model/{SONNET}/converse", {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, **bare
        )[0]
    )
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
