"""OpenAI models: whose client is ours, what it is called, how a tier's client is made, how its output is limited."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, cast

from langchain_openai import AzureChatOpenAI, ChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI

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
from governor_openai.hosted import hosted_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    from governor.fees import HostedTool
    from governor.policy.schema import Tier

__all__ = [
    "FAMILY",
    "PROVIDERS",
    "build",
    "hosted",
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

FAMILY = "openai"
PROVIDERS: tuple[str, ...] = ("openai", "azure_openai")

_TRACING_NAMES = {"azure": "azure_openai"}

_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")

TIER_PERCENT = {"priority": 250, "fast": 250}
"""Percent of the listed price by `service_tier` (OpenAI's price list: priority costs 1.67 to 2.5 times, by model). Flex costs less and is
held in full: a provider may serve such a request as an ordinary one. What the answer says that it was served as is what is charged."""


def is_mine(model: BaseChatModel) -> bool:
    """Whether it is a client of OpenAI's API, including the compatible ones built on the same base (xAI, DeepSeek, Bedrock Mantle)."""
    return isinstance(model, BaseChatOpenAI)


def model_ref(model: BaseChatModel) -> ModelRef:
    """The model's id (Azure: the model's, else the deployment's name) under the provider that the client names in tracing."""
    client = cast("BaseChatOpenAI", model)
    params = client._get_ls_params()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - subclasses name their provider only here
    provider = str(params.get("ls_provider") or "openai")
    name = client.model_name or getattr(client, "deployment_name", None) or params.get("ls_model_name") or "unknown"
    return ModelRef(provider=_TRACING_NAMES.get(provider, provider), model=str(name))


def build(tier: Tier) -> BaseChatModel:
    """A client for the tier that makes one attempt per call and reports usage in streams, behind gateways too.

    Raises ConfigurationError without a key (`OPENAI_API_KEY`, for Azure `AZURE_OPENAI_API_KEY`, `api_key` in the tier's args, or a header
    that authenticates at a gateway), or when the client refuses the tier's arguments.
    """
    azure = tier.provider == "azure_openai"
    headers = headers_of(tier)
    arguments: dict[str, Any] = {
        **output_default(tier, *(name for name in _LIMITS if name != "max_output_tokens")),
        **tier.args,
        "model": tier.sent_name,
        "max_retries": 0,
        "stream_usage": True,
    }
    if tier.endpoint:
        arguments["azure_endpoint" if azure else "base_url"] = tier.endpoint
    if headers:
        arguments["default_headers"] = headers
    variable = "AZURE_OPENAI_API_KEY" if azure else "OPENAI_API_KEY"
    given = {"api_key", "openai_api_key", "azure_ad_token", "azure_ad_token_provider"} & tier.args.keys()
    if not (given or os.environ.get(variable) or os.environ.get("OPENAI_API_KEY")):
        if not has_auth_header(headers):
            message = (
                f"tier {tier.model} has no credentials: set {variable}, or a header that authenticates at its gateway"
            )
            raise ConfigurationError(message)
        arguments["api_key"] = PLACEHOLDER
    return construct(tier, AzureChatOpenAI if azure else ChatOpenAI, arguments)


def single_attempt(model: BaseChatModel) -> tuple[BaseChatModel, int]:
    """The SDK's clients, and the resources of them that LangChain's client calls, are its attributes."""
    return without_retries(model)


def max_output(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int | None:
    """As the API will read it: `extra_body`, which the SDK merges last, then the call, then the client; once for each choice."""
    client = cast("BaseChatOpenAI", model)
    places = (_extra_body(client, kwargs), kwargs, client.model_kwargs, {"max_tokens": client.max_tokens})
    limit = next((limit for place in places for limit in integers_in(place, _LIMITS)), None)
    return None if limit is None else limit * _choices(client, kwargs)


def price_percent(settings: Mapping[str, Any]) -> int:
    """By `service_tier`. A tier that a project is set to by default is not seen here."""
    places = (settings.get("extra_body"), settings, settings.get("model_kwargs"))
    tiers = (cast("Mapping[str, Any]", place).get("service_tier") for place in places if place)
    return TIER_PERCENT.get(str(next(filter(None, tiers), None)), 100)


def with_max_output(model: BaseChatModel, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Set the one spelling that the client's class sends, and drop the others, which would win or be refused beside it.

    ChatOpenAI and AzureChatOpenAI send `max_completion_tokens` (as `max_output_tokens` to the Responses API, where an instance's limit
    would win over a call's `max_tokens`). Compatible clients send `max_tokens`. Several choices (`n`) share the limit: each is billed.
    """
    client = cast("BaseChatOpenAI", model)
    extra = _extra_body(client, kwargs)
    limit = max(1, n // _choices(client, kwargs))
    name = "max_completion_tokens" if isinstance(client, (ChatOpenAI, AzureChatOpenAI)) else "max_tokens"
    limited = {key: value for key, value in kwargs.items() if key not in _LIMITS} | {name: limit}
    if any(key in extra for key in _LIMITS):
        if name not in extra:
            del limited[name]  # two spellings in one request are refused
        limited["extra_body"] = {key: limit if key in _LIMITS else value for key, value in extra.items()}
    return limited


def limited(model: BaseChatModel, n: int) -> BaseChatModel:
    """The client itself: a call's limit wins over its own."""
    del n
    return model


def takes_limit(model: BaseChatModel) -> bool:
    """Always."""
    del model
    return True


_SILENT = re.compile(r"(?:.*/)?(?:ft:)?(?:gpt-3\.5|gpt-4|chatgpt-4o)")
"""Models that do not reason. Later ones may, and show nothing of it in a stream."""


def writes_openly(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    """For OpenAI's and Azure's own models that do not reason, without tools of the provider's, one text answer at a time."""
    client = cast("BaseChatOpenAI", model)
    given = {**client.model_kwargs, **kwargs, **_extra_body(client, kwargs)}
    tools = cast("Sequence[Any]", given.get("tools") or ())
    hosted = any(isinstance(tool, dict) and cast("Mapping[str, Any]", tool).get("type") != "function" for tool in tools)
    ref = model_ref(model)
    return (
        ref.provider in PROVIDERS
        and _SILENT.match(ref.model) is not None
        and "search" not in ref.model
        and not (hosted or given.get("modalities") or given.get("audio") or given.get("web_search_options"))
    )


def hosted(model: BaseChatModel, kwargs: Mapping[str, Any]) -> tuple[HostedTool, ...]:
    """As the API will read the request; a limit can be set on it where none would win over that of the call."""
    client = cast("BaseChatOpenAI", model)
    extra = _extra_body(client, kwargs)
    silent = _SILENT.match(client.model_name) is not None
    return hosted_in({**client.model_kwargs, **kwargs, **extra}, settable="tools" not in extra, silent=silent)


def _choices(client: BaseChatOpenAI, kwargs: Mapping[str, Any]) -> int:
    """How many answers are asked for, each of which may reach the limit."""
    places = (_extra_body(client, kwargs), kwargs, client.model_kwargs, {"n": client.n})
    return max(1, next((n for place in places for n in integers_in(place, ("n",))), 1))


def _extra_body(client: BaseChatOpenAI, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields that the SDK writes over those of the body."""
    given = kwargs.get("extra_body") or client.model_kwargs.get("extra_body") or client.extra_body
    return cast("Mapping[str, Any]", given or {})
