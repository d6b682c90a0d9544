"""The recall tool: how a model reads on where a long tool result was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.tools import BaseTool, tool

from governor.calls import ToolResult
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

DESCRIPTION = "Read the rest of a shortened tool result."
"""Short: it is paid for with every call, also of runs in which nothing is ever shortened. How to call the tool stands in every note."""


def read(runtime: Runtime, run: str, args: Mapping[str, object]) -> ToolResult:
    """Answer a recall call from the store."""
    return _page(runtime, runtime.store.recall(run, str(args.get("handle", ""))), args)


async def aread(runtime: Runtime, run: str, args: Mapping[str, object]) -> ToolResult:
    """The async twin of `read`."""
    return _page(runtime, await runtime.store.arecall(run, str(args.get("handle", ""))), args)


def _page(runtime: Runtime, text: str | None, args: Mapping[str, object]) -> ToolResult:
    if text is None:
        return ToolResult(text=UNKNOWN, failed=True)
    offset = args.get("offset", 0)
    start = offset if isinstance(offset, int) and offset >= 0 else 0
    return ToolResult(text=runtime.controls.compact.recall_page(text, start))


@tool(RECALL, description=DESCRIPTION)
def _recall(handle: str, offset: int = 0) -> str:
    step = current_step()
    if step is None:
        return UNKNOWN
    return read(step.run.governor.runtime, step.run.ref.id, {"handle": handle, "offset": offset}).text


recall_tool: BaseTool = _recall
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
