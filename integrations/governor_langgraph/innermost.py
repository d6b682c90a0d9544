"""Right before the tool: what the user's own wrap hooks made of a call that governor had judged.

A hook may change the arguments, or run the tool again (a retry). Changed arguments are judged like a call of their own, and an approval
is for one attempt: a second one could do twice what a person allowed once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.messages import ToolMessage

from governor.approving import changed_tool
from governor.controls.access.wording import told
from governor_langgraph.answering import requested
from governor_langgraph.approval import asked, asked_async
from governor_langgraph.context import current_step, executing
from governor_langgraph.judging import policies, seen_by

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langgraph.prebuilt.tool_node import ToolCallRequest

    from governor.calls import ToolCall

__all__ = ["aguarded", "guarded"]


def guarded(given: ToolCallRequest, execute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`execute` for a user's hook around the call `given`."""

    def run(request: ToolCallRequest) -> Any:
        refusal = _once_more(request)
        if refusal is not None:
            return refusal
        call = _changed(given, request)
        if call is None:
            return execute(request)
        for step in policies(current_step()):
            governor, mine = step.run.governor, seen_by(step, call)
            flow = changed_tool(mine, governor.controls)
            result = governor.drive(flow, step.span, partial(asked, governor.policy.policy))
            if result is not None:
                return _answer(call, result.text)
        return execute(request)

    return run


def aguarded(given: ToolCallRequest, execute: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """The async twin of `guarded`."""

    async def run(request: ToolCallRequest) -> Any:
        refusal = _once_more(request)
        if refusal is not None:
            return refusal
        call = _changed(given, request)
        if call is None:
            return await execute(request)
        for step in policies(current_step()):
            governor, mine = step.run.governor, seen_by(step, call)
            flow = changed_tool(mine, governor.controls)
            result = await governor.drive_async(flow, step.span, partial(asked_async, governor.policy.policy))
            if result is not None:
                return _answer(call, result.text)
        return await execute(request)

    return run


def _once_more(request: ToolCallRequest) -> ToolMessage | None:
    """Count an attempt; the answer to one more than a person approved."""
    execution = executing.get()
    if execution is None:
        return None
    execution.attempts += 1
    if not execution.once or execution.attempts == 1:
        return None
    call = request.tool_call
    text = told(call["name"], "access.approval_used", "tools", None)
    return ToolMessage(content=text, name=call["name"], tool_call_id=call["id"] or "", status="error")


def _changed(given: ToolCallRequest, request: ToolCallRequest) -> ToolCall | None:
    """The call with what a hook made of it; None when it is the one that was judged."""
    step, before, now = current_step(), given.tool_call, request.tool_call
    if step is None or (now["name"], now["args"]) == (before["name"], before["args"]):
        return None
    return requested(step, request.tool_call, registered=request.tool is not None, supplied=True)


def _answer(call: ToolCall, text: str) -> ToolMessage:
    return ToolMessage(content=text, name=call.name, tool_call_id=call.id, status="error")
