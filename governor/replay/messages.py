"""Recorded messages, OpenAI's and LangChain's, as values of the core.

Both are read from the JSON alone. What a field is not, it is not taken for: a message without a role that is known is an error that names
the field, never a guess.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from governor.calls import Message, ModelRef, ToolUse
from governor.replay.details import at_in, metadata_in, model_in, text_in, usage_in
from governor.replay.recorded import Called, Turn
from governor.tokens import estimate, estimate_message
from governor.usage import Usage

__all__ = ["Line", "NotAMessage", "is_message", "spoken", "turns_of"]

_ROLES = {
    **{"system": "system", "developer": "system", "user": "user", "human": "user"},
    **{"assistant": "assistant", "ai": "assistant", "tool": "tool", "function": "tool"},
    **{
        "AIMessageChunk": "assistant",
        "HumanMessageChunk": "user",
        "ToolMessageChunk": "tool",
        "SystemMessageChunk": "system",
    },
}
_NOT_SPOKEN = frozenset({"tool_use", "tool_call", "tool_call_chunk", "function_call", "toolUse", "input_json_delta"})
"""Blocks that repeat what `tool_calls` says already."""
_LARGEST_BLOCK = 1_600
"""Tokens that an image or another block without text is counted as at most: providers scale images down to about as much."""


class NotAMessage(ValueError):
    """What is wrong with a recorded message, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        """Keep both apart."""
        super().__init__(message)
        self.remedy = remedy


@dataclass(slots=True)
class Line:
    """One recorded message, before calls and results are brought together."""

    number: int
    message: Message
    model: ModelRef | None = None
    node: str = ""
    usage: Usage | None = None
    at_ms: int | None = None
    invalid: bool = False
    finish: str = ""
    raw: Mapping[str, str] = field(default_factory=dict[str, str])
    """Id of a call to its arguments as they stand, where they did not parse."""


def is_message(value: object) -> bool:
    """Whether a JSON value looks like a message: it has a role, or a type that LangChain writes."""
    if not isinstance(value, Mapping):
        return False
    row = cast("Mapping[str, Any]", value)
    return "role" in row or row.get("lc") == 1 or ("type" in row and ("data" in row or "content" in row))


def spoken(value: object, number: int, model: ModelRef | None = None) -> Line:
    """One message. `model` is its run's, for a message that names none. Raises NotAMessage."""
    if not isinstance(value, Mapping):
        raise NotAMessage(f"message {number} is {_kind(value)}, not an object", _REMEDY)
    outer = cast("Mapping[str, Any]", value)
    row = _inner(outer, number)
    role = _role(outer, row)
    if role is None:
        given = outer.get("role", row.get("type"))
        raise NotAMessage(f"message {number} has the role {given!r:.60}, which is not known", _REMEDY)
    text, opaque, blocks = _content(row.get("content"), number)
    uses, raw = _uses(row, number) if role == "assistant" else ((), {})
    said = metadata_in(row, "response_metadata")
    name = row.get("name")
    message = Message(
        key=f"m{number}",
        role=cast("Any", role),
        text=text,
        tokens=estimate_message(text, uses) + opaque,
        blocks=max(1, blocks),
        tool_uses=uses,
        answers=text_in(row.get("tool_call_id")) if role == "tool" else None,
        name=text_in(name) if role == "tool" else None,
        failed=role == "tool" and (row.get("status") == "error" or row.get("is_error") is True),
        opaque=opaque > 0,
    )
    return Line(
        number=number,
        message=message,
        model=model_in(row, said) or model,
        node=(text_in(name) or "") if role == "assistant" else "",
        usage=usage_in(row, said) if role == "assistant" else None,
        at_ms=at_in(row, said, outer),
        invalid=bool(raw),
        finish=str(said.get("finish_reason") or said.get("stop_reason") or row.get("finish_reason") or ""),
        raw=raw,
    )


def turns_of(lines: Sequence[Line]) -> Iterator[Message | Turn | str]:
    """What people said and each model call with its results, in order; a str is a remark about what is not used."""
    orphans = 0
    at = 0
    while at < len(lines):
        line = lines[at]
        before = lines[at - 1].at_ms if at else None
        at += 1
        if line.message.role != "assistant":
            orphans += line.message.role == "tool"
            yield line.message
            continue
        answers: list[Line] = []
        while at < len(lines) and lines[at].message.role == "tool":
            answers.append(lines[at])
            at += 1
        calls, unused = _brought_together(line, answers)
        orphans += unused
        yield Turn(
            number=line.number,
            message=line.message,
            calls=calls,
            answers=tuple(answer.message for answer in answers),
            model=line.model,
            node=line.node,
            usage=line.usage,
            at_ms=line.at_ms,
            before_ms=before,
            invalid=line.invalid,
            finish=line.finish,
        )
    if orphans:
        yield f"{orphans} tool result{'s answer' if orphans > 1 else ' answers'} no recorded call: part of the history, not judged."


