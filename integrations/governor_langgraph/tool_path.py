"""The way of one tool call: through the path, then through ToolNode or the tool itself.

A call that the policy refuses is answered, so that every tool call of the model keeps its answer; a stop of the run is answered too and
the graph drained behind it, so that no state is saved with an open tool call. Code that calls a tool without a tool call's id has no
model to answer and gets the exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import ToolMessage
from langgraph.errors import GraphBubbleUp, GraphDrained
from langgraph.types import Command
from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN

from governor.calls import ToolCall, ToolResult
from governor.decisions import Reason
from governor.effects import Approve, InvokeTool
from governor.errors import CallDenied, Refused, RunStopped
from governor.pipeline import tool_call
from governor.values import maker
from governor_langgraph import recall
from governor_langgraph.annotations import read_only
from governor_langgraph.answering import answered, requested
from governor_langgraph.approval import answer_to
from governor_langgraph.context import Execution, current_span, current_step, executing, tool_taken
from governor_langgraph.judging import judged_var, judgement, seen_by
from governor_langgraph.langgraph_internals import visible_args
from governor_langgraph.messages import text_of
from governor_langgraph.stops import GovernorStop, stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import TracebackType

    from langchain_core.tools import BaseTool
    from opentelemetry.trace import Span

    from governor_langgraph.context import GovernedStep
    from governor_langgraph.judging import Judged

__all__ = ["arun", "awrap", "run", "wrap"]

_given = maker(ToolResult)


# --- the path, around whatever runs the tool --------------------------------------------------------------------------


def governed(
    step: GovernedStep,
    call: ToolCall,
    execute: Callable[[], Any],
    judged: Judged | None = None,
    *,
    passed: bool = False,
) -> ToolResult:
    """One governed tool call. `execute` runs the tool once; an outer governor's policy applies inside of this one's.

    `passed`: the call came through the outer policy already, before it reached this one.
    """
    governor, outer = step.run.governor, None if passed else step.outer
    with _Spanned(step, call) as span:

        def invoke(effect: InvokeTool | Approve) -> ToolResult | bool:
            if isinstance(effect, Approve):
                return answer_to(effect, governor.policy.policy)
            if _recalls(step, call):
                return recall.read(governor.runtime, step.run.ref.id, call.args)
            with _Executing(effect, call, span):
                if outer is None:
                    return _result(execute(), call.id)
                with _Outer(outer):
                    return governed(outer, seen_by(outer, call), execute, judged)

        return governor.drive(tool_call(call, governor.controls, judgement(judged, call)), span, invoke)


async def agoverned(
    step: GovernedStep,
    call: ToolCall,
    execute: Callable[[], Awaitable[Any]],
    judged: Judged | None = None,
    *,
    passed: bool = False,
) -> ToolResult:
    """The async twin of `governed`."""
    governor, outer = step.run.governor, None if passed else step.outer
    with _Spanned(step, call) as span:

        async def invoke(effect: InvokeTool | Approve) -> ToolResult | bool:
            if isinstance(effect, Approve):
                return answer_to(effect, governor.policy.policy)
            if _recalls(step, call):
                return await recall.aread(governor.runtime, step.run.ref.id, call.args)
            with _Executing(effect, call, span):
                if outer is None:
                    return _result(await execute(), call.id)
                with _Outer(outer):
                    return await agoverned(outer, seen_by(outer, call), execute, judged)

        return await governor.drive_async(tool_call(call, governor.controls, judgement(judged, call)), span, invoke)


class _Spanned:
    """The span of a tool call, for the length of a `with` block."""

    __slots__ = ("call", "span", "step")

    def __init__(self, step: GovernedStep, call: ToolCall) -> None:
        self.step = step
        self.call = call
        self.span: Span = INVALID_SPAN

    def __enter__(self) -> Span:
        step = self.step
        if step.otel is not None:
            self.span = step.run.governor.runtime.telemetry.tool(self.call, step.otel)
        return self.span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        expected = isinstance(error, (GraphBubbleUp, Refused))
        self.step.run.governor.runtime.telemetry.end(self.span, error, expected=expected)


class _Executing:
    """Marks the call as taken, for the hook on the tool itself. An interrupt before the tool's work costs nothing."""

    __slots__ = ("_execution", "_span", "_taken", "call", "meter", "once", "span")

    def __init__(self, effect: InvokeTool, call: ToolCall, span: Span) -> None:
        self.meter = effect.meter
        self.once = effect.once
        self.call = call
        self.span = span

    def __enter__(self) -> None:
        self._taken = tool_taken.set(self.call.id or self.call.name)
        self._execution = executing.set(Execution(self.once))
        self._span = current_span(self.span)
        self.meter.dispatched = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.meter.broke = isinstance(error, Exception) and not isinstance(error, (GraphBubbleUp, Refused))
        if isinstance(error, (GraphBubbleUp, Refused)):
            self.meter.rejected = not isinstance(
                error, GovernorStop
            )  # that comes from inside of the tool, which had begun
        if self._span is not None:
            otel_context.detach(self._span)
        executing.reset(self._execution)
        tool_taken.reset(self._taken)


