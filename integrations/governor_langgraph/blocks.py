"""Tokens of content blocks that are not text: images, documents, files.

Blocks come in the words of several vendors and of LangChain; what they hold is found by its keys, wherever it is nested.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, cast

from governor.tokens import estimate

__all__ = ["block_tokens"]

BINARY_TOKENS = 1_600
"""Tokens of what says nothing about its size (images, recordings, files behind a URL): what Claude bills for the largest image it does
not scale down (vendor's vision page); the calibration learns what a model really counts."""
PAGE_TOKENS = 3_000 + BINARY_TOKENS
"""Tokens of a PDF page: Claude reads each as text, up to 3,000 tokens, and as an image (vendor's PDF page)."""
BYTES_PER_TOKEN = 3
"""Bytes of any other binary document for one token."""

MEDIA_TYPES = frozenset({"image", "image_url", "input_image", "audio", "input_audio", "video"})
DOCUMENT_TYPES = frozenset({"document", "file", "input_file", "media", "text-plain"})
TEXT_FORMATS = frozenset({"txt", "md", "csv", "html"})
"""Amazon Bedrock's names of formats that are text."""
TEXT_MEDIA = re.compile(r"text/|application/(?:json|xml|yaml|x-yaml|javascript)")
ENCODED = frozenset({"bytes", "data", "base64", "file_data"})
"""Keys of contents, which are bytes or base64, the latter perhaps as a data URL."""
ELSEWHERE = frozenset({"url", "uri", "file_url", "file_id", "file_uri", "fileId", "s3Location"})
"""Keys of references to contents that the provider fetches."""
NOT_READ = frozenset(
    {"type", "format", "source_type", "mime_type", "media_type", "cache_control", "citations", "id", "index"}
)
"""Keys of what the model does not see."""
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")


def block_tokens(block: object) -> int:
    """Tokens of one block, leaning high. Text documents count by their text, PDFs by their pages, other documents by their size."""
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", block) if isinstance(block, Mapping) else {}
    kind = fields.get("type") or next((key for key in (*MEDIA_TYPES, *DOCUMENT_TYPES) if key in fields), None)
    if kind in MEDIA_TYPES or re.match(r"image/|audio/|video/", _media_type(fields)):
        return BINARY_TOKENS
    if kind in DOCUMENT_TYPES:
        return _tokens_in(fields, is_text=kind == "text-plain")
    return estimate(json.dumps(block, default=str, ensure_ascii=False))


def _tokens_in(fields: Mapping[str, Any], *, is_text: bool) -> int:
    """Tokens of everything in a document that the model reads: contents, title, context."""
    is_text = is_text or fields.get("format") in TEXT_FORMATS or bool(TEXT_MEDIA.match(_media_type(fields)))
    plain = fields.get("type") == "text" or fields.get("source_type") == "text"
    return sum(
        _tokens_of(key, value, is_text=is_text, plain=plain) for key, value in fields.items() if key not in NOT_READ
    )


def _tokens_of(key: str, value: object, *, is_text: bool, plain: bool) -> int:
    if key in ELSEWHERE:
        return BINARY_TOKENS
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        return block_tokens(inner) if inner.get("type") in MEDIA_TYPES else _tokens_in(inner, is_text=is_text)
    if isinstance(value, (list, tuple)):
        several = cast("list[object]", value)
        return sum(_tokens_of("", item, is_text=is_text, plain=plain) for item in several)
    if isinstance(value, (bytes, bytearray)):
        return _contents(bytes(value), is_text=is_text)
    if not isinstance(value, str):
        return 0
    if key not in ENCODED or plain:
        return estimate(value)
    header, comma, encoded = value.partition(",")
    if not comma or not header.startswith("data:"):
        header, encoded = "", value
    return _contents(_decoded(encoded), is_text=is_text or bool(TEXT_MEDIA.match(header[5:])))


def _media_type(fields: Mapping[str, Any]) -> str:
    return str(fields.get("mime_type") or fields.get("media_type") or "")


def _decoded(encoded: str) -> bytes:
    """The bytes behind base64; of what is none, the text itself."""
    try:
        return base64.b64decode(b"".join(encoded.encode().split()), validate=True)
    except (binascii.Error, ValueError):
        return encoded.encode("utf-8", "surrogatepass")


def _contents(raw: bytes, *, is_text: bool) -> int:
    if is_text:
        return estimate(raw.decode("utf-8", "replace"))
    pages = len(_PAGE.findall(raw)) if raw.startswith(b"%PDF") else 0
    return pages * PAGE_TOKENS or max(BINARY_TOKENS, len(raw) // BYTES_PER_TOKEN)
