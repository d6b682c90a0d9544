"""Real client classes, pointed at the sandbox."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3
from langchain_anthropic import ChatAnthropic
from langchain_aws import ChatBedrockConverse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI

from governor.calls import Breakpoint, CachePlan
from governor.usage import Usage
from governor_sandbox import Record, Sandbox

BEDROCK, ANTHROPIC, OPENAI = "bedrock", "anthropic", "openai"
FAMILIES = (BEDROCK, ANTHROPIC, OPENAI)

MODELS = {
    BEDROCK: "us.anthropic.claude-sonnet-4-6",
    ANTHROPIC: "claude-sonnet-4-6",
    OPENAI: "gpt-4.1",
}

LONG = "Refunds above fifty dollars need the approval of a supervisor and a written reason. " * 120
"""Well above every minimum for caching."""


@cache
def session() -> boto3.Session:
    """One session for all clients: it keeps the parsed service models, which take longer to read than all else here."""
    return boto3.Session()


def bedrock(box: Sandbox, **settings: Any) -> ChatBedrockConverse:
    settings.setdefault("model", MODELS[BEDROCK])
    made: Any = session().client("bedrock-runtime", config=settings.pop("config", None), **box.bedrock_kwargs())
    return ChatBedrockConverse(disable_streaming=False, client=made, bedrock_client=made, **settings)


def anthropic(box: Sandbox, **settings: Any) -> ChatAnthropic:
    settings.setdefault("model", MODELS[ANTHROPIC])
    settings.setdefault("max_tokens", 1_000)  # the client's own default is the model's maximum
    return ChatAnthropic(max_retries=0, **box.anthropic_kwargs(), **settings)


def openai(box: Sandbox, **settings: Any) -> ChatOpenAI:
    settings.setdefault("model", MODELS[OPENAI])
    return ChatOpenAI(max_retries=0, stream_usage=True, **box.openai_kwargs(), **settings)


CLIENTS: Mapping[str, Callable[..., BaseChatModel]] = {BEDROCK: bedrock, ANTHROPIC: anthropic, OPENAI: openai}


def metered(record: Record) -> Usage:
    """What the sandbox billed, in governor's shape."""
    usage = record.usage
    return Usage(
        input=usage.uncached,
        cache_read=usage.cache_read,
        cache_write_5m=usage.cache_write_5m,
        cache_write_1h=usage.cache_write_1h,
        output=usage.output,
        reasoning=usage.reasoning,
    )


def points(*positions: int, ttl: Any = "5m") -> tuple[Breakpoint, ...]:
    return tuple(Breakpoint(position=position, ttl=ttl) for position in positions)


def ask(model: BaseChatModel, messages: list[Any], kwargs: Mapping[str, Any] | None = None) -> AIMessage:
    return model.bind(**(kwargs or {})).invoke(messages)


WHOLE = CachePlan(tools="5m", system="5m", messages=points(1))
