"""Reads a Messages body: its conversation for the scenario, its blocks for the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from governor_sandbox.anthropic import rules
from governor_sandbox.anthropic.shapes import Content, Count, Media, Messages, Text, Thinking, ToolResult, ToolUse, Turn
from governor_sandbox.attached import Attached, bytes_of, document
from governor_sandbox.catalogue import Finds, Model
from governor_sandbox.dialect import Target, deepest, limit_of
from governor_sandbox.errors import Rejection
from governor_sandbox.prompt import (
    Conversation,
    Message,
    PromptBuilder,
    Request,
    ToolCall,
    compact_json,
)
from governor_sandbox.prompt import ToolResult as Result


def parse(target: Target, body: Mapping[str, Any], catalogue: Finds) -> Request:
    """Validate as the API does and normalise.

    Raises:
        Rejection: In the API's words.
    """
    shape = Messages if target.operation == "complete" else Count
    try:
        asked = shape.model_validate(body)
    except ValidationError as error:
        raise Rejection("invalid", _explain(error)) from error
    spec = catalogue.find(asked.model, "anthropic")
    if spec is None:
        raise Rejection("not_found", f"model: {asked.model}")
    rules.check_conversation(asked)
    rules.check_tools(asked)
    builder = _blocks(asked, spec)
    rules.check_cache_points(builder, spec)
    prompt = builder.build(compact_json([asked.tool_choice, asked.thinking]))
    rules.check_limits(asked, spec, prompt.tokens)
    full = asked if isinstance(asked, Messages) else None
    user = full.metadata.user_id if full and full.metadata else None
    return Request(
        provider="anthropic",
        operation=target.operation,
        model=asked.model,
        spec=spec,
        conversation=_conversation(asked),
        prompt=prompt,
        max_tokens=limit_of(full.max_tokens if full else None, spec),
        stop=full.stop_sequences if full else (),
        stream=bool(full and full.stream),
        metadata={"user_id": user} if user else {},
    )


def _explain(error: ValidationError) -> str:
    _, message, path = deepest(error)
    return f"{'.'.join(map(str, path))}: {message}"


def _blocks(asked: Count, spec: Model) -> PromptBuilder:
    builder = PromptBuilder()
    for tool in asked.tools:
        builder.add("tools", "tool", compact_json(tool.model_dump(exclude={"cache_control"}, exclude_none=True)))
        if tool.cache_control:
            builder.mark(tool.cache_control.ttl)
    for block in _system(asked):
        builder.add("system", "text", block.text)
        if block.cache_control:
            builder.mark(block.cache_control.ttl)
    for turn in rules.merged(asked.messages):
        first = len(builder.blocks)
        for content in rules.blocks_of(turn):
            _add(builder, turn.role, content, spec)
        builder.charge_message(first)
    if asked.cache_control:
        builder.mark(asked.cache_control.ttl)
    return builder


def _system(asked: Count) -> tuple[Text, ...]:
    if isinstance(asked.system, str):
        return (Text(type="text", text=asked.system),) if asked.system else ()
    for block in asked.system:
        if not block.text:
            raise Rejection("invalid", "system: text content blocks must be non-empty")
    return asked.system


def _add(builder: PromptBuilder, role: str, block: Content, spec: Model) -> None:
    if isinstance(block, Text):
        builder.add("messages", role, block.text)
    elif isinstance(block, ToolUse):
        builder.add("messages", f"{role}/use/{block.id}", f"{block.name}{compact_json(block.input)}")
    elif isinstance(block, ToolResult):
        media = [part for part in block.content if isinstance(part, Media)]
        digest = compact_json([part.model_dump(exclude={"cache_control"}) for part in media]) if media else ""
        tag = f"{role}/result/{block.tool_use_id}/{bool(block.is_error)}/{digest}"
        billed = [_attached(part).billed(spec) for part in media]
        text = "\n".join([_result_text(block), *(text for text, _ in billed if text)])
        builder.add("messages", tag, text, overhead=sum(tokens for _, tokens in billed))
    elif isinstance(block, Thinking):
        builder.add("messages", f"{role}/thinking", block.thinking)
    elif isinstance(block, Media):
        identity = compact_json(block.model_dump(exclude={"cache_control"}))
        text, tokens = _attached(block).billed(spec)
        builder.add("messages", f"{role}/{identity}", text, overhead=tokens)
    else:
        builder.add("messages", f"{role}/redacted", block.data)
    control = getattr(block, "cache_control", None)
    if control is not None:
        builder.mark(control.ttl)


def _attached(media: Media) -> Attached:
    if media.type == "document":
        return document(media.source)
    if media.type == "search_result":
        return Attached(kind="document", text=compact_json([media.title, media.content]))
    return Attached(kind="image", raw=bytes_of(media.source))


def _result_text(block: ToolResult) -> str:
    if isinstance(block.content, str):
        return block.content
    return "\n".join(part.text for part in block.content if isinstance(part, Text))


def _conversation(asked: Count) -> Conversation:
    turns = rules.merged(asked.messages)
    names = {b.id: b.name for turn in turns for b in rules.blocks_of(turn) if isinstance(b, ToolUse)}
    return Conversation(
        provider="anthropic",
        model=asked.model,
        messages=tuple(_message(turn, names) for turn in turns),
        system="\n".join(block.text for block in _system(asked)),
        tools=tuple(tool.name for tool in asked.tools),
    )


def _message(turn: Turn, names: Mapping[str, str]) -> Message:
    blocks = rules.blocks_of(turn)
    results = [block for block in blocks if isinstance(block, ToolResult)]
    return Message(
        role="tool" if results else turn.role,
        text="\n".join(block.text for block in blocks if isinstance(block, Text)),
        tool_calls=tuple(ToolCall(id=b.id, name=b.name, args=b.input) for b in blocks if isinstance(b, ToolUse)),
        tool_results=tuple(
            Result(id=r.tool_use_id, name=names.get(r.tool_use_id, ""), text=_result_text(r), is_error=bool(r.is_error))
            for r in results
        ),
    )
