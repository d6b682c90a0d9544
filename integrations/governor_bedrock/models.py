"""Bedrock models behind the Converse API: whose client is ours, what it is called, how a tier's client is made and limited."""

from __future__ import annotations

import copy
import os
import re
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ProfileNotFound
from langchain_aws import ChatBedrockConverse

from governor.calls import ModelRef
from governor.errors import ConfigurationError
from governor_langgraph.clients import construct, headers_of, integers_in, output_default

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.language_models import BaseChatModel

    from governor.policy.schema import Tier

__all__ = [
    "CONFIGS",
    "FAMILY",
    "PROVIDERS",
    "build",
    "is_mine",
    "limited",
    "max_output",
    "model_ref",
    "price_percent",
    "single_attempt",
    "smaller_thinking",
    "takes_limit",
    "with_max_output",
    "writes_openly",
]

FAMILY = "bedrock"
PROVIDERS: tuple[str, ...] = ("bedrock_converse", "bedrock", "amazon_bedrock")

READABLE_ARNS = (":foundation-model/", ":inference-profile/")
"""ARNs that end in a model's id; those of application profiles, routers and imported models end in a random one."""

LEGACY_ATTEMPTS, STANDARD_ATTEMPTS = 5, 3
"""Requests that botocore sends for one call, by retry mode, where nothing else is configured (its documentation of retries)."""

TIER_PERCENT = {"priority": 175}
"""Percent of the listed price by service tier (Amazon Bedrock's price list). Flex costs less and is held and charged in full; what is
reserved is bought beforehand."""

CONFIGS = ("inference_config", "inferenceConfig")
"""Spellings of the whole configuration; the client writes the first as the second."""

REGIONS = ("us.", "eu.", "apac.", "global.", "jp.", "au.", "ca.", "us-gov.")
"""Prefixes of system-defined inference profiles (AWS, "Supported regions and models for inference profiles")."""

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
        **_behind(tier),
        **tier.args,
        "model": tier.sent_name,
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


def _behind(tier: Tier) -> dict[str, Any]:
    """What the client must be told of an ARN that does not say it: the vendor, and the base model where there is one."""
    if not (tier.serves and tier.sent_name.startswith("arn:")):
        return {}
    first = _base(tier.served_names[0])
    one = {"base_model": first} if len(tier.serves) == 1 else {}
    return {"provider": first.split(".")[0], **one}


def _base(name: str) -> str:
    """A model's id without the prefix of its region or the front of its ARN."""
    name = name.rsplit("/", 1)[-1]
    return name.partition(".")[2] if name.startswith(REGIONS) else name


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


def single_attempt(model: BaseChatModel) -> tuple[BaseChatModel, int]:
    """boto3 asks for retries by an event, `needs-retry`; the copy's endpoint does not send it. Clients of another kind are left alone."""
    converse = cast("ChatBedrockConverse", model)
    retries = _retries(converse.client)
    if not retries:
        return model, 0
    single = converse.model_copy()
    vars(single)["client"] = _once(converse.client)  # not as an update of fields: what user code set stays what it set
    return single, retries


def _retries(client: Any) -> int:
    """How often a boto3 client sends a failed request again. Without configuration that is 4 times in the old mode, 2 in the newer ones."""
    if not isinstance(client, BaseClient) or isinstance(_endpoint(client)._event_emitter, _NoRetries):  # noqa: SLF001
        return 0
    settings = cast("Mapping[str, Any]", cast("Any", client).meta.config.retries or {})
    usual = LEGACY_ATTEMPTS if settings.get("mode", "legacy") == "legacy" else STANDARD_ATTEMPTS
    return max(0, int(settings.get("total_max_attempts") or usual) - 1)


def _once(client: BaseClient) -> BaseClient:
    """A client that shares everything with `client` but the retries. `copy.copy` cannot make one: it asks a class without state for it."""
    clone = object.__new__(type(client))
    vars(clone).update(vars(client))
    endpoint = copy.copy(_endpoint(client))
    endpoint._event_emitter = _NoRetries(endpoint._event_emitter)  # noqa: SLF001
    vars(clone)["_endpoint"] = endpoint
    return clone


