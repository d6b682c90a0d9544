"""What a tool says of itself: MCP's annotations, as the LangChain adapters pass them on in a tool's `metadata`.

They are hints by the tool's author and are only used against false alarms and for them, never to allow what a policy refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["read_only"]

_HINT = "readOnlyHint"


def read_only(tool: BaseTool | None) -> bool:
    """Whether the tool's annotations say that it changes nothing (`readOnlyHint`)."""
    metadata: Mapping[str, Any] = (tool.metadata if tool is not None else None) or {}
    if _HINT in metadata:
        return metadata[_HINT] is True
    nested = metadata.get("annotations")
    return isinstance(nested, Mapping) and cast("Mapping[str, Any]", nested).get(_HINT) is True
