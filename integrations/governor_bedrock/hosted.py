"""Tools that Amazon Bedrock runs itself (Nova's grounding and code interpreter): what they cost is not known before they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor.fees import HostedTool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

__all__ = ["hosted", "hosted_uses", "with_hosted_uses"]


def hosted(model: BaseChatModel, kwargs: Mapping[str, Any]) -> tuple[HostedTool, ...]:
    """Converse's system tools, bound as tools or in a whole tool configuration. Their fees are not known here."""
    del model
    config = cast("Mapping[str, Any]", kwargs.get("toolConfig") or kwargs.get("tool_config") or {})
    tools = cast("Sequence[Any]", (*(kwargs.get("tools") or ()), *(config.get("tools") or ())))
    entries = [cast("Mapping[str, Any]", tool) for tool in tools if isinstance(tool, dict)]
    system = [cast("Mapping[str, Any]", entry["systemTool"]) for entry in entries if entry.get("systemTool")]
    return tuple(HostedTool(name=str(tool.get("name", "system tool")), fee=None) for tool in system)


def hosted_uses(message: BaseMessage) -> dict[str, int]:
    """None that have a known fee."""
    del message
    return {}


def with_hosted_uses(kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Nothing: Converse has no such limit."""
    del n
    return dict(kwargs)
