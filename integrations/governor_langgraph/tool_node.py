"""ToolNodes: a copy whose wrap hooks put each tool call through the path, outside of any wrapper that user code gave."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from governor_langgraph import tool_path
from governor_langgraph.turns import Turns, turns_var

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langgraph.prebuilt import ToolNode

__all__ = ["governed_tool_node"]


def governed_tool_node(node: ToolNode) -> ToolNode:
    """A governed copy. Injected state, `ToolRuntime`, `Command` results and error handling stay LangGraph's own."""
    new = cast("Any", copy.copy(node))
    inner, ainner = new._wrap_tool_call, new._awrap_tool_call  # noqa: SLF001 - ToolNode has no public way; a contract test watches
    new._wrap_tool_call = _wrapped(inner)  # noqa: SLF001
    new._awrap_tool_call = _awrapped(inner, ainner)  # noqa: SLF001
    new.func, new.afunc = _in_turn(new), _ain_turn(new)  # or the copy would go on running the original's methods
    return new


def _in_turn(node: Any) -> Callable[..., Any]:
    """The node's own function, with an order among its calls for asking a person."""

    def func(given: Any, **injected: Any) -> Any:
        token = turns_var.set(_turns(node, given))
        try:
            return node._func(given, **injected)  # noqa: SLF001 - what RunnableCallable calls
        finally:
            turns_var.reset(token)

    return func


def _ain_turn(node: Any) -> Callable[..., Any]:
    async def afunc(given: Any, **injected: Any) -> Any:
        token = turns_var.set(_turns(node, given))
        try:
            return await node._afunc(given, **injected)  # noqa: SLF001 - same
        finally:
            turns_var.reset(token)

    return afunc


def _turns(node: Any, given: Any) -> Turns | None:
    try:
        calls, _ = node._parse_input(given)  # noqa: SLF001 - the order that LangGraph will run them in
    except ValueError:
        return None  # nothing to run: the node says so itself
    return Turns([call["id"] or "" for call in calls]) if len(calls) > 1 else None


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
