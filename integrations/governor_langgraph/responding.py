"""A provider's answer in the core's words: what it says, what it used, who gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.globals import get_llm_cache
from langchain_core.messages import AIMessage

from governor.calls import ModelResponse
from governor.usage import Usage
from governor.values import maker
from governor_langgraph.messages import text_of, tool_uses_of
from governor_langgraph.usage import answered_in, served_in, usage_of
from governor_langgraph.vendors import vendor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

    from governor_langgraph.model_path import Outgoing

__all__ = ["completion_response", "response_of", "result_response"]

NOTHING: Mapping[str, str | int] = {}

_response = maker(ModelResponse)


def response_of(message: BaseMessage, out: Outgoing, source: object, *, provider: str) -> ModelResponse:
    """What an answer of `provider`'s says, in the core's words. `source` is handed back to user code untouched."""
    vendor, told = vendor_of(out.model), out.heard.told(message.response_metadata)
    uses = tool_uses_of(message)
    metadata = cast("Mapping[str, Any]", message.response_metadata)
    return _response(
        text=text_of(message),
        tool_uses=uses,
        usage=usage_of(message, provider),
        hosted_uses=vendor.hosted_uses(message),
        finish=vendor.finish(message),
        model=(told.model if told else None) or answered_in(metadata),
        served=served_in(metadata),
        cached=_from_cache(message, out.model) or (told is not None and told.cached),
        fell_back=told is not None and told.fell_back,
        told_cost=told.cost_nano_usd if told else None,
        gateway=told.facts if told else NOTHING,
        invalid=any(use.args is None for use in uses),
        source=source,
    )


def result_response(result: LLMResult, out: Outgoing, provider: str) -> ModelResponse:
    """What `generate` answered, in the core's words."""
    generations = result.generations[0] if result.generations else []
    message = getattr(generations[0], "message", None) if generations else None
    if message is None:
        return completion_response(result)
    return response_of(message, out, result, provider=provider)


def completion_response(result: LLMResult) -> ModelResponse:
    """What a completion model's answer says. Its tokens are in `llm_output`, where its client reports any."""
    output: Mapping[str, Any] = result.llm_output or {}
    counts: Mapping[str, Any] = output.get("token_usage") or {}
    usage = None
    if counts.get("prompt_tokens") is not None and counts.get("completion_tokens") is not None:
        usage = Usage(input=int(counts["prompt_tokens"]), output=int(counts["completion_tokens"]))
    texts = [generation.text for several in result.generations for generation in several]
    return ModelResponse(text="\n".join(texts), usage=usage, source=result)


def _from_cache(message: BaseMessage, model: BaseChatModel) -> bool:
    """Whether LangChain's own LLM cache answered: it alone writes a total cost of 0 into the usage."""
    if model.cache is False or (model.cache is None and get_llm_cache() is None) or not isinstance(message, AIMessage):
        return False
    usage = cast("Mapping[str, Any]", message.usage_metadata or {})
    return usage.get("total_cost") == 0