class _Outer:
    """Says of an outer policy's stop whose run it ends, before the inner policy takes it for its own."""

    __slots__ = ("step",)

    def __init__(self, step: GovernedStep) -> None:
        self.step = step

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, RunStopped) and not isinstance(error, GovernorStop):
            raise GovernorStop(error.reason, self.step.run, begun=False) from error


def _recalls(step: GovernedStep, call: ToolCall) -> bool:
    return call.name == recall.RECALL and not call.known and step.recall


# --- ToolNode ---------------------------------------------------------------------------------------------------------


def wrap(
    asked: Mapping[str, Any],
    execute: Callable[[], Any],
    *,
    registered: bool,
    supplied: bool,
    passed: bool = False,
    tool: BaseTool | None = None,
) -> Any:
    """One call of a ToolNode, governed. Outside of governed runs it just executes.

    `registered`, `supplied` and `tool` as in `requested`, `passed` as in `governed`.
    """
    step = current_step()
    if step is None:
        return execute()
    call = requested(step, asked, registered=registered, supplied=supplied, tool=tool)
    try:
        result = governed(step, call, execute, judged_var.get(), passed=passed)
    except (Refused, GraphDrained) as refused:
        return answered(step, call, refused)
    return execute() if _made_up(call, result) else _message(call, result)


async def awrap(
    asked: Mapping[str, Any],
    execute: Callable[[], Awaitable[Any]],
    *,
    registered: bool,
    supplied: bool,
    passed: bool = False,
    tool: BaseTool | None = None,
) -> Any:
    """The async twin of `wrap`."""
    step = current_step()
    if step is None:
        return await execute()
    call = requested(step, asked, registered=registered, supplied=supplied, tool=tool)
    try:
        result = await agoverned(step, call, execute, judged_var.get(), passed=passed)
    except (Refused, GraphDrained) as refused:
        return answered(step, call, refused)
    return await execute() if _made_up(call, result) else _message(call, result)


def _made_up(call: ToolCall, result: ToolResult) -> bool:
    """Whether the call was refused because nobody has such a tool: LangGraph, which runs nothing then, says so as it always does."""
    return result.synthetic and not call.known and call.name != recall.RECALL


def _message(call: ToolCall, result: ToolResult) -> Any:
    """What ToolNode gets: the tool's own answer untouched, or governor's in its place."""
    if result.source is not None:
        return result.source
    status = "error" if result.failed else "success"
    return ToolMessage(content=result.text, name=call.name, tool_call_id=call.id, status=status)


def _result(answer: Any, identifier: str) -> ToolResult:
    """What a tool gave back, in the core's words."""
    text = text_of(answer) if isinstance(answer, ToolMessage) else "\n".join(_texts(answer, identifier))
    return _given(text=text, failed=getattr(answer, "status", None) == "error", source=answer)


