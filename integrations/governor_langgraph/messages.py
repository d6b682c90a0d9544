"""Messages of LangChain as values of the core, and views of the core as messages again."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from governor.calls import Message, ToolUse
from governor.tokens import estimate_message
from governor.values import maker
from governor_langgraph.blocks import Read, read_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.calls import Role, View

    Placed = tuple[object, str, BaseMessage]
    """Source, text and the copy of the source with that text."""

__all__ = ["convert", "key_of", "render", "shown", "text_of", "tool_uses_of"]

_message, _tool_use = maker(Message), maker(ToolUse)

_TEXT_ALONE = Read(0, ())
PIN = "governor_pin"
"""True under this name in a message's `additional_kwargs` keeps it, whatever is cut. No provider's client sends it."""
CALL_TYPES = frozenset({"tool_use", "tool_call", "tool_call_chunk", "function_call", "toolUse", "input_json_delta"})
"""Blocks that repeat what `tool_calls` already says."""
CHAT_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "assistant": "assistant", "tool": "tool"}


def convert(source: object) -> Message:
    """A LangChain message in the core's words. Its id is its key; without one, a digest of what it says."""
    message: BaseMessage = cast("Any", source)
    content: str | list[Any] = message.content
    text, role = text_of(message), _role(message)
    uses = tool_uses_of(message) if role == "assistant" else ()
    others, blocks, said = _beside(message), 1 + len(uses), text
    if not isinstance(content, str):
        others += [block for block in content if not _says_nothing_new(block)]
        blocks = max(1, len(content))
    elif others and role == "tool":
        said = ""
    read = read_blocks(others) if others else _TEXT_ALONE
    tool = message if role == "tool" and isinstance(message, ToolMessage) else None
    return _message(
        key=message.id or _digest(message, text, uses),
        role=role,
        text=text,
        tokens=estimate_message(said, uses) + read.tokens,
        blocks=blocks,
        tool_uses=uses,
        answers=tool.tool_call_id if tool else None,
        name=tool.name if tool else None,
        failed=tool is not None and tool.status == "error",
        opaque=bool(others),
        media=read.media,
        pinned=bool(message.additional_kwargs) and message.additional_kwargs.get(PIN) is True,
        source=message,
    )


def key_of(source: object) -> str:
    """The key that `convert` gives a message, without reading what it holds."""
    message: BaseMessage = cast("Any", source)
    return message.id or _digest(message, text_of(message), tool_uses_of(message))


def render(message: Message) -> BaseMessage:
    """The message to send: the graph's own object, or a copy with the shortened text. The graph's own is never changed."""
    source = cast("BaseMessage", message.source)
    return source.model_copy(update={"content": message.text}) if message.edited else source


def shown(view: View, rendered: Sequence[object], placed: dict[str, Placed] | None = None) -> list[BaseMessage]:
    """The messages of a view, without its notes. `rendered` is in step with the view's history.

    `placed` remembers the messages with placeholders by key, so that each is made once.
    """
    count = len(view.history.messages)
    own = cast("Sequence[BaseMessage]", rendered)
    if view.altered:
        own = list(own[:count])
        for position in view.altered:
            own[position] = _placed(view.history.messages[position], {} if placed is None else placed)
    if not view.cut:
        return list(own[:count])
    inserted = [HumanMessage(content=message.text) for message in view.inserted]
    return [*(own[position] for position in view.pinned), *inserted, *own[view.start : count]]


def _placed(message: Message, placed: dict[str, Placed]) -> BaseMessage:
    known = placed.get(message.key)
    if known is None or known[0] is not message.source or known[1] != message.text:
        known = placed[message.key] = message.source, message.text, render(message)
    return known[2]


def text_of(message: BaseMessage) -> str:
    """All text of a message. Most have nothing else, and need no accessor of LangChain's to say so."""
    content: str | list[Any] = message.content
    return content if isinstance(content, str) else str(message.text)


def tool_uses_of(message: BaseMessage) -> tuple[ToolUse, ...]:
    """Tool calls of an answer. Those whose arguments did not parse have `args` None."""
    if _role(message) != "assistant" or not isinstance(message, AIMessage):
        return ()
    uses = [_tool_use(id=call["id"] or "", name=call["name"], args=call["args"]) for call in message.tool_calls]
    for call in message.invalid_tool_calls:
        uses.append(ToolUse(id=call.get("id") or "", name=call.get("name") or "", args=None))  # noqa: PERF401 - mostly none
    return tuple(uses)


def _role(message: BaseMessage) -> Role:
    return _role_of(type(message)) or CHAT_ROLES.get(cast("ChatMessage", message).role, "user")


@functools.cache
def _role_of(kind: type[BaseMessage]) -> Role | None:
    """The role of a class of messages, None for the one whose messages name theirs.

    Remembered by class: message classes are pydantic's, whose type checks are slow.
    """
    if issubclass(kind, ChatMessage):
        return None
    if issubclass(kind, SystemMessage):
        return "system"
    if issubclass(kind, AIMessage):
        return "assistant"
    return "tool" if issubclass(kind, (ToolMessage, FunctionMessage)) else "user"


def _says_nothing_new(block: object) -> bool:
    """Whether a content block is text or a repetition of a tool call, both of which are read elsewhere."""
    if isinstance(block, str):
        return True
    kind = cast("Mapping[str, Any]", block).get("type") if isinstance(block, dict) else None
    return kind in CALL_TYPES or kind == "text"


def _beside(message: BaseMessage) -> list[Any]:
    """What OpenAI's client sends besides the content of a message: an answer that was spoken, and a screenshot in place of a result."""
    beside = message.additional_kwargs
    if not beside:
        return []
    if beside.get("audio") and isinstance(message, AIMessage):
        return [{"type": "input_audio", "input_audio": beside["audio"]}]
    if beside.get("type") == "computer_call_output" and isinstance(message.content, str):
        return [{"type": "input_image", "image_url": message.content}]
    return []


def _digest(message: BaseMessage, text: str, uses: tuple[ToolUse, ...]) -> str:
    calls = [(use.id, use.name, use.args) for use in uses]
    answers = getattr(message, "tool_call_id", None)
    content = text if isinstance(message.content, str) else json.dumps(message.content, default=str)
    said = json.dumps([message.type, content, calls, answers], default=str, ensure_ascii=False)
    return "d-" + hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
