"""Taking out of a history what only the vendor that made it accepts, for a tier of another family.

Signed reasoning, cache markers, server tools and tool calls repeated inside content lists make another vendor refuse the request, or are
dropped by its client in ways that differ from version to version. What every vendor understands stays: text, images and files in the
forms that LangChain converts, and tool calls (they are in `tool_calls`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor_langgraph.documents import is_native, plain_block, plain_document
from governor_langgraph.foreign_calls import with_sound_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

__all__ = ["FAMILIES", "made_elsewhere", "without_foreign"]

FAMILIES = {
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "amazon_bedrock": "bedrock",
    "openai": "openai",
    "azure": "openai",
    "azure_openai": "openai",
}
"""`model_provider`, as clients write it into an answer's metadata, to the family that made the answer."""

REASONING = {
    "thinking": "anthropic",
    "redacted_thinking": "anthropic",
    "reasoning_content": "bedrock",
    "reasoning": "openai",
}
"""Type of reasoning block to the family whose client writes it. Another family's never carries over: it is signed or encrypted."""

REPEATED = frozenset(
    {"tool_use", "tool_call", "tool_call_chunk", "function_call", "input_json_delta", "invalid_tool_call"}
)
"""Blocks that repeat a tool call: clients add what is in `tool_calls` themselves."""

MARKERS = {"cache_control": "anthropic", "prompt_cache_breakpoint": "openai"}
"""Keys on blocks that mark a cached prefix, and whose they are."""

PLAIN = frozenset(
    {"text", "image", "image_url", "file", "audio", "input_audio", "video", "video_url", "document", "tool_result"}
)
"""Types that clients of every family convert."""


def without_foreign(messages: Sequence[BaseMessage], family: str) -> list[BaseMessage]:
    """Copies without foreign content where there was any; all other messages are the same objects. Idempotent."""
    sound = with_sound_calls(messages, lambda message: _maker(message) == family)
    return [_cleaned(message, family) for message in sound]


def made_elsewhere(messages: Sequence[BaseMessage], family: str) -> bool:
    """Whether a model of another family wrote one of the messages: a tier that answered earlier on."""
    return any(_maker(message) not in (None, family) for message in messages)


def _maker(message: BaseMessage) -> str | None:
    """The family whose model wrote the message; None when none did, or none is named."""
    provider = message.response_metadata.get("model_provider") if message.type == "ai" else None
    return FAMILIES.get(str(provider), "generic") if provider is not None else None


def _cleaned(message: BaseMessage, family: str) -> BaseMessage:
    content = cast("str | list[str | dict[str, Any]]", message.content)
    if isinstance(content, str):
        return message
    maker = _maker(message)
    if maker == family:
        return message
    theirs = maker is not None
    kept = [clean for block in content if (clean := _block(block, family, theirs=theirs)) is not None]
    if not theirs and kept == content:
        return message
    changes: dict[str, Any] = {"content": _joined(kept) if theirs else kept}
    if theirs and "output_version" in message.response_metadata:  # the plain content is in no version's format
        metadata = cast("Mapping[str, Any]", message.response_metadata)
        changes["response_metadata"] = {key: value for key, value in metadata.items() if key != "output_version"}
    return message.model_copy(update=changes)


def _block(block: str | dict[str, Any], family: str, *, theirs: bool) -> str | dict[str, Any] | None:
    """What is left of a block for the family; None drops it. `theirs` says that another family's model wrote the message."""
    if isinstance(block, str):
        return block
    kind = str(block.get("type", ""))
    if _marker_only(block):
        return block if family == "bedrock" and not theirs else None
    if kind in REASONING or "reasoningContent" in block:
        return block if not theirs and REASONING.get(kind, "bedrock") == family else None
    if family != "bedrock" and is_native(block):
        return plain_block(block)
    if kind == "document" and family != "anthropic" and "source" in block:
        return plain_document(block)
    if theirs:
        return _plain(block, kind)
    foreign = [key for key, owner in MARKERS.items() if key in block and owner != family]
    return {key: value for key, value in block.items() if key not in foreign} if foreign else block


def _plain(block: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """A block that another family's model wrote, reduced to what everyone reads."""
    if kind == "text" or (not kind and "text" in block):
        return {"type": "text", "text": block.get("text") or ""}
    if kind in REPEATED or kind not in PLAIN:
        return None
    return {key: value for key, value in block.items() if key not in MARKERS}


def _marker_only(block: Mapping[str, Any]) -> bool:
    value: object = block.get("value") if block.get("type") == "non_standard" else None
    return "cachePoint" in block or (isinstance(value, dict) and "cachePoint" in value)


def _joined(blocks: list[str | dict[str, Any]]) -> str | list[str | dict[str, Any]]:
    """Text alone as one string: the one form that every provider, and every imitation of one, accepts."""
    texts = [block if isinstance(block, str) else str(block["text"]) for block in blocks if _is_text(block)]
    return "".join(texts) if len(texts) == len(blocks) else blocks


def _is_text(block: str | dict[str, Any]) -> bool:
    return isinstance(block, str) or block.get("type") == "text"
