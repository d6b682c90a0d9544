"""Tool calls of another vendor's model in a form that every vendor accepts: ids of plain characters, arguments that are an object."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set

    from langchain_core.messages import BaseMessage

__all__ = ["with_sound_calls"]

SOUND = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What all accept as the id of a tool call: Anthropic's and Converse's characters, and the shortest maximum, OpenAI's."""

UNREADABLE = "[A tool call whose arguments could not be read.]"
"""What stands for an answer that held nothing else: no vendor takes an empty one."""


def with_sound_calls(messages: Sequence[BaseMessage], mine: Callable[[BaseMessage], bool]) -> list[BaseMessage]:
    """The messages with calls and results renamed alike; `mine` are those of the vendor itself, whose calls it accepts as they are.

    A call whose arguments did not parse stays, with their text as its one argument, if a result answers it; else it goes, because each
    call needs an answer. Unchanged messages are the same objects.
    """
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    names = _names(messages, mine)
    return [
        _sound(message, names, answered) if not mine(message) or _open(message, answered) else message
        for message in messages
    ]


def _open(message: BaseMessage, answered: Set[str]) -> bool:
    """Whether it holds an unreadable call that nothing answers: another vendor let that pass, and its own client would send it."""
    return any(call["id"] not in answered for call in getattr(message, "invalid_tool_calls", ()))


def _names(messages: Sequence[BaseMessage], mine: Callable[[BaseMessage], bool]) -> dict[str, str]:
    """Unsound ids to sound ones. An id always gets the same name, so that a prompt's prefix does not change between calls."""
    kept, unsound = set[str](), set[str]()
    for message in messages:
        if isinstance(message, AIMessage):
            calls = [*message.tool_calls, *message.invalid_tool_calls]
            ids = {call["id"] for call in calls if call["id"] is not None}
            if mine(message):
                kept |= ids
            else:
                unsound |= {each for each in ids if not SOUND.fullmatch(each)}
    return {each: f"call_{hashlib.sha256(each.encode()).hexdigest()[:24]}" for each in unsound - kept}


def _sound(message: BaseMessage, names: Mapping[str, str], answered: Set[str]) -> BaseMessage:
    if isinstance(message, ToolMessage):
        name = names.get(message.tool_call_id)
        return message if name is None else message.model_copy(update={"tool_call_id": name})
    if not isinstance(message, AIMessage):
        return message
    unsound = any(call["id"] in names for call in message.tool_calls)
    if not unsound and not message.invalid_tool_calls:
        return message
    calls: list[dict[str, Any]] = [dict(call) for call in message.tool_calls]
    calls += [
        {
            "type": "tool_call",
            "name": call["name"] or "unknown",
            "args": {"arguments": call["args"] or ""},
            "id": call["id"],
        }
        for call in message.invalid_tool_calls
        if call["id"] in answered
    ]
    changes: dict[str, Any] = {
        "tool_calls": [{**call, "id": names.get(call["id"], call["id"])} for call in calls],
        "invalid_tool_calls": [],
        "content": _renamed(message.content, names),
        "additional_kwargs": {key: value for key, value in message.additional_kwargs.items() if key != "tool_calls"},
    }
    if not calls and not str(message.text):
        changes["content"] = UNREADABLE
    return message.model_copy(update=changes)


def _renamed(content: Any, names: Mapping[str, str]) -> Any:
    """Content whose blocks name the calls that they repeat."""
    if isinstance(content, str):
        return content
    return [
        {**block, "id": names[block["id"]]} if isinstance(block, dict) and block.get("id") in names else block
        for block in cast("list[str | dict[str, Any]]", content)
    ]
