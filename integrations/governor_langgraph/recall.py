"""The recall tool: how a model reads on where a long tool result was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.tools import BaseTool, StructuredTool

from governor.calls import ToolResult
from governor.controls.compact import place_of
from governor_langgraph.context import current_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    from governor.runtime import Runtime
    from governor_langgraph.context import GovernedStep

__all__ = ["RECALL", "addition", "can_answer", "read", "recall_tool", "tool_name"]

RECALL = "recall"
"""Name of the tool. A graph that has a tool of this name of its own keeps it, and its results are not cut."""
UNKNOWN = "Nothing is kept under that handle. Use the handle exactly as it stands in the shortened result."

DESCRIPTION = "Reads cut text."
"""Short, and one argument without a remark: it is paid for with every call, also of runs in which nothing is ever shortened (47 tokens; in
a short chat each ten are a thousandth of the bill). How to call the tool stands in every note."""


def read(runtime: Runtime, run: str, args: Mapping[str, object]) -> ToolResult:
    """Answer a recall call from the store."""
    handle, start = place_of(str(args.get("handle", "")))
    return _page(runtime, runtime.store.recall(run, handle), handle, start)


async def aread(runtime: Runtime, run: str, args: Mapping[str, object]) -> ToolResult:
    """The async twin of `read`."""
    handle, start = place_of(str(args.get("handle", "")))
    return _page(runtime, await runtime.store.arecall(run, handle), handle, start)


def _page(runtime: Runtime, text: str | None, handle: str, start: int) -> ToolResult:
    if text is None:
        return ToolResult(text=UNKNOWN, failed=True)
    return ToolResult(text=runtime.controls.compact.recall_page(text, start, handle=handle))


def _recall(handle: str = "") -> str:
    step = current_step()
    if step is None:
        return UNKNOWN
    return read(step.run.governor.runtime, step.run.ref.id, {"handle": handle}).text


recall_tool: BaseTool = StructuredTool(
    name=RECALL,
    description=DESCRIPTION,
    args_schema={"type": "object", "properties": {"handle": {"type": "string"}}},
    func=_recall,
)
"""The tool itself, for `GovernorMiddleware`; elsewhere the governed ToolNode answers by the name."""


def addition(step: GovernedStep, model: BaseChatModel, tools: Sequence[Any]) -> dict[str, Any] | None:
    """The recall tool to be offered beside `tools`; None when it cannot or need not be.

    Offered from the first turn on, since a tool that appears later would break the cached prefix.
    """
    if not step.recall or not tools or any(tool_name(item) == RECALL for item in tools):
        return None
    return _described(model)


def can_answer(step: GovernedStep, tools: Sequence[Any]) -> bool:
    """Whether a recall call of a model that is offered `tools` would be answered by governor, so that results may be cut."""
    return step.run.governor.caps_results and any(tool_name(item) == RECALL and _is_ours(item) for item in tools)


def tool_name(item: Any) -> str:
    """Name of a bound tool in any provider's form; empty when it has none (server-side tools name a type)."""
    if not isinstance(item, dict):
        return str(getattr(item, "name", ""))
    fields = cast("dict[str, Any]", item)
    for place in ("function", "toolSpec"):
        if isinstance(fields.get(place), dict):
            return str(fields[place].get("name", ""))
    return str(fields.get("name", ""))


def _is_ours(item: Any) -> bool:
    return DESCRIPTION in str(item)


def _described(model: BaseChatModel) -> dict[str, Any] | None:
    """The recall tool in the form that this model's class binds; None when the class cannot bind tools."""
    try:
        bound = cast("Any", model.bind_tools([recall_tool]))
        return bound.kwargs["tools"][0]
    except (NotImplementedError, KeyError, IndexError, AttributeError, TypeError):
        return None
