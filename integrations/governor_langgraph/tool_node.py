"""ToolNodes: a copy whose wrap hooks put each tool call through the path, outside of any wrapper that user code gave."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from governor_langgraph import tool_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langgraph.prebuilt import ToolNode

__all__ = ["governed_tool_node"]

Execute = "Callable[[Any], Any]"


def governed_tool_node(node: ToolNode) -> ToolNode:
    """A governed copy. Injected state, `ToolRuntime`, `Command` results and error handling stay LangGraph's own."""
    new = cast("Any", copy.copy(node))
    inner, ainner = new._wrap_tool_call, new._awrap_tool_call  # noqa: SLF001 - ToolNode has no public way; a contract test watches
    new._wrap_tool_call = _wrapped(inner)  # noqa: SLF001
    new._awrap_tool_call = _awrapped(inner, ainner)  # noqa: SLF001
    new.func, new.afunc = new._func, new._afunc  # noqa: SLF001 - or the copy would go on running the original's methods
    return new


def _wrapped(inner: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any]:
    if inner is None:
        return tool_path.wrap
    return lambda request, execute: tool_path.wrap(request, lambda changed: inner(changed, execute))


def _awrapped(
    inner: Callable[[Any, Any], Any] | None, ainner: Callable[[Any, Any], Awaitable[Any]] | None
) -> Callable[[Any, Any], Awaitable[Any]] | None:
    if ainner is not None:
        return lambda request, execute: tool_path.awrap(request, lambda changed: ainner(changed, execute))
    if inner is not None:
        return None  # ToolNode then runs the sync wrapper, ours with it, on the async path too
    return tool_path.awrap
