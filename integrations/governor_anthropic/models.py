"""Anthropic models: whose client is ours, what it is called, how a tier's client is made, how its output is limited."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, cast

from langchain_anthropic import ChatAnthropic

from governor.calls import ModelRef
from governor.errors import ConfigurationError
from governor_langgraph.clients import (
    PLACEHOLDER,
    construct,
    has_auth_header,
    headers_of,
    integers_in,
    output_default,
    without_retries,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    from governor.policy.schema import Tier

__all__ = [
    "FAMILY",
    "PROVIDERS",
    "build",
    "is_mine",
    "limited",
    "max_output",
    "model_ref",
    "price_percent",
    "single_attempt",
    "takes_limit",
    "with_max_output",
    "writes_openly",
]

FAMILY = "anthropic"
PROVIDERS: tuple[str, ...] = ("anthropic",)

_TRANSPORTS = {
    "anthropic-bedrock-chat": "anthropic_bedrock",
    "anthropic-bedrock-mantle-chat": "bedrock_mantle_anthropic",
}
"""`_llm_type` of the subclasses in langchain-aws to the name that `init_chat_model` has for them."""

_LIMITS = ("max_tokens", "max_tokens_to_sample")

GEO_PERCENT = {"us": 110}
"""Percent of the listed price by `inference_geo` (Anthropic's documentation of data residency: 1.1 times in the US)."""

SMALLEST_THINKING = 1024
"""Least `budget_tokens` that the API accepts (Anthropic's documentation of extended thinking)."""


def is_mine(model: BaseChatModel) -> bool:
    """Whether it is ChatAnthropic, or a subclass of it that sends the same body elsewhere (Bedrock, Vertex)."""
    return isinstance(model, ChatAnthropic)


def model_ref(model: BaseChatModel) -> ModelRef:
    """The model's id, under the provider that bills it."""
    client = cast("ChatAnthropic", model)
    kind = client._llm_type  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the one name that tells the transports apart
    return ModelRef(provider=_TRANSPORTS.get(kind, "anthropic"), model=client.model)


def build(tier: Tier) -> BaseChatModel:
    """A client for the tier that makes one attempt per call and reports usage in streams.

    Raises ConfigurationError without a key (`ANTHROPIC_API_KEY`, `api_key` in the tier's args, or a header that authenticates at a
    gateway), or when the client refuses the tier's arguments.
    """
    headers = headers_of(tier)
    arguments: dict[str, Any] = {
        **output_default(tier, "max_tokens", "max_tokens_to_sample"),
        **tier.args,
        "model": tier.sent_name,
        "max_retries": 0,
        "stream_usage": True,
    }
    if tier.endpoint:
        arguments["base_url"] = tier.endpoint
    if headers:
        arguments["default_headers"] = headers
    if not (os.environ.get("ANTHROPIC_API_KEY") or {"api_key", "anthropic_api_key"} & tier.args.keys()):
        if not has_auth_header(headers):
            message = f"tier {tier.model} has no credentials: set ANTHROPIC_API_KEY, or a header that authenticates at its gateway"
            raise ConfigurationError(message)
        arguments["api_key"] = PLACEHOLDER
    return construct(tier, ChatAnthropic, arguments)


def single_attempt(model: BaseChatModel) -> tuple[BaseChatModel, int]:
    """The SDK's clients are made when first used, from `max_retries`; those that exist already are copied with it."""
    client = cast("ChatAnthropic", model)
    copy, retries = without_retries(client)
    if not (retries or client.max_retries):
        return model, 0
    copy = copy.model_copy() if copy is model else copy
    vars(copy)["max_retries"] = 0
    vars(copy).pop("_client_params", None)  # remembered with the retries in them
    return copy, max(retries, client.max_retries)


def max_output(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int | None:
    """As the API will read it: `extra_body`, which the SDK merges last, then the call, then the client."""
    client = cast("ChatAnthropic", model)
    places = (_extra_body(client, kwargs), kwargs, client.model_kwargs, {"max_tokens": client.max_tokens})
    return next((limit for place in places for limit in integers_in(place, _LIMITS)), None)


def price_percent(settings: Mapping[str, Any]) -> int:
    """A priority tier is bought beforehand and costs no more per token; inference in one country does."""
    extra = cast("Mapping[str, Any]", settings.get("extra_body") or {})
    geo = extra.get("inference_geo") or settings.get("inference_geo")
    return GEO_PERCENT.get(str(geo), 100)


def _extra_body(client: ChatAnthropic, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", kwargs.get("extra_body") or client.model_kwargs.get("extra_body") or {}))


def with_max_output(model: BaseChatModel, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """`max_tokens` per call wins over the instance; a thinking budget that would not fit under it is lowered with it.

    The API refuses a budget that reaches `max_tokens`, and an instance's `thinking` wins over a call's, so a smaller budget travels in
    `extra_body`, which the SDK merges last.
    """
    client = cast("ChatAnthropic", model)
    limited = {key: value for key, value in kwargs.items() if key != "max_tokens_to_sample"}
    limited["max_tokens"] = n
    extra = _extra_body(client, kwargs)
    if "max_tokens" in extra:
        extra["max_tokens"] = n
    thinking = extra.get("thinking") or client.thinking or kwargs.get("thinking")
    if thinking and thinking.get("type") == "enabled" and thinking.get("budget_tokens", 0) >= n:
        extra["thinking"] = _smaller(thinking, n)
    return {**limited, "extra_body": extra} if extra else limited


def limited(model: BaseChatModel, n: int) -> BaseChatModel:
    """The client itself: a call's limit wins over its own."""
    del n
    return model


def takes_limit(model: BaseChatModel) -> bool:
    """Always."""
    del model
    return True


_SILENT = re.compile(r"claude-(?:[23]|(?:opus|sonnet|haiku)-4)(?![0-9])")
"""Models that think only when they are asked to; of later ones that is not known."""


def writes_openly(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    """Without thinking, of which a stream shows a summary and the bill the whole, and without tools of the provider's."""
    client = cast("ChatAnthropic", model)
    extra = _extra_body(client, kwargs)
    places = (extra, vars(client), client.model_kwargs, kwargs)
    asked = (cast("Mapping[str, Any]", place.get("thinking") or {}) for place in places)
    thinking = any(each.get("type", "disabled") != "disabled" for each in asked)
    tools = cast("Sequence[Any]", kwargs.get("tools") or extra.get("tools") or ())
    hosted = any(
        isinstance(tool, dict) and cast("Mapping[str, Any]", tool).get("type", "custom") not in ("custom", "function")
        for tool in tools
    )
    return _SILENT.search(client.model) is not None and not (thinking or hosted or kwargs.get("mcp_servers"))


def _smaller(thinking: Mapping[str, Any], n: int) -> dict[str, Any]:
    if n < 2 * SMALLEST_THINKING:
        return {"type": "disabled"}
    return {**thinking, "budget_tokens": n // 2}
