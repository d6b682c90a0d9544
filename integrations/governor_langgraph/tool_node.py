"""ToolNodes: a copy that puts each tool call through the path, outside of any wrapper that user code gave."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from governor_langgraph import innermost, tool_path
from governor_langgraph.answering import requested
from governor_langgraph.context import current_step
from governor_langgraph.judging import ajudge, asks, judge, judged_var
from governor_langgraph.langgraph_internals import (
    calls_in,
    own_functions,
    run_one,
    set_run_one,
    set_wrap_hooks,
    wrap_hooks,
)

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
    new = copy.copy(node)
    hook, ahook = wrap_hooks(node)
    set_wrap_hooks(new, _guarded(hook), _aguarded(ahook))
    set_run_one(new, _governed(new), _agoverned(new))
    new.func, new.afunc = _judged(new), _ajudged(new)  # or the copy would go on running the original's methods
    return new


def _governed(node: Any) -> Callable[..., Any]:
    """The node's own way of running one call, behind the path."""
    (plain, _), supplied = run_one(node), _supplied(node)

    def one(call: Any, input_type: Any, runtime: Any) -> Any:
        tool = node.tools_by_name.get(call["name"])
        return tool_path.wrap(
            call, lambda: plain(call, input_type, runtime), registered=tool is not None, supplied=supplied, tool=tool
        )

    return one


def _agoverned(node: Any) -> Callable[..., Any]:
    """The async twin of `_governed`."""
    (_, plain), supplied = run_one(node), _supplied(node)

    async def aone(call: Any, input_type: Any, runtime: Any) -> Any:
        tool = node.tools_by_name.get(call["name"])
        return await tool_path.awrap(
            call, lambda: plain(call, input_type, runtime), registered=tool is not None, supplied=supplied, tool=tool
        )

    return aone


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
    return wrap_hooks(node) != (None, None)


def _judged(node: Any) -> Callable[..., Any]:
    """The node's own function, once all of its calls are judged."""
    plain, _ = own_functions(node)

    def func(given: Any, **injected: Any) -> Any:
        step, calls = _together(node, given)
        token = judged_var.set(judge(step, calls) if step is not None else None)
        try:
            return plain(given, **injected)
        finally:
            judged_var.reset(token)

    return func


def _ajudged(node: Any) -> Callable[..., Any]:
    _, plain = own_functions(node)

    async def afunc(given: Any, **injected: Any) -> Any:
        step, calls = _together(node, given)
        token = judged_var.set(await ajudge(step, calls) if step is not None else None)
        try:
            return await plain(given, **injected)
        finally:
            judged_var.reset(token)

    return afunc


def _together(node: Any, given: Any) -> tuple[GovernedStep | None, list[ToolCall]]:
    """The calls that have to be judged before any of them runs, and the step they are made in; no step when there is no need."""
    step = current_step()
    if step is None or not asks(step):
        return None, []
    try:
        calls = calls_in(node, given)
    except ValueError:
        return None, []  # nothing to run: the node says so itself
    if len(calls) < 2:
        return None, []
    known, supplied = node.tools_by_name, _supplied(node)
    return step, [requested(step, call, registered=call["name"] in known, supplied=supplied) for call in calls]
