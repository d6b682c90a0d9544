"""The older clients of Bedrock, ChatBedrock and BedrockLLM: InvokeModel, where every family of models spells the output limit its own way.

These clients write the limit of the *instance* over that of a call, so a call is limited by a copy of the client. Which spelling goes onto
the wire is then the client's business, and no other may stand beside it. All else is the generic vendor's: prices go by its name for the
provider, which has none, so a limit in money refuses these clients; limits of tokens hold.

The module is a `governor_langgraph.vendors.Vendor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_aws import ChatBedrock
from langchain_aws.llms.bedrock import BedrockBase

from governor_bedrock.models import CONFIGS, smaller_thinking
from governor_langgraph.clients import integers_in
from governor_langgraph.generic import (
    FAMILY,
    PROVIDERS,
    build,
    classify,
    finish,
    hosted,
    hosted_uses,
    mark,
    model_ref,
    price_percent,
    single_attempt,
    strip_foreign,
    with_hosted_uses,
    writes_openly,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel

__all__ = [
    "FAMILY",
    "PROVIDERS",
    "SPELLINGS",
    "build",
    "classify",
    "finish",
    "hosted",
    "hosted_uses",
    "is_mine",
    "limited",
    "mark",
    "max_output",
    "model_ref",
    "price_percent",
    "single_attempt",
    "strip_foreign",
    "takes_limit",
    "with_hosted_uses",
    "with_max_output",
    "writes_openly",
]

SPELLINGS = (
    "max_tokens",
    "max_tokens_to_sample",
    "maxTokenCount",
    "max_gen_len",
    "maxTokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
)
"""Output limits in the bodies of InvokeModel: Claude's (chat, text), Titan's, Llama's, Jurassic's, OpenAI's, others' (Amazon Bedrock user
guide, "Inference request parameters and response fields for foundation models")."""
NESTED = ("textGenerationConfig", "inferenceConfig", "inference_config", "generation_config")
"""Parts of a body that may hold one as well."""

WRITES_LIMIT = frozenset({"anthropic", "cohere", "meta", "mistral", "deepseek", "writer", "openai", "qwen", "amazon"})
"""Model providers whose limit langchain-aws 1.9 writes into the body (`LLMInputOutputAdapter.prepare_input`)."""
BY_ARGUMENT = {"ai21.jamba": "max_tokens", "ai21.j2": "maxTokens"}
"""Models whose limit it does not know: the argument that goes into the body as it is."""
CLAUDES_DEFAULT = 1_024
"""What langchain-aws asks of Claude when nobody set a limit."""


def is_mine(model: BaseChatModel) -> bool:
    """Whether it is one of the older clients."""
    return isinstance(model, BedrockBase)


def takes_limit(model: BaseChatModel) -> bool:
    """Whether a limit gets into the body. Not for models whose words nobody here knows."""
    client = cast("BedrockBase", model)
    return _converses(client) or _provider(client) in WRITES_LIMIT or _argument(client) is not None


def max_output(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int | None:
    """The largest that the call or the client allows in any spelling: which of several wins is up to the provider."""
    client = cast("BedrockBase", model)
    given: list[Mapping[str, Any]] = [kwargs, client.model_kwargs or {}, {"max_tokens": client.max_tokens}]
    nested = [
        cast("Mapping[str, Any]", place[name])
        for place in given
        for name in NESTED
        if isinstance(place.get(name), dict)
    ]
    found = [limit for place in (*given, *nested) for limit in integers_in(place, SPELLINGS)]
    if not found and _provider(client) == "anthropic" and not _converses(client):
        return CLAUDES_DEFAULT
    return max(found, default=None)


def limited(model: BaseChatModel, n: int) -> BaseChatModel:
    """A copy of the client with `n` as its own limit and no other among its arguments; a thinking budget that does not fit is lowered."""
    client = cast("BedrockBase", model)
    copy = client.model_copy()
    settings = _without(client.model_kwargs or {})
    argument = None if _converses(client) else _argument(client)
    if argument:
        settings[argument] = n
    vars(copy)["max_tokens"] = (
        None if argument else n
    )  # not as an update of fields: what user code set stays what it set
    vars(copy)["model_kwargs"] = _thinking_under(settings, n) or None
    return cast("BaseChatModel", copy)


def with_max_output(model: BaseChatModel, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The arguments without any spelling of a limit: the copy's own is the only one. Converse takes one per call as well."""
    client = cast("BedrockBase", model)
    rest = _thinking_under(_without(kwargs), n)
    if not _converses(client):
        return rest
    configs = {
        name: {**{key: value for key, value in kwargs[name].items() if key not in SPELLINGS}, "maxTokens": n}
        for name in CONFIGS
        if kwargs.get(name)
    }
    return {**rest, **configs, "max_tokens": n}


def _without(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in settings.items() if key not in SPELLINGS}
    for name in NESTED:
        if isinstance(kept.get(name), dict):
            inner = cast("Mapping[str, Any]", kept[name])
            kept[name] = {key: value for key, value in inner.items() if key not in SPELLINGS}
    return kept


def _thinking_under(settings: dict[str, Any], n: int) -> dict[str, Any]:
    """The arguments with a thinking budget that fits under the limit, wherever it is asked for."""
    fields = cast("Mapping[str, Any]", settings.get("additional_model_request_fields") or {})
    if (smaller := smaller_thinking(fields.get("thinking"), n)) is not None:
        settings = {**settings, "additional_model_request_fields": {**fields, "thinking": smaller}}
    smaller = smaller_thinking(settings.get("thinking"), n)
    return settings if smaller is None else {**settings, "thinking": smaller}


def _converses(client: BedrockBase) -> bool:
    """Whether it hands its calls to the newer client."""
    return isinstance(client, ChatBedrock) and client.beta_use_converse_api


def _provider(client: BedrockBase) -> str:
    return client._get_provider()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - what the client itself chooses the body by


def _argument(client: BedrockBase) -> str | None:
    return next((name for start, name in BY_ARGUMENT.items() if start in client.model_id), None)
