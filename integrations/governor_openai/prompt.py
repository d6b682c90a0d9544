"""OpenAI caches by itself; what helps is a key that sends requests with the same prefix to the same machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor_langgraph.foreign import without_foreign
from governor_openai.models import PROVIDERS, model_ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from governor.calls import CachePlan

__all__ = ["mark", "strip_foreign"]


def mark(
    model: BaseChatModel, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], plan: CachePlan
) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The request with `prompt_cache_key`, unless user code set one. Compatible providers do not get it: some refuse unknown fields.

    Positions in the plan are left alone. Explicit breakpoints exist since gpt-5.6, but their writes are billed and the automatic cache's
    are not.
    """
    arguments = dict(kwargs)
    if plan.key and model_ref(model).provider in PROVIDERS:
        arguments.setdefault("prompt_cache_key", plan.key)
    return list(messages), arguments


def strip_foreign(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages without what only other vendors accept."""
    return without_foreign(messages, "openai")