def _endpoint(client: BaseClient) -> Any:
    return vars(client)["_endpoint"]


class _NoRetries:
    """The events of a client but for the question whether a request is sent again."""

    def __init__(self, events: Any) -> None:
        self._events = events

    def emit(self, event_name: str, **given: Any) -> list[tuple[Any, Any]]:
        """What the handlers answer; nobody answers that a request needs a retry."""
        return [] if event_name.startswith("needs-retry.") else self._events.emit(event_name, **given)

    def __getattr__(self, name: str) -> Any:
        """All else is the events' own."""
        return getattr(self._events, name)


def max_output(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int | None:
    """As Converse will be asked: a whole `inferenceConfig` wins over the call's limit, and that over the client's."""
    client = cast("ChatBedrockConverse", model)
    configs = [cast("Mapping[str, Any]", kwargs[name]) for name in CONFIGS if kwargs.get(name)]
    places = configs[-1:] or [kwargs, {"max_tokens": client.max_tokens}]
    return next((limit for place in places for limit in integers_in(place, ("maxTokens", "max_tokens"))), None)


def price_percent(settings: Mapping[str, Any]) -> int:
    """By service tier, as the call or the client names it."""
    tier = next(filter(None, (settings.get(name) for name in ("serviceTier", "service_tier"))), None)
    tier = cast("Mapping[str, Any]", tier).get("type") if isinstance(tier, dict) else tier
    return TIER_PERCENT.get(str(tier), 100)


def with_max_output(model: BaseChatModel, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """`max_tokens` per call wins over the instance, but loses to a whole `inferenceConfig`, so that is limited too.

    A thinking budget that would not fit is lowered with it. Raises ConfigurationError for Nova at high reasoning effort: the API takes no
    limit there, so no reservation could be an upper bound.
    """
    client = cast("ChatBedrockConverse", model)
    limited = {key: value for key, value in kwargs.items() if key != "maxTokens"} | {"max_tokens": n}
    for name in CONFIGS:
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
    if (smaller := smaller_thinking(fields.get("thinking"), n)) is not None:
        limited["additional_model_request_fields"] = {**fields, "thinking": smaller}
    return limited


def smaller_thinking(thinking: object, n: int) -> dict[str, Any] | None:
    """Claude's thinking, when its budget would not fit under an output limit of `n`: half of that, or none at all. None when it fits."""
    asked = cast("Mapping[str, Any]", thinking if isinstance(thinking, dict) else {})
    if asked.get("type") != "enabled" or asked.get("budget_tokens", 0) < n:
        return None
    return {"type": "disabled"} if n < 2 * SMALLEST_THINKING else {**asked, "budget_tokens": n // 2}


def limited(model: BaseChatModel, n: int) -> BaseChatModel:
    """The client itself: a call's limit wins over its own."""
    del n
    return model


def takes_limit(model: BaseChatModel) -> bool:
    """Always; the one exception is refused by `with_max_output`."""
    del model
    return True


_SILENT = re.compile(r"claude-(?:[23]|(?:opus|sonnet|haiku)-4)(?![0-9])|nova-(?:micro|lite|pro|premier)")
"""Models that think only when they are asked to; of others that is not known."""


def writes_openly(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    """Without thinking, of which a stream shows a part at most."""
    client = cast("ChatBedrockConverse", model)
    fields = {
        **(client.additional_model_request_fields or {}),
        **cast("Mapping[str, Any]", kwargs.get("additional_model_request_fields") or {}),
    }
    thinking = cast("Mapping[str, Any]", fields.get("thinking") or {}).get("type", "disabled") != "disabled"
    reasons = any("reasoning" in name.lower() for name in fields)
    return _SILENT.search(model_ref(model).model) is not None and not (thinking or reasons)
