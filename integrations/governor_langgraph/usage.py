"""A chat model's reported usage in governor's one shape: `governor.reported` says how its mapping is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor.reported import usage_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

    from governor.usage import Usage

__all__ = ["served_in", "usage_of"]


def usage_of(message: BaseMessage | None, provider: str = "") -> Usage | None:
    """The usage a message reports, or None when it reports none (a broken-off stream, some proxies): never zero."""
    raw = getattr(message, "usage_metadata", None)
    return usage_in(cast("Mapping[str, Any]", raw), provider) if raw else None


def served_in(metadata: Mapping[str, Any]) -> str:
    """The class of service that an answer's metadata names: OpenAI's `service_tier`, Bedrock's `serviceTier`; empty when it names none."""
    named = metadata.get("service_tier") or metadata.get("serviceTier") or ""
    return str(cast("Mapping[str, Any]", named).get("type") or "") if isinstance(named, dict) else str(named)
