"""The vendor of last resort: any chat model that speaks LangChain's own conventions. No cache markers, no guesses about the wire."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from governor.calls import ModelRef
from governor.errors import ConfigurationError
from governor_langgraph.answers import failure_by_status, finish_of
from governor_langgraph.clients import construct, headers_of, integers_in, without_retries
from governor_langgraph.foreign import without_foreign
from governor_langgraph.hosted import grounding, grounding_uses
from governor_langgraph.vendors import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from governor.calls import CachePlan
    from governor.fees import HostedTool
    from governor.policy.schema import Tier
    from governor_langgraph.vendors import Finish

__all__ = [
    "FAMILY",
    "PROVIDERS",
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

FAMILY = "generic"
PROVIDERS: tuple[str, ...] = ()

OUTPUT_LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "max_new_tokens", "num_predict")
"""What LangChain's clients call the output limit, on the instance and per call alike; the first that a class has is used."""
CONFIGS = ("generation_config", "extra_body")
"""Arguments that hold a whole configuration, which a client writes over the rest (Gemini's; those of SDKs of OpenAI's kind)."""
SPELLINGS = frozenset({*OUTPUT_LIMITS, "max_tokens_to_sample", "maxOutputTokens"})

REFUSED = (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
)
PASSING = (ModelAPIError, ModelConnectionError, ModelRateLimitError, ModelTimeoutError)


def is_mine(model: BaseChatModel) -> bool:
    """Any chat model will do."""
    del model
    return True


def model_ref(model: BaseChatModel) -> ModelRef:
    """What the model tells LangChain's tracing; `unknown` where it tells nothing."""
    params = model._get_ls_params()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the only provider-neutral source of both
    return ModelRef(
        provider=str(params.get("ls_provider") or "unknown"), model=str(params.get("ls_model_name") or "unknown")
    )


def build(tier: Tier) -> BaseChatModel:
    """A client by `init_chat_model`, without retries of its own where its class knows `max_retries`."""
    from langchain.chat_models import init_chat_model

    arguments: dict[str, Any] = {"max_retries": 0, **tier.args}
    if tier.endpoint:
        arguments["base_url"] = tier.endpoint
    if headers := headers_of(tier):
        arguments["default_headers"] = headers
    try:
        return construct(tier, init_chat_model, {"model": tier.sent_name, "model_provider": tier.provider, **arguments})
    except ImportError as error:
        message = f"tier {tier.model}: {error}"
        raise ConfigurationError(message) from error


def single_attempt(model: BaseChatModel) -> tuple[BaseChatModel, int]:
    """For clients built on an SDK of OpenAI's and Anthropic's kind. Of retries in any other place nothing is known."""
    return without_retries(model)


def max_output(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int | None:
    """A whole configuration's limit, the call's, else what the client tells LangChain's tracing; once for each choice."""
    configs = (cast("Mapping[str, Any]", kwargs[name]) for name in CONFIGS if isinstance(kwargs.get(name), dict))
    limit = next((limit for place in (*configs, kwargs) for limit in integers_in(place, SPELLINGS)), None)
    if limit is None:
        limit = model._get_ls_params(**dict(kwargs)).get("ls_max_tokens")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - what tracing reads
    return limit * _choices(model, kwargs) if isinstance(limit, int) and limit >= 0 else None


def price_percent(settings: Mapping[str, Any]) -> int:
    """The listed price: what other providers call a class of service is not known."""
    del settings
    return 100


def with_max_output(model: BaseChatModel, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Set the limit under the name that the model's class has for it, and leave no other beside it. Several choices share it.

    A class without such a name is left alone: it takes no such argument.
    """
    name = _output_limit(type(model))
    if not name:
        return dict(kwargs)
    limit = max(1, n // _choices(model, kwargs))
    kept = {key: value for key, value in kwargs.items() if key not in SPELLINGS}
    for config in CONFIGS:
        if isinstance(kept.get(config), dict):
            given = cast("Mapping[str, Any]", kept[config])
            kept[config] = {key: value for key, value in given.items() if key not in SPELLINGS}
    return {**kept, name: limit}


def limited(model: BaseChatModel, n: int) -> BaseChatModel:
    """The client itself: a call's limit wins over its own."""
    del n
    return model


def takes_limit(model: BaseChatModel) -> bool:
    """Whether the model's class has a name for it."""
    return _output_limit(type(model)) is not None


def _choices(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int:
    """How many answers are written and billed: `best_of` are written of which `n` are given (OpenAI's completions)."""
    given = [
        integer
        for name in ("n", "best_of")
        for integer in integers_in({name: kwargs.get(name, getattr(model, name, None))}, (name,))
    ]
    return max(1, *given) if given else 1


@cache
def _output_limit(client: type[BaseChatModel]) -> str | None:
    return next((name for name in OUTPUT_LIMITS if name in client.model_fields), None)


def writes_openly(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    """No: what an unknown provider bills for a stream that nobody reads is not known."""
    del model, kwargs
    return False


def hosted(model: BaseChatModel, kwargs: Mapping[str, Any]) -> tuple[HostedTool, ...]:
    """Gemini's. What other providers call tools of theirs is not known."""
    tools = kwargs.get("tools")
    if not tools:
        return ()
    ref = model_ref(model)
    return grounding(ref.model, tools) if "google" in ref.provider and "gemini" in ref.model else ()


def hosted_uses(message: BaseMessage) -> dict[str, int]:
    """What grounded an answer of Gemini's."""
    name = str(message.response_metadata.get("model_name", ""))
    return grounding_uses(message, name)


def with_hosted_uses(kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Nothing: no such limit is known."""
    del n
    return dict(kwargs)


def mark(
    model: BaseChatModel, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], plan: CachePlan
) -> tuple[list[BaseMessage], dict[str, Any]]:
    """Nothing: markers in a format that the provider does not know are errors."""
    del model, plan
    return list(messages), dict(kwargs)


def classify(error: BaseException) -> Failure:
    """By LangChain's classes of model errors, else by a status on the error or on its response."""
    code = type(error).__name__
    if isinstance(error, REFUSED + PASSING):
        passing = isinstance(error, PASSING)
        return Failure(rejected=isinstance(error, REFUSED), transient=passing, code=code, resent=passing)
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and 400 <= status < 600:
                return failure_by_status(status, code)
    broken = isinstance(error, (ConnectionError, TimeoutError))
    return Failure(rejected=False, transient=broken, code=code, resent=broken)


def finish(message: BaseMessage) -> Finish:
    """Why the answer ended, by the words that the known vendors use."""
    return finish_of(message)


def strip_foreign(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages with plain content: text, images, tool calls in `tool_calls`."""
    return without_foreign(messages, FAMILY)
