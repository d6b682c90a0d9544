"""ToolNodes: a copy that puts each tool call through the path, outside of any wrapper that user code gave."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from governor_langgraph import innermost, tool_path
from governor_langgraph.answering import requested
from governor_langgraph.context import current_step
from governor_langgraph.judging import ajudge, asks, judge, judged_var

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langgraph.prebuilt import ToolNode

    from governor.calls import ToolCall
    from governor_langgraph.context import GovernedStep

__all__ = ["governed_tool_node"]


def governed_tool_node(node: ToolNode) -> ToolNode:
    """A governed copy. Injected state, `ToolRuntime`, `Command` results and error handling stay LangGraph's own.

    Governed is what runs one call, wrappers of the user's included. A wrap hook would not do: its presence alone makes ToolNode handle
    errors (a store that is missing) which it raises otherwise.
    """
    new = cast("Any", copy.copy(node))
    new._wrap_tool_call = _guarded(new._wrap_tool_call)  # noqa: SLF001 - as below
    new._awrap_tool_call = _aguarded(new._awrap_tool_call)  # noqa: SLF001 - as below
    new._run_one = _governed(new)  # noqa: SLF001 - ToolNode has no public way to do this; test_conformance_findings watches
    new._arun_one = _agoverned(new)  # noqa: SLF001 - same
    new.func, new.afunc = _judged(new), _ajudged(new)  # or the copy would go on running the original's methods
    return new


def _governed(node: Any) -> Callable[..., Any]:
    """The node's own way of running one call, behind the path."""
    plain, supplied = node._run_one, _supplied(node)  # noqa: SLF001 - as above

    def run_one(call: Any, input_type: Any, runtime: Any) -> Any:
        registered = call["name"] in node.tools_by_name
        return tool_path.wrap(call, lambda: plain(call, input_type, runtime), registered=registered, supplied=supplied)

    return run_one


def _agoverned(node: Any) -> Callable[..., Any]:
    """The async twin of `_governed`."""
    plain, supplied = node._arun_one, _supplied(node)  # noqa: SLF001 - as above

    async def arun_one(call: Any, input_type: Any, runtime: Any) -> Any:
        registered = call["name"] in node.tools_by_name
        return await tool_path.awrap(
            call, lambda: plain(call, input_type, runtime), registered=registered, supplied=supplied
        )

    return arun_one


def _guarded(hook: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any] | None:
    """The user's hook, which is told when it runs a call once too often or as another one. None stays None."""
    if hook is None:
        return None
    return lambda request, execute: hook(request, innermost.guarded(request, execute))


def _aguarded(hook: Callable[[Any, Any], Awaitable[Any]] | None) -> Callable[[Any, Any], Awaitable[Any]] | None:
    """The async twin of `_guarded`."""
    if hook is None:
        return None
    return lambda request, execute: hook(request, innermost.aguarded(request, execute))


def _supplied(node: Any) -> bool:
    """Whether user code is around the tools, which may bring some that the node has not registered."""
    return node._wrap_tool_call is not None or node._awrap_tool_call is not None  # noqa: SLF001 - as above


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
    known, supplied = node.tools_by_name, _supplied(node)
    return step, [requested(step, call, registered=call["name"] in known, supplied=supplied) for call in calls]
