"""Bedrock models behind the Converse API: whose client is ours, what it is called, how a tier's client is made and limited."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import ProfileNotFound
from langchain_aws import ChatBedrockConverse

from governor.calls import ModelRef
from governor.errors import ConfigurationError
from governor_langgraph.clients import construct, headers_of, output_default

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.language_models import BaseChatModel

    from governor.policy.schema import Tier

__all__ = ["FAMILY", "PROVIDERS", "build", "is_mine", "model_ref", "with_max_output"]

FAMILY = "bedrock"
PROVIDERS: tuple[str, ...] = ("bedrock_converse", "bedrock", "amazon_bedrock")

READABLE_ARNS = (":foundation-model/", ":inference-profile/")
"""ARNs that end in a model's id; those of application profiles, routers and imported models end in a random one."""

KEY_ARGUMENTS = frozenset({"aws_access_key_id", "bedrock_api_key", "api_key"})

SMALLEST_THINKING = 1024
"""Least thinking budget that Claude accepts (Anthropic's documentation of extended thinking)."""


def is_mine(model: BaseChatModel) -> bool:
    """Whether it is ChatBedrockConverse. The older ChatBedrock speaks InvokeModel, another wire format for every model family."""
    return isinstance(model, ChatBedrockConverse)


def model_ref(model: BaseChatModel) -> ModelRef:
    """The id that prices go by: a region's prefix stays (it costs), an ARN gives way to the id in it or to the base model.

    A prompt router's ARN stays: which model answered is only in the response.
    """
    client = cast("ChatBedrockConverse", model)
    name = client.model_id
    if name.startswith("arn:"):
        readable = any(part in name for part in READABLE_ARNS) and ":application-inference-profile/" not in name
        name = name.rsplit("/", 1)[-1] if readable else client.base_model_id or name
    return ModelRef(provider="bedrock_converse", model=name)


def build(tier: Tier) -> BaseChatModel:
    """A client for the tier that makes one attempt per call and streams whatever the model's id looks like.

    Raises ConfigurationError without credentials or a region, or when the client refuses the tier's arguments. Credentials are looked up
    as boto3 does it, which on an EC2 instance asks its metadata service.
    """
    headers = headers_of(tier)
    config = tier.args.get("config")
    once = Config(retries={"total_max_attempts": 1})
    arguments: dict[str, Any] = {
        **output_default(tier, "max_tokens"),
        "disable_streaming": False,
        **tier.args,
        "model": tier.model_name,
        "config": config.merge(once) if config else once,
    }
    if tier.endpoint:
        arguments["endpoint_url"] = tier.endpoint
    _require_account(tier)
    client = construct(tier, ChatBedrockConverse, arguments)
    if headers:
        events = client.client.meta.events
        events.register("before-send.bedrock-runtime.*", _adding(headers))
    return client


def _require_account(tier: Tier) -> None:
    """Raise ConfigurationError unless boto3 would find a region and credentials."""
    if "client" in tier.args:
        return
    try:
        session = boto3.Session(profile_name=tier.args.get("credentials_profile_name"))
    except ProfileNotFound as error:
        message = f"tier {tier.model}: {error}"
        raise ConfigurationError(message) from error
    found = cast("Any", session).region_name
    if not (tier.args.get("region_name") or os.environ.get("AWS_REGION") or found):
        message = f"tier {tier.model} has no region: set AWS_REGION, or region_name in the tier's args"
        raise ConfigurationError(message)
    if KEY_ARGUMENTS & tier.args.keys() or os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        return
    if session.get_credentials() is None:
        message = (
            f"tier {tier.model} has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or "
            "AWS_BEARER_TOKEN_BEDROCK, or run under a role"
        )
        raise ConfigurationError(message)


def _adding(headers: Mapping[str, str]) -> Callable[..., None]:
    """A botocore hook that adds gateway headers after signing: they are the gateway's, not part of what AWS verifies."""

    def add(request: Any, **_: object) -> None:
        for name, value in headers.items():
            request.headers[name] = value

    return add


def with_max_output(model: BaseChatModel, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """`max_tokens` per call wins over the instance, but loses to a whole `inferenceConfig`, so that is limited too.

    A thinking budget that would not fit is lowered with it. Raises ConfigurationError for Nova at high reasoning effort: the API takes no
    limit there, so no reservation could be an upper bound.
    """
    client = cast("ChatBedrockConverse", model)
    limited = {key: value for key, value in kwargs.items() if key != "maxTokens"} | {"max_tokens": n}
    for name in ("inference_config", "inferenceConfig"):
        if kwargs.get(name):
            given = cast("Mapping[str, Any]", kwargs[name])
            limited[name] = {key: value for key, value in given.items() if key != "max_tokens"} | {"maxTokens": n}
    fields = dict(client.additional_model_request_fields or {})
    fields.update(cast("Mapping[str, Any]", kwargs.get("additional_model_request_fields") or {}))
    if fields.get("reasoningConfig", {}).get("maxReasoningEffort") == "high":
        message = (
            f"{client.model_id} at high reasoning effort takes no output limit: choose medium where a budget holds"
        )
        raise ConfigurationError(message)
    thinking = cast("Mapping[str, Any]", fields.get("thinking") or {})
    if thinking.get("type") == "enabled" and thinking.get("budget_tokens", 0) >= n:
        smaller = {"type": "disabled"} if n < 2 * SMALLEST_THINKING else {**thinking, "budget_tokens": n // 2}
        limited["additional_model_request_fields"] = {**fields, "thinking": smaller}
    return limited
