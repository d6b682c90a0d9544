"""The real client classes, pointed at a sandbox; one attempt each, so that a test sees the first answer."""

import json
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import boto3
from botocore.config import Config
from langchain_anthropic import ChatAnthropic
from langchain_aws import ChatBedrockConverse
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from governor_sandbox import Sandbox

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA_PRO = "amazon.nova-pro-v1:0"
NOVA_MICRO = "amazon.nova-micro-v1:0"

Build = Callable[..., BaseChatModel]


_SESSION: Any = boto3.Session("sandbox", "sandbox", region_name="us-east-1")
_CONTROL: Any = _SESSION.client("bedrock", endpoint_url="http://127.0.0.1:1")


def bedrock(box: Sandbox, model: str = SONNET, *, read_timeout: float = 20, **settings: Any) -> ChatBedrockConverse:
    """From a shared session, since reading botocore's models anew costs half a second per client."""
    config = Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout)
    client = _SESSION.client("bedrock-runtime", endpoint_url=box.url, config=config)
    return ChatBedrockConverse(model=model, client=client, bedrock_client=_CONTROL, **settings)


def openai(box: Sandbox, model: str = "gpt-4o", **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, max_retries=0, stream_usage=True, **box.openai_kwargs(), **settings)


def anthropic(box: Sandbox, model: str = "claude-sonnet-4-6", **settings: Any) -> ChatAnthropic:
    chosen: dict[str, Any] = {
        "model": model,
        "max_retries": 0,
        "max_tokens": 1000,
        **box.anthropic_kwargs(),
        **settings,
    }
    return ChatAnthropic(**chosen)


ALL: dict[str, Build] = {"bedrock": bedrock, "openai": openai, "anthropic": anthropic}


async def aclose(model: Any) -> None:
    """Close the connections an async client keeps for later: its pool outlives the test's event loop."""
    held = getattr(model, "root_async_client", None) or getattr(model, "_async_client", None)
    if held is not None:
        await held.close()


def post(box: Sandbox, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
    """One request without a client, for what no client would send; returns status, headers in lower case, and JSON."""
    connection = HTTPConnection("127.0.0.1", box.port, timeout=20)
    try:
        defaults = {"Authorization": "Bearer x", "x-api-key": "x", "anthropic-version": "2023-06-01"}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, raw, {**defaults, **headers})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def get(box: Sandbox, path: str) -> Any:
    """JSON from one of the sandbox's own routes."""
    connection = HTTPConnection("127.0.0.1", box.port, timeout=20)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