def _texts(answer: Any, identifier: str) -> Iterator[str]:
    if isinstance(answer, ToolMessage):
        yield text_of(answer)
    elif isinstance(answer, Command):
        update = cast("Any", answer).update
        messages: Any = cast("Mapping[str, Any]", update).get("messages", []) if isinstance(update, dict) else []
        listed = cast("list[Any]", messages if isinstance(messages, list) else [messages])
        # A handoff passes the whole conversation on: what came of this call is the message that answers it.
        own = [each for each in listed if isinstance(each, ToolMessage) and each.tool_call_id == identifier]
        for message in own or listed:
            yield from _texts(message, identifier)
    elif isinstance(answer, list):
        for each in cast("list[Any]", answer):
            yield from _texts(each, identifier)
    elif answer is not None:
        yield str(answer)


# --- tools that node code calls itself --------------------------------------------------------------------------------


def run(tool: BaseTool, given: Any, args: tuple[Any, ...], kwargs: dict[str, Any], original: Callable[..., Any]) -> Any:
    """`BaseTool.run`, governed unless ToolNode took the call. Raises CallDenied when there is no model to tell."""
    step = current_step()
    identifier = kwargs.get("tool_call_id")
    if step is None or _is_taken(tool, identifier):
        with _Untaken():
            return original(tool, given, *args, **kwargs)
    call = _direct(step, tool, given, identifier)

    def execute() -> Any:
        with _Untaken():
            return original(tool, given, *args, **kwargs)

    try:
        return _value(call, governed(step, call, execute), identifier)
    except (RunStopped, GraphDrained) as refused:
        if identifier is not None:
            return answered(step, call, refused)
        if isinstance(refused, GraphBubbleUp):
            raise
        stop(step, refused.reason)


async def arun(
    tool: BaseTool, given: Any, args: tuple[Any, ...], kwargs: dict[str, Any], original: Callable[..., Awaitable[Any]]
) -> Any:
    """`BaseTool.arun`, governed likewise."""
    step = current_step()
    identifier = kwargs.get("tool_call_id")
    if step is None or _is_taken(tool, identifier):
        with _Untaken():
            return await original(tool, given, *args, **kwargs)
    call = _direct(step, tool, given, identifier)

    async def execute() -> Any:
        with _Untaken():
            return await original(tool, given, *args, **kwargs)

    try:
        return _value(call, await agoverned(step, call, execute), identifier)
    except (RunStopped, GraphDrained) as refused:
        if identifier is not None:
            return answered(step, call, refused)
        if isinstance(refused, GraphBubbleUp):
            raise
        stop(step, refused.reason)


def _is_taken(tool: BaseTool, identifier: str | None) -> bool:
    return tool_taken.get() is not None and tool_taken.get() in (identifier, tool.name)


class _Untaken:
    """The body of a tool: tools that it calls are calls of their own."""

    __slots__ = ("_taken",)

    def __enter__(self) -> None:
        self._taken = tool_taken.set(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tool_taken.reset(self._taken)


def _direct(step: GovernedStep, tool: BaseTool, given: Any, identifier: str | None) -> ToolCall:
    # Without an id the call gets one that is the same when the step runs again: questions about it are answered by their order.
    fields = cast("dict[str, Any]", given) if isinstance(given, dict) else {"input": given}
    args = visible_args(tool, fields) if isinstance(given, dict) else fields
    given_id = identifier or f"{step.ref.ns}#{next(step.calls)}"
    return ToolCall(step=step.ref, name=tool.name, args=args, id=given_id, read_only=read_only(tool))


def _value(call: ToolCall, result: ToolResult, identifier: str | None) -> Any:
    if result.synthetic and identifier is None:
        reason = Reason(code="tool.refused", rule=call.name, text=result.text)
        raise CallDenied(reason, policy_hash=call.step.run.policy_hash)
    return result.source if not result.synthetic else _message(call, result)
