"""Reads a chat completion body: its conversation for the scenario, its blocks for the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError

from governor_sandbox.attached import Attached, bytes_of
from governor_sandbox.catalogue import Finds, Model
from governor_sandbox.dialect import Target, deepest, limit_of
from governor_sandbox.errors import Rejection
from governor_sandbox.openai import rules
from governor_sandbox.openai.shapes import Call, ChatCompletion, Part
from governor_sandbox.openai.shapes import Message as Wire
from governor_sandbox.prompt import (
    Conversation,
    Message,
    PromptBuilder,
    Request,
    ToolCall,
    ToolResult,
    compact_json,
)


def parse(target: Target, body: Mapping[str, Any], catalogue: Finds) -> Request:
    """Validate as the API does and normalise.

    Raises:
        Rejection: In the API's words.
    """
    try:
        asked = ChatCompletion.model_validate(body)
    except ValidationError as error:
        raise _explained(error) from error
    spec = catalogue.find(asked.model, "openai")
    if spec is None:
        message = f"The model `{asked.model}` does not exist or you do not have access to it."
        raise Rejection("not_found", message, code="model_not_found")
    rules.check_options(asked)
    rules.check_conversation(asked.messages)
    prompt = _blocks(asked, spec).build()
    rules.check_limits(asked, spec, prompt.tokens)
    stop = (asked.stop,) if isinstance(asked.stop, str) else asked.stop or ()
    return Request(
        provider="openai",
        operation=target.operation,
        model=asked.model,
        spec=spec,
        conversation=_conversation(asked),
        prompt=prompt,
        max_tokens=limit_of(asked.max_completion_tokens or asked.max_tokens, spec),
        stop=stop,
        stream=bool(asked.stream),
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        service_tier=asked.service_tier,
        metadata=asked.metadata or {},
    )


def _explained(error: ValidationError) -> Rejection:
    kind, message, steps = deepest(error)
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in steps).lstrip(".")
    if kind == "extra_forbidden":
        return Rejection("invalid", f"Unknown parameter: '{path}'.", param=path, code="unknown_parameter")
    if kind == "missing":
        return Rejection(
            "invalid", f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter"
        )
    return Rejection("invalid", f"Invalid value for '{path}': {message}", param=path, code="invalid_value")


def _blocks(asked: ChatCompletion, spec: Model) -> PromptBuilder:
    builder = PromptBuilder()
    for tool in asked.tools or ():
        builder.add("tools", "tool", compact_json(tool.function.model_dump(exclude_none=True)))
    for message in asked.messages:
        first = len(builder.blocks)
        parts = _media(message)
        billed = [_attached(part).billed(spec) for part in parts]
        identity = compact_json([part.model_dump(exclude_none=True) for part in parts]) if parts else ""
        tag = f"{message.role}/{message.name or ''}/{message.tool_call_id or ''}/{identity}"
        text = "\n".join([_text(message), *(text for text, _ in billed if text)])
        builder.add("messages", tag, text, overhead=sum(tokens for _, tokens in billed))
        for call in message.tool_calls or ():
            builder.add("messages", f"call/{call.id}", f"{call.function.name}{call.function.arguments}")
        builder.charge_message(first)
    return builder


def _text(message: Wire) -> str:
    if isinstance(message.content, tuple):
        spoken = [part for part in message.content if part.type in ("text", "refusal")]
        return "\n".join(part.text or part.refusal or "" for part in spoken)
    return message.content or ""


def _media(message: Wire) -> list[Part]:
    if not isinstance(message.content, tuple):
        return []
    return [part for part in message.content if part.type not in ("text", "refusal")]


def _attached(part: Part) -> Attached:
    if part.type == "image_url":
        image = part.image_url or {}
        given = str(image.get("url", ""))
        raw = bytes_of(given) if given.startswith("data:") else None
        return Attached(kind="image", raw=raw, detail=str(image.get("detail", "")))
    if part.type == "input_audio":
        return Attached(kind="audio", raw=bytes_of((part.input_audio or {}).get("data")))
    raw, header = bytes_of((part.file or {}).get("file_data")), str((part.file or {}).get("file_data", ""))[:40]
    text = raw.decode("utf-8", "replace") if raw is not None and header.startswith("data:text/") else None
    return Attached(kind="document", raw=raw, text=text)


def _conversation(asked: ChatCompletion) -> Conversation:
    names = {call.id: call.function.name for message in asked.messages for call in message.tool_calls or ()}
    system = [_text(message) for message in asked.messages if message.role in ("system", "developer")]
    talk = [message for message in asked.messages if message.role not in ("system", "developer")]
    return Conversation(
        provider="openai",
        model=asked.model,
        messages=tuple(_turns(talk, names)) or (Message(role="user"),),
        system="\n".join(system),
        tools=tuple(tool.function.name for tool in asked.tools or ()),
    )


def _turns(talk: Sequence[Wire], names: Mapping[str, str]) -> list[Message]:
    """One turn per message, but consecutive tool messages are one turn, as with the other providers."""
    turns: list[Message] = []
    for message in talk:
        if message.role == "tool":
            call_id = message.tool_call_id or ""
            result = ToolResult(id=call_id, name=names.get(call_id, ""), text=_text(message))
            earlier = turns.pop().tool_results if turns and turns[-1].role == "tool" else ()
            turns.append(Message(role="tool", tool_results=(*earlier, result)))
        else:
            role = "assistant" if message.role == "assistant" else "user"
            calls = tuple(_call(call) for call in message.tool_calls or ())
            turns.append(Message(role=role, text=_text(message), tool_calls=calls))
    return turns


def _call(call: Call) -> ToolCall:
    """A model's arguments need not be valid JSON; then the rule sees none."""
    try:
        args: Any = json.loads(call.function.arguments or "{}")
    except ValueError:
        args = None
    known = cast("dict[str, Any]", args) if isinstance(args, dict) else {}
    return ToolCall(id=call.id, name=call.function.name, args=known)
