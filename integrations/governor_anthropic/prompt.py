"""Cache breakpoints of the Messages API: `cache_control` on the last block of a message, of the system text, on the last tool.

Facts read in langchain-anthropic 1.7 (`_merge_messages`, `_format_messages`) and held by `tests/vendors`:

- In a tool's result a `cache_control` on a content block is hoisted onto the `tool_result` block.
- On a `tool_use` block it is dropped, because the client rebuilds those blocks from `tool_calls`. An assistant message can only be
  marked on a text before its tool calls; one without text hands its marker to the message before it.
- Thinking blocks and blank text must not be marked; the API refuses both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor_langgraph.foreign import without_foreign
from governor_langgraph.marks import TOOLS, Mark, blocks_of, blocks_with, end_of_system, place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from governor.calls import CachePlan, Ttl

__all__ = ["mark", "strip_foreign"]

MARKED = frozenset({"cache_control", "extras"})
"""Keys of a block that may be, or carry, a marker of user code."""

MARKABLE = frozenset({"text", "image", "image_url", "document", "file", "tool_result", "search_result"})


def mark(
    model: BaseChatModel, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], plan: CachePlan
) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The request with the plan's breakpoints. Only marked messages are copied; those that user code marked stay and use up slots.

    The top-level `cache_control` argument goes when the plan places markers: it would mark whatever comes last, governor's notes included.
    """
    del model
    shown, arguments = list(messages), dict(kwargs)
    if not (plan.tools or plan.system or plan.messages):
        return shown, arguments
    arguments.pop("cache_control", None)
    tools = cast("list[Any]", arguments.get("tools") or [])
    marks = place(
        plan,
        _existing(shown, tools),
        system=end_of_system(shown),
        eligible=lambda at: at < len(shown) and _last_markable(shown[at], blocks_of(shown[at])) is not None,
    )
    for spot in marks:
        if spot.at != TOOLS:
            shown[spot.at] = _marked(shown[spot.at], spot.ttl)
        elif tools and isinstance(tools[-1], dict):
            arguments["tools"] = [
                *tools[:-1],
                {**cast("dict[str, Any]", tools[-1]), "cache_control": _control(spot.ttl)},
            ]
    return shown, arguments


def strip_foreign(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages without what only other vendors accept."""
    return without_foreign(messages, "anthropic")


def _control(ttl: Ttl) -> dict[str, str]:
    """Five minutes is the default and needs no beta anywhere, so it is not spelled out."""
    return {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}


def _marked(message: BaseMessage, ttl: Ttl) -> BaseMessage:
    blocks = blocks_of(message)
    last = _last_markable(message, blocks)
    if last is None:
        return message
    blocks[last] = {**blocks[last], "cache_control": _control(ttl)}
    return message.model_copy(update={"content": blocks})


def _last_markable(message: BaseMessage, blocks: list[dict[str, Any]]) -> int | None:
    """Index of the block that can carry the marker: the last one, or in an assistant message the last before its tool calls."""
    del message
    return next((at for at in range(len(blocks) - 1, -1, -1) if blocks[at].get("type") in MARKABLE), None)


def _existing(messages: Sequence[BaseMessage], tools: Sequence[Any]) -> list[Mark]:
    """Breakpoints that user code placed."""
    places: list[tuple[int, object]] = [(TOOLS, _control_of(tool)) for tool in tools]
    places += [(at, _control_of(block)) for at, block in blocks_with(messages, MARKED)]
    return [
        Mark(at=at, ttl="1h" if cast("Mapping[str, Any]", control).get("ttl") == "1h" else "5m")
        for at, control in places
        if isinstance(control, dict)
    ]


def _control_of(block: object) -> object:
    if not isinstance(block, dict):
        return None
    fields = cast("dict[str, Any]", block)
    extras = fields.get("extras")
    return fields.get("cache_control") or (
        cast("dict[str, Any]", extras).get("cache_control") if isinstance(extras, dict) else None
    )
