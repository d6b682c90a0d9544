"""Reads a Converse body: its conversation for the scenario, its blocks for the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from governor_sandbox.attached import Attached, bytes_of, document
from governor_sandbox.bedrock import rules
from governor_sandbox.bedrock.shapes import Content, Converse, ToolResult, ToolResultContent, Turn
from governor_sandbox.catalogue import Finds, Model, is_foundation_model_id
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
    """Validate as the service does and normalise.

    Raises:
        Rejection: In the service's words.
    """
    model_id = target.model or ""
    spec = catalogue.find(model_id, "bedrock")
    if spec is None:
        raise Rejection("not_found", f"Could not resolve the foundation model from the model identifier: {model_id}")
    converse = _converse(target, body, model_id, spec)
    spec, invoked = _routed(spec, converse, catalogue)
    rules.check_conversation(converse)
    rules.check_tools(converse)
    builder = _blocks(converse, spec)
    in_tools = any(tool.cachePoint for tool in converse.toolConfig.tools) if converse.toolConfig else False
    rules.check_cache_points(builder, spec, in_tools)
    prompt = builder.build(_seam(converse))
    rules.check_limits(converse, spec, prompt.tokens)
    return Request(
        provider="bedrock",
        operation=target.operation,
        model=model_id,
        spec=spec,
        conversation=_conversation(converse, model_id),
        prompt=prompt,
        max_tokens=limit_of(converse.inferenceConfig.maxTokens, spec),
        stop=converse.inferenceConfig.stopSequences,
        stream=bool(target.stream),
        service_tier=converse.serviceTier.type if converse.serviceTier else None,
        invoked=invoked,
        metadata=converse.requestMetadata or {},
    )


HARD = 200
"""Characters of the last message from which on a prompt router takes the last of its models."""


def _routed(spec: Model, converse: Converse, catalogue: Finds) -> tuple[Model, str | None]:
    """The model that a prompt router chooses, with the ARN that its trace names; any other model itself."""
    if not spec.routes:
        return spec, None
    asked = "".join(block.text or "" for block in converse.messages[-1].content)
    chosen = spec.routes[-1] if len(asked) >= HARD else spec.routes[0]
    found = catalogue.find(chosen, "bedrock")
    if found is None:
        raise Rejection("invalid", f"The prompt router names a model that does not exist: {chosen}")
    own = ":foundation-model" if is_foundation_model_id(chosen) else "123456789012:inference-profile"
    return found, f"arn:aws:bedrock:us-east-1:{own}/{chosen}"


def _converse(target: Target, body: Mapping[str, Any], model_id: str, spec: Model) -> Converse:
    if target.operation == "count_tokens":
        if spec.cache != "claude" or not is_foundation_model_id(model_id):
            raise Rejection("invalid", "The provided model doesn't support counting tokens.")
        body = body.get("input", {}).get("converse") or {}
        if not body:
            raise Rejection("invalid", "input.converse: the sandbox counts Converse requests only")
    try:
        return Converse.model_validate(body)
    except ValidationError as error:
        raise Rejection("invalid", _explain(error)) from error


def _explain(error: ValidationError) -> str:
    kind, message, steps = deepest(error)
    path = ".".join(map(str, steps))
    if kind == "extra_forbidden":
        return f"The model returned the following errors: {path}: Extra inputs are not permitted"
    return f"1 validation error detected: Value at '{path}' failed to satisfy constraint: {message}"


def _seam(converse: Converse) -> str:
    """Changing the tool choice or the thinking settings invalidates the messages, but neither tools nor system."""
    choice = converse.toolConfig.toolChoice if converse.toolConfig else None
    fields = converse.additionalModelRequestFields or {}
    thinking = {name: fields[name] for name in ("thinking", "reasoningConfig") if name in fields}
    return compact_json([choice, thinking])


def _blocks(converse: Converse, spec: Model) -> PromptBuilder:
    builder = PromptBuilder()
    for tool in converse.toolConfig.tools if converse.toolConfig else ():
        if tool.cachePoint:
            builder.mark(tool.cachePoint.ttl)
        else:
            builder.add("tools", "tool", compact_json(tool.model_dump(exclude_none=True, by_alias=True)))
    for block in converse.system:
        if block.cachePoint:
            builder.mark(block.cachePoint.ttl)
        else:
            builder.add("system", "text", block.text or compact_json(block.guardContent))
    for turn in converse.messages:
        first = len(builder.blocks)
        for content in turn.content:
            _add(builder, turn.role, content, spec)
        builder.charge_message(first)
    return builder


def _add(builder: PromptBuilder, role: str, block: Content, spec: Model) -> None:
    if block.cachePoint:
        builder.mark(block.cachePoint.ttl)
    elif block.text is not None:
        builder.add("messages", role, block.text)
    elif block.toolUse:
        use = block.toolUse
        builder.add("messages", f"{role}/use/{use.toolUseId}", f"{use.name}{compact_json(use.input)}")
    elif block.toolResult:
        result = block.toolResult
        billed = [each.billed(spec) for item in result.content if (each := _attached(item, spec))]
        tokens = sum(tokens for _, tokens in billed)
        tag = f"{role}/result/{result.toolUseId}/{result.status}/{_digest(result, tokens)}"
        text = "\n".join([_result_text(result), *(text for text, _ in billed if text)])
        builder.add("messages", tag, text, overhead=tokens)
    elif block.reasoningContent and block.reasoningContent.reasoningText:
        builder.add("messages", f"{role}/reasoning", block.reasoningContent.reasoningText.text)
    elif attached := _attached(block, spec):
        text, tokens = attached.billed(spec)
        builder.add("messages", f"{role}/{block.model_dump_json(exclude_none=True)}", text, overhead=tokens)
    else:
        builder.add("messages", f"{role}/other", block.model_dump_json(exclude_none=True))


def _attached(block: Content | ToolResultContent, spec: Model) -> Attached | None:
    """Without citations Claude is given the text of a PDF alone (the vendor's page on PDF support)."""
    if block.document is not None:
        citations: dict[str, Any] = block.document.get("citations") or {}
        cited = bool(citations.get("enabled")) or spec.images == "nova"
        return document(block.document.get("source"), format_name=str(block.document.get("format", "")), seen=cited)
    for kind in ("image", "video", "audio"):
        held: dict[str, Any] | None = getattr(block, kind, None)
        if held is not None:
            return Attached(kind=kind, raw=bytes_of(held.get("source")))
    return None


def _digest(result: ToolResult, tokens: int) -> str:
    """Distinguishes results that differ only in their pictures."""
    return result.model_dump_json(exclude_none=True) if tokens else ""


def _result_text(result: ToolResult) -> str:
    parts: list[str] = []
    for item in result.content:
        if item.text is not None:
            parts.append(item.text)
        elif item.searchResult:
            parts.append(compact_json(item.searchResult))
        elif item.image is None and item.video is None and item.document is None:
            parts.append(compact_json(item.json_))
    return "\n".join(parts)


def _conversation(converse: Converse, model_id: str) -> Conversation:
    names = {b.toolUse.toolUseId: b.toolUse.name for turn in converse.messages for b in turn.content if b.toolUse}
    tools = converse.toolConfig.tools if converse.toolConfig else ()
    return Conversation(
        provider="bedrock",
        model=model_id,
        messages=tuple(_message(turn, names) for turn in converse.messages),
        system="\n".join(block.text for block in converse.system if block.text),
        tools=tuple(tool.toolSpec.name for tool in tools if tool.toolSpec),
    )


def _message(turn: Turn, names: Mapping[str, str]) -> Message:
    uses = [block.toolUse for block in turn.content if block.toolUse]
    results = [block.toolResult for block in turn.content if block.toolResult]
    return Message(
        role="tool" if results else turn.role,
        text="\n".join(block.text for block in turn.content if block.text is not None),
        tool_calls=tuple(ToolCall(id=use.toolUseId, name=use.name, args=use.input or {}) for use in uses),
        tool_results=tuple(
            Result(id=r.toolUseId, name=names.get(r.toolUseId, ""), text=_result_text(r), is_error=r.status == "error")
            for r in results
        ),
    )
