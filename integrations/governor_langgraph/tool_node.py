"""ToolNodes: a copy whose wrap hooks put each tool call through the path, outside of any wrapper that user code gave."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from governor.calls import ToolCall
from governor_langgraph import innermost, tool_path
from governor_langgraph.context import current_step
from governor_langgraph.judging import ajudge, asks, judge, judged_var

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langgraph.prebuilt import ToolNode
    from langgraph.prebuilt.tool_node import ToolCallRequest

    from governor_langgraph.context import GovernedStep

__all__ = ["governed_tool_node"]


def governed_tool_node(node: ToolNode) -> ToolNode:
    """A governed copy. Injected state, `ToolRuntime`, `Command` results and error handling stay LangGraph's own."""
    new = cast("Any", copy.copy(node))
    inner, ainner = new._wrap_tool_call, new._awrap_tool_call  # noqa: SLF001 - ToolNode has no public way; a contract test watches
    new._wrap_tool_call = _wrapped(inner)  # noqa: SLF001
    new._awrap_tool_call = _awrapped(inner, ainner)  # noqa: SLF001
    new.func, new.afunc = _judged(new), _ajudged(new)  # or the copy would go on running the original's methods
    return new


def _judged(node: Any) -> Callable[..., Any]:
    """The node's own function, once all of its calls are judged."""

    def func(given: Any, **injected: Any) -> Any:
        step, calls = _together(node, given)
        token = judged_var.set(judge(step, calls) if step is not None else None)
        try:
            return node._func(given, **injected)  # noqa: SLF001 - what RunnableCallable calls
        finally:
            judged_var.reset(token)

    return func


def _ajudged(node: Any) -> Callable[..., Any]:
    async def afunc(given: Any, **injected: Any) -> Any:
        step, calls = _together(node, given)
        token = judged_var.set(await ajudge(step, calls) if step is not None else None)
        try:
            return await node._afunc(given, **injected)  # noqa: SLF001 - same
        finally:
            judged_var.reset(token)

    return afunc


def _together(node: Any, given: Any) -> tuple[GovernedStep | None, list[ToolCall]]:
    """The calls that have to be judged before any of them runs, and the step they are made in; no step when there is no need."""
    step = current_step()
    if step is None or not asks(step):
        return None, []
    try:
        calls, _ = node._parse_input(given)  # noqa: SLF001 - what LangGraph is about to run, in its order
    except ValueError:
        return None, []  # nothing to run: the node says so itself
    if len(calls) < 2:
        return None, []
    known = node.tools_by_name
    return step, [
        ToolCall(step=step.ref, name=call["name"], args=call["args"], id=call["id"] or "", known=call["name"] in known)
        for call in calls
    ]


def _wrapped(inner: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any]:
    if inner is None:
        return tool_path.wrap

    def wrapped(request: ToolCallRequest, execute: Callable[[Any], Any]) -> Any:
        once = innermost.guarded(request, execute)
        return tool_path.wrap(request, lambda changed: inner(changed, once))

    return wrapped


def _awrapped(
    inner: Callable[[Any, Any], Any] | None, ainner: Callable[[Any, Any], Awaitable[Any]] | None
) -> Callable[[Any, Any], Awaitable[Any]] | None:
    if ainner is None:
        return (
            None if inner is not None else tool_path.awrap
        )  # ToolNode then runs the sync wrapper, ours with it, async too

    async def wrapped(request: ToolCallRequest, execute: Callable[[Any], Awaitable[Any]]) -> Any:
        once = innermost.aguarded(request, execute)
        return await tool_path.awrap(request, lambda changed: ainner(changed, once))

    return wrapped
