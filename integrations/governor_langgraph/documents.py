"""Images and documents in the form of one vendor's API, rewritten into those that the other vendors' clients read.

Only ChatBedrockConverse takes Converse's blocks (`{"image": {"format": ..., "source": {"bytes": ...}}}`, without a type), and only
ChatAnthropic the documents of its API. In a request to another provider they are an error, and so the end of the run.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_native", "plain_block", "plain_document"]

NATIVE = ("image", "document", "video", "guardContent", "text", "toolUse", "toolResult")
"""The one key of a Converse block says what it is."""

TEXTS = frozenset({"txt", "md", "csv", "html"})
"""Formats of documents that are text: they are shown as text, which every model reads."""


def is_native(block: Mapping[str, Any]) -> bool:
    """Whether it is Converse's own form; its client also takes one that says its type as well."""
    kind = block.get("type")
    return any(key in block for key in NATIVE) if not kind else kind in NATIVE and isinstance(block.get(kind), dict)


def plain_block(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """The block as others read it; None for one that repeats what a message says elsewhere (tool calls and results).

    What no other provider takes (a spreadsheet, a video, a file in S3) becomes a sentence that says so: the model then knows that it
    has not seen it.
    """
    kind = next((key for key in NATIVE if key in block), None)
    if kind in (None, "toolUse", "toolResult"):
        return None
    if kind == "text":
        return {"type": "text", "text": str(block["text"])}
    inner = cast("Mapping[str, Any]", block[kind])
    if kind == "guardContent":
        return {"type": "text", "text": str(inner.get("text", {}).get("text", ""))}
    form, source = str(inner.get("format", "")), cast("Mapping[str, Any]", inner.get("source") or {})
    data = _bytes(source.get("bytes"))
    if kind == "image" and data is not None:
        return {"type": "image", "base64": _text(data), "mime_type": f"image/{form}"}
    if kind == "document" and (form in TEXTS or "text" in source) and (data is not None or "text" in source):
        text = str(source["text"]) if data is None else data.decode(errors="replace")
        return {"type": "text", "text": text}
    name = str(inner.get("name") or "document")
    if kind == "document" and form == "pdf" and data is not None:
        return {"type": "file", "base64": _text(data), "mime_type": "application/pdf", "filename": name}
    return {"type": "text", "text": f"[A {kind} ({form or 'unknown format'}) is not shown: this model cannot read it.]"}


def plain_document(block: Mapping[str, Any]) -> dict[str, Any]:
    """A document of Anthropic's API as others read it: text as text, a file as LangChain's standard block."""
    source = cast("Mapping[str, Any]", block["source"])
    kind, data = source.get("type"), source.get("data")
    name = str(block.get("title") or "document")
    if kind == "text":
        return {"type": "text", "text": str(data or "")}
    if kind == "content":
        given: object = source.get("content")
        parts = cast("list[Mapping[str, Any]]", given if isinstance(given, list) else [{"text": given}])
        return {"type": "text", "text": "\n".join(str(part["text"]) for part in parts if part.get("text"))}
    if kind == "base64":
        return {
            "type": "file",
            "base64": data,
            "mime_type": source.get("media_type") or "application/pdf",
            "filename": name,
        }
    return {"type": "text", "text": f"[The document {name} is not shown: this model cannot read it.]"}


def _bytes(given: object) -> bytes | None:
    """Raw bytes, or the base64 text that a checkpoint or JSON has made of them."""
    if isinstance(given, (bytes, bytearray)):
        return bytes(given)
    return base64.b64decode(given) if isinstance(given, str) else None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
