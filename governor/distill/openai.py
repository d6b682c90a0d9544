"""OpenAI's chat format for supervised fine-tuning, with tools: one conversation a line.

Rules from OpenAI's OpenAPI document (`FineTuneChatRequestInput`: `messages`, `tools`, `parallel_tool_calls`; `weight` 0 or 1 on an
assistant's message; text or images only), its fine-tuning guide (at least 10 examples; a training example of at most 65,536 tokens for
gpt-4o and gpt-4.1 models; the last message is the assistant's) and its files endpoint (512 MB a file), and from its function calling
reference (names of 1-64 letters, digits, `_` and `-`; at most 128 tools; every tool call is answered before the conversation goes on).

All good answers of one node of a run are in one line: the others stand there as context, with weight 0. A line for each answer would
repeat the conversation before it, and every token of it is paid for in training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from governor.tokens import estimate

if TYPE_CHECKING:
    from governor.distill.dialogue import Dialogue, Said, Tool

__all__ = ["FORM", "LARGEST_FILE", "MOST", "MOST_TOKENS", "fewest", "record", "violations"]

FORM = "openai"
MOST = 1_000_000
"""Lines of one file: no limit is documented but the file's size."""
LARGEST_FILE = 512 << 20
MOST_TOKENS = 65_536
"""Of one line; what is beyond is cut off in training without a word."""
_FEWEST = 10
_MOST_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEYS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "weight"},
    "tool": {"role", "content", "tool_call_id"},
}


def fewest(split: str) -> int:
    """How many lines a file needs."""
    return _FEWEST if split == "train" else 1


def record(dialogue: Dialogue, steps: Sequence[int]) -> dict[str, Any]:
    """One line that trains these answers of a run: the conversation up to the last of them."""
    said = dialogue.until(max(steps))
    messages = [_message(each, trained=each.step in steps) for each in said if each.role != "system" or each.text]
    found: dict[str, Any] = {"messages": messages}
    if dialogue.tools:
        found["tools"] = [_tool(tool) for tool in dialogue.tools]
        found["parallel_tool_calls"] = any(len(each.asked) > 1 for each in said)
    return found


def _message(said: Said, *, trained: bool) -> dict[str, Any]:
    if said.role == "tool":
        return {"role": "tool", "tool_call_id": said.answers, "content": said.text}
    if said.role != "assistant":
        return {"role": said.role, "content": said.text}
    calls = [
        {
            "id": asked.id,
            "type": "function",
            "function": {"name": asked.name, "arguments": json.dumps(asked.args, ensure_ascii=False)},
        }
        for asked in said.asked
    ]
    text = said.text if said.text.strip() or not calls else None
    found: dict[str, Any] = {"role": "assistant", "content": text}
    return {**found, **({"tool_calls": calls} if calls else {}), "weight": int(trained)}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": {**function, "parameters": tool.parameters}}


# --- the rules


def violations(value: object) -> Iterator[str]:
    """What OpenAI would refuse of one line, or cut off, as sentences; none when it is right."""
    if not isinstance(value, Mapping):
        yield "a line is an object"
        return
    row = cast("Mapping[str, Any]", value)
    others = sorted(str(key) for key in row if key not in ("messages", "tools", "parallel_tool_calls"))
    if others:
        yield f"a line has no key {', '.join(others)}"
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "`messages` is a list of one or more messages"
        return
    listed = cast("list[object]", messages)
    wrong = next((number for number, each in enumerate(listed, 1) if not isinstance(each, Mapping)), None)
    if wrong is not None:
        yield f"message {wrong} is an object"
        return
    rows = cast("list[Mapping[str, Any]]", listed)
    offered = list(_tool_rules(row.get("tools", []), names := set[str]()))
    yield from offered
    for number, each in enumerate(rows, 1):
        yield from _message_rules(each, number, names)
    yield from _conversation_rules(rows)
    tokens = estimate(json.dumps(row, ensure_ascii=False))
    if tokens > MOST_TOKENS:
        yield f"a line has at most {MOST_TOKENS:,} tokens, and this has about {tokens:,}"


def _tool_rules(value: object, names: set[str]) -> Iterator[str]:
    tools = cast("list[object]", value) if isinstance(value, list) else None
    if tools is None or len(tools) > _MOST_TOOLS:
        yield f"`tools` is a list of at most {_MOST_TOOLS}"
        return
    for number, each in enumerate(tools, 1):
        row = _object(each)
        given = row.get("function")
        function = _object(given)
        name = function.get("name")
        if row.get("type") != "function" or not isinstance(function.get("parameters", {}), Mapping):
            yield f"tool {number} is a function whose parameters are a JSON schema"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"tool {number} has a name of 1-64 letters, digits, `_` and `-`"
        elif name in names:
            yield f"tool {number} has a name of its own: {name} is there twice"
        else:
            names.add(name)


def _message_rules(row: Mapping[str, Any], number: int, names: set[str]) -> Iterator[str]:
    role = str(row.get("role"))
    if role not in _KEYS:
        yield f"message {number} has the role system, user, assistant or tool"
        return
    others = sorted(str(key) for key in row if key not in _KEYS[role])
    if others:
        yield f"message {number} has no key {', '.join(others)}"
    content, calls = row.get("content"), row.get("tool_calls")
    if not isinstance(content, str) and not (role == "assistant" and content is None and calls):
        yield f"message {number} has text as its content"
    elif role in ("user", "assistant") and not (content or "").strip() and not calls:
        yield f"message {number} has content that is not empty"
    if row.get("weight", 1) not in (0, 1):
        yield f"message {number} has the weight 0 or 1"
    if calls is not None:
        yield from _call_rules(calls, number, names)


def _call_rules(value: object, number: int, names: set[str]) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"message {number} has one or more tool calls in `tool_calls`"
        return
    for each in cast("list[object]", value):
        call = _object(each)
        given = call.get("function")
        function = _object(given)
        if call.get("type") != "function" or not isinstance(call.get("id"), str) or not call["id"]:
            yield f"message {number} has tool calls with an id and the type function"
        if function.get("name") not in names:
            yield f"message {number} calls only tools that `tools` offers, not {function.get('name')}"
        if not _is_object(function.get("arguments")):
            yield f"message {number} has tool calls whose arguments are an object as JSON text"


def _object(value: object) -> Mapping[str, Any]:
    """An object, or an empty one in the place of what is none."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _is_object(value: object) -> bool:
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except ValueError:
        return False


def _conversation_rules(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if rows[-1].get("role") != "assistant":
        yield "the last message is the assistant's"
    if not any(each.get("role") == "assistant" and each.get("weight", 1) for each in rows):
        yield "some answer has the weight 1"
    waiting: list[str] = []
    for number, each in enumerate(rows, 1):
        if each.get("role") == "tool":
            answered = str(each.get("tool_call_id"))
            if answered in waiting:
                waiting.remove(answered)
            else:
                yield f"message {number} answers a call of the message before it, which {answered} is not"
            continue
        if waiting:
            yield f"the calls before message {number} are answered: {', '.join(waiting)} is not"
        calls = each.get("tool_calls")
        waiting = [str(_object(call).get("id")) for call in cast("list[Any]", calls)] if isinstance(calls, list) else []
