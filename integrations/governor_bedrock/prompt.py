"""Cache points of the Converse API: a block of its own after the content it closes, in system text, messages and tools.

Facts read in langchain-aws 1.9 (`_messages_to_bedrock`, `_upsert_tool_calls_to_bedrock_content`) and held by `tests/vendors`:

- In a tool's result the point is moved behind the `toolResult` block, where it belongs.
- Tool calls that content does not hold are added *after* it. An assistant message is marked with its tool calls written out first, so
  that the point closes them too; the client then takes their arguments from `tool_calls`.
- Consecutive messages of one kind are merged: two texts into one block with a line break, a text and a list into two blocks. Were one
  of them marked in this request and not in the next, its bytes would change and the prefix be lost. Texts in such runs are always sent
  as blocks.
- Claude refuses a point right after reasoning. Nova takes none in tools and none in turns with tool blocks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage

from governor.models import facts
from governor_bedrock.models import model_ref
from governor_langgraph.foreign import without_foreign
from governor_langgraph.marks import TOOLS, Mark, blocks_of, blocks_with, end_of_system, place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from governor.calls import CachePlan, Ttl
    from governor.models import ModelFacts

__all__ = ["mark", "strip_foreign"]

MARKED = frozenset({"cachePoint", "value"})
"""Keys of a block that may be, or carry, a marker of user code."""

REASONING = frozenset({"reasoning_content", "thinking", "redacted_thinking", "reasoning"})


def mark(
    model: BaseChatModel, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], plan: CachePlan
) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The request with the plan's cache points. Only marked messages and texts in runs are copied.

    Points of user code stay and use up slots. The `cache_control` argument goes when the plan places points: it would fill all four
    slots by itself, governor's notes included. Models without cache points are left alone.
    """
    shown, arguments = list(messages), dict(kwargs)
    known = facts(model_ref(model))
    placed = plan.tools or plan.system or plan.messages
    if known.cache != "explicit" or not (placed or plan.planned):
        return shown, arguments
    shown = _separated(shown)
    if not placed:
        return shown, arguments
    arguments.pop("cache_control", None)
    marks = place(
        plan,
        _existing(shown, arguments),
        system=end_of_system(shown),
        eligible=lambda at: at < len(shown) and _takes_point(shown, at, nova=known.family == "nova"),
    )
    for spot in marks:
        point = _point(spot.ttl, known)
        if spot.at != TOOLS:
            shown[spot.at] = _closed(shown[spot.at], point)
        elif known.cache_in_tools:
            arguments = _tools_closed(arguments, point)
    return shown, arguments


def strip_foreign(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages without what only other vendors accept."""
    return without_foreign(messages, "bedrock")


def _point(ttl: Ttl, known: ModelFacts) -> dict[str, Any]:
    """Five minutes is the default, and not every model accepts the field."""
    long = ttl == "1h" and known.cache_1h
    return {"cachePoint": {"type": "default", "ttl": "1h"} if long else {"type": "default"}}


def _closed(message: BaseMessage, point: dict[str, Any]) -> BaseMessage:
    """A copy of the message with the point behind everything it says."""
    blocks = blocks_of(message)
    if isinstance(message, AIMessage):
        present = {block.get("id") for block in blocks if block.get("type") in ("tool_use", "tool_call")}
        blocks += [
            {"type": "tool_use", "id": call["id"], "name": call["name"], "input": call["args"]}
            for call in message.tool_calls
            if call["id"] not in present
        ]
        if message.response_metadata.get("output_version") == "v1":
            point = {"type": "non_standard", "value": point}
    return message.model_copy(update={"content": [*blocks, point]})


def _takes_point(messages: Sequence[BaseMessage], at: int, *, nova: bool) -> bool:
    message = messages[at]
    if nova and (message.type not in ("human", "system") or (at > 0 and messages[at - 1].type == "tool")):
        return False  # a person's text after tool results joins their turn
    blocks = blocks_of(message)
    if message.type == "tool" or getattr(message, "tool_calls", None):
        return True
    return bool(blocks) and blocks[-1].get("type") not in REASONING and "reasoningContent" not in blocks[-1]


def _separated(messages: list[BaseMessage]) -> list[BaseMessage]:
    """Texts next to a message of the same kind become blocks, so that a marker beside them does not change their bytes."""
    kinds = [message.type for message in messages]
    twins = [at for at, (kind, following) in enumerate(pairwise(kinds)) if kind == following != "tool"]
    shown = list(messages)
    for at in {*twins, *(at + 1 for at in twins)}:
        content = shown[at].content
        if isinstance(content, str) and content.strip():
            shown[at] = shown[at].model_copy(update={"content": blocks_of(shown[at])})
    return shown


def _tools_closed(arguments: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the point after the last tool, wherever the client was given its tools."""
    config = cast("Mapping[str, Any] | None", arguments.get("toolConfig"))
    if config and config.get("tools"):
        return {**arguments, "toolConfig": {**config, "tools": [*config["tools"], point]}}
    if arguments.get("tools"):
        return {**arguments, "tools": [*arguments["tools"], point]}
    return arguments


def _existing(messages: Sequence[BaseMessage], arguments: Mapping[str, Any]) -> list[Mark]:
    """Points that user code placed."""
    config = cast("Mapping[str, Any]", arguments.get("toolConfig") or {})
    tools = cast("list[object]", [*(config.get("tools") or []), *(arguments.get("tools") or [])])
    places: list[tuple[int, object]] = [(TOOLS, tool) for tool in tools]
    places += blocks_with(messages, MARKED)
    return [Mark(at=at, ttl=ttl) for at, holder in places if (ttl := _ttl_of(holder)) is not None]


def _ttl_of(block: object) -> Ttl | None:
    """Lifetime of the block if it is a cache point."""
    fields = cast("dict[str, Any]", block) if isinstance(block, dict) else {}
    if fields.get("type") == "non_standard" and isinstance(fields.get("value"), dict):
        fields = cast("dict[str, Any]", fields["value"])
    point = fields.get("cachePoint")
    if not isinstance(point, dict):
        return None
    return "1h" if cast("dict[str, Any]", point).get("ttl") == "1h" else "5m"
