"""A chat model's reported usage in governor's one shape: `governor.reported` says how its mapping is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor.reported import usage_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

    from governor.usage import Usage

__all__ = ["answered_in", "served_in", "usage_of"]


def usage_of(message: BaseMessage | None, provider: str = "") -> Usage | None:
    """The usage a message reports, or None when it reports none (a broken-off stream, some proxies): never zero."""
    raw = getattr(message, "usage_metadata", None)
    return usage_in(cast("Mapping[str, Any]", raw), provider) if raw else None


def answered_in(metadata: Mapping[str, Any]) -> str | None:
    """The model that an answer's metadata names: a prompt router's word for the one that it invoked, else the provider's.

    AWS, API reference of Amazon Bedrock, `PromptRouterTrace.invokedModelId`: the ARN of a foundation model or of an inference profile.
    """
    trace: object = metadata.get("trace")
    router: object = cast("Mapping[str, Any]", trace).get("promptRouter") if isinstance(trace, dict) else None
    invoked = cast("Mapping[str, Any]", router).get("invokedModelId") if isinstance(router, dict) else None
    answered = invoked or metadata.get("model_name") or metadata.get("model") or metadata.get("model_id")
    return str(answered) if answered else None


def served_in(metadata: Mapping[str, Any]) -> str:
    """The class of service that an answer's metadata names: OpenAI's `service_tier`, Bedrock's `serviceTier`; empty when it names none."""
    named = metadata.get("service_tier") or metadata.get("serviceTier") or ""
    return str(cast("Mapping[str, Any]", named).get("type") or "") if isinstance(named, dict) else str(named)