def _brought_together(asked: Line, answers: Sequence[Line]) -> tuple[tuple[Called, ...], int]:
    """Each call of a turn with its result, by id, or by order where there are no ids; and how many results found no call."""
    left = list(answers)
    found: list[Called] = []
    for use in asked.message.tool_uses:
        match = next((each for each in left if each.message.answers == use.id and use.id), None)
        if match is None:
            match = next((each for each in left if not each.message.answers or not use.id), None)
        if match is not None:
            left.remove(match)
        args = (
            use if use.args is not None else ToolUse(id=use.id, name=use.name, args={"_raw": asked.raw.get(use.id, "")})
        )
        said = match.message if match else None
        found.append(
            Called(
                use=args,
                result=said.text if said else None,
                failed=said.failed if said else False,
                at_ms=match.at_ms if match else None,
            )
        )
    return tuple(found), len(left)


# --- fields


_REMEDY = (
    'Write {"role": "user" | "assistant" | "tool" | "system", "content": ...} as OpenAI does, or what '
    "`langchain_core.messages.messages_to_dict` gives."
)


def _kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, Mapping):
        return "an object"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a number"


def _inner(row: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """The fields of a message: its own, or those that LangChain puts under `data` (`messages_to_dict`) or `kwargs` (`dumpd`)."""
    for name, holds in (("data", "type" in row), ("kwargs", row.get("lc") == 1)):
        if holds and name in row and "role" not in row:
            inner = row[name]
            if not isinstance(inner, Mapping):
                raise NotAMessage(f"message {number} has {_kind(inner)} as its `{name}`, not an object", _REMEDY)
            return cast("Mapping[str, Any]", inner)
    return row


def _role(outer: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    given = outer.get("role")
    kind = (
        given
        if given is not None
        else row.get("type")
        if outer.get("type") in (None, "constructor")
        else outer.get("type")
    )
    if kind in ("chat", "ChatMessageChunk"):
        kind = row.get("role")
    return _ROLES.get(kind) if isinstance(kind, str) else None


def _content(content: object, number: int) -> tuple[str, int, int]:
    """Text, estimated tokens of what is not text, and the number of blocks."""
    if content is None or isinstance(content, str):
        return content or "", 0, 1
    if not isinstance(content, list):
        raise NotAMessage(
            f"message {number} has {_kind(content)} as its content", "Write text, or a list of content blocks."
        )
    texts: list[str] = []
    others = 0
    blocks = cast("list[object]", content)
    for block in blocks:
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(block, Mapping):
            each = cast("Mapping[str, Any]", block)
            if isinstance(each.get("text"), str):
                texts.append(each["text"])
            elif str(each.get("type")) not in _NOT_SPOKEN:
                others += min(_LARGEST_BLOCK, estimate(json.dumps(each, default=str)[: 8 * _LARGEST_BLOCK]))
        else:
            raise NotAMessage(
                f"message {number} has {_kind(block)} among its content blocks",
                "Write text, or an object with a `type`.",
            )
    return "\n".join(texts), others, len(blocks)


def _uses(row: Mapping[str, Any], number: int) -> tuple[tuple[ToolUse, ...], dict[str, str]]:
    """Tool calls, and the arguments of those that do not parse."""
    found: list[ToolUse] = []
    raw: dict[str, str] = {}
    for key in ("tool_calls", "invalid_tool_calls"):
        found += [_use(call, raw, number) for call in _listed(row, key, number)]
    legacy = row.get("function_call")
    if isinstance(legacy, Mapping):
        found.append(_use({"function": cast("Mapping[str, Any]", legacy)}, raw, number))
    return tuple(found), raw


def _listed(row: Mapping[str, Any], key: str, number: int) -> list[Any]:
    listed = row.get(key)
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise NotAMessage(f"message {number} has {_kind(listed)} as its `{key}`", "Write a list of tool calls.")
    return cast("list[Any]", listed)


def _use(call: object, raw: dict[str, str], number: int) -> ToolUse:
    if not isinstance(call, Mapping):
        raise NotAMessage(
            f"message {number} has {_kind(call)} among its tool calls", "Write an object with a name and arguments."
        )
    row = cast("Mapping[str, Any]", call)
    function = cast("Mapping[str, Any]", row["function"]) if isinstance(row.get("function"), Mapping) else row
    name, identifier = text_in(function.get("name")), text_in(row.get("id")) or ""
    if not name:
        raise NotAMessage(
            f"message {number} has a tool call without a name", "Write the tool's name in `function.name` or `name`."
        )
    given = function.get("args", function.get("arguments"))
    args = _args(given)
    if args is None:
        raw[identifier] = given if isinstance(given, str) else json.dumps(given, default=str)
    return ToolUse(id=identifier, name=name, args=args)


def _args(given: object) -> Mapping[str, object] | None:
    """Arguments as an object; None when they are none."""
    if given is None or given == "":
        return {}
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return None
    return cast("Mapping[str, object]", given) if isinstance(given, Mapping) else None
