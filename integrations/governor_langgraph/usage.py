"""A chat model's reported usage in governor's one shape. What is read from it and how, `governor/reported.py` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor.reported import usage_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

    from governor.usage import Usage

__all__ = ["usage_of"]


def usage_of(message: BaseMessage | None, provider: str = "") -> Usage | None:
    """The usage a message reports, or None when it reports none (a broken-off stream, some proxies): never zero."""
    raw = getattr(message, "usage_metadata", None)
    return usage_in(cast("Mapping[str, Any]", raw), provider) if raw else None
