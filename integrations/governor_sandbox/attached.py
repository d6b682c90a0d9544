"""Pictures, documents and recordings in a request, in one shape for all providers, and what they are billed at."""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, cast

from governor_sandbox.catalogue import Model
from governor_sandbox.pictures import FETCHED, RULES, picture_size

__all__ = ["Attached", "bytes_of", "document"]

Kind = Literal["image", "document", "audio", "video"]

FETCHED_PAGES = 3
"""Pages of a document that is elsewhere, which the sandbox does not fetch."""
FETCHED_SECONDS = 60
AUDIO_TOKENS_PER_SECOND = 10
"""OpenAI: a token for a tenth of a second of what a user said."""
VIDEO_TOKENS_PER_SECOND = 288
"""Nova: a frame a second (AWS's table: 2,880 tokens for 10 seconds), 960 frames at most."""
MOST_FRAMES = 960
BYTES_PER_TOKEN = 4
"""Of a document that is neither text nor PDF: the sandbox does not unpack it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """One of them. Either `text` or what is in `raw`; neither, when the provider fetches it."""

    kind: Kind
    raw: bytes | None = None
    text: str | None = None
    detail: str = ""
    seen: bool = True
    """Whether the model sees a document's pages as pictures too."""

    def billed(self, spec: Model) -> tuple[str, int]:
        """The text in it, which counts as text, and the tokens of all else."""
        if self.text is not None:
            return self.text, 0
        if self.kind == "image":
            return "", self._picture(spec)
        if self.kind == "audio":
            return "", ceil(_wav_seconds(self.raw) * AUDIO_TOKENS_PER_SECOND)
        if self.kind == "video":
            return "", ceil(min(MOST_FRAMES, _mp4_seconds(self.raw)) * VIDEO_TOKENS_PER_SECOND)
        return self._document(spec)

    def _picture(self, spec: Model) -> int:
        width, height = (picture_size(self.raw) if self.raw else None) or FETCHED
        return RULES[spec.images].tokens(width, height, self.detail)

    def _document(self, spec: Model) -> tuple[str, int]:
        if self.raw is not None and picture_size(self.raw):
            return "", self._picture(spec)
        if self.raw is not None and not self.raw.startswith(b"%PDF"):
            return "", ceil(len(self.raw) / BYTES_PER_TOKEN)
        pages, text = _pdf(self.raw) if self.raw else (FETCHED_PAGES, "")
        return text, max(1, pages) * RULES[spec.images].page() if self.seen else 0


def document(source: Any, *, format_name: str = "", seen: bool = True) -> Attached:
    """A document. `source`: where its contents are, in Anthropic's words or Bedrock's; `format_name`: Bedrock's name of its format."""
    return Attached(kind="document", text=_text(source, format_name), raw=bytes_of(source), seen=seen)


def bytes_of(source: Any) -> bytes | None:
    """The bytes that a request carries; None for what is elsewhere, and for what is none."""
    if isinstance(source, Mapping):
        fields = cast("Mapping[str, Any]", source)
        source = fields.get("bytes") or (fields.get("data") if fields.get("type") == "base64" else None)
    if not isinstance(source, str):
        return None
    try:
        return base64.b64decode(source.split(",", 1)[-1] if source.startswith("data:") else source)
    except (binascii.Error, ValueError):
        return None


_TEXT_FORMATS = frozenset({"txt", "md", "csv", "html"})


def _text(source: Any, format_name: str) -> str | None:
    """The text of a document that is text, which is what it is billed by."""
    if not isinstance(source, Mapping):
        return None
    fields = cast("Mapping[str, Any]", source)
    if isinstance(fields.get("content"), (list, tuple)):
        parts = cast("list[object]", fields["content"])
        return "\n".join(
            str(cast("Mapping[str, Any]", part).get("text", "")) for part in parts if isinstance(part, Mapping)
        )
    if isinstance(fields.get("text"), str):
        return fields["text"]
    if fields.get("type") == "text":
        return str(fields.get("data", ""))
    if format_name not in _TEXT_FORMATS and not str(fields.get("media_type", "")).startswith("text/"):
        return None
    raw = bytes_of(fields)
    return None if raw is None else raw.decode("utf-8", "replace")


_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\n?endstream", re.DOTALL)
_SHOWN = re.compile(rb"\(((?:[^()\\]|\\.)*)\)\s*Tj")


def _pdf(raw: bytes) -> tuple[int, str]:
    """Pages, and the text that they show."""
    parts = [_STREAM.sub(b"", raw)]
    for match in _STREAM.finditer(raw):
        try:
            parts.append(zlib.decompress(match[1]))
        except zlib.error:
            parts.append(match[1])
    pages = sum(len(re.findall(rb"/Type\s*/Page\b", part)) for part in parts)
    shown = b"\n".join(text for part in parts for text in _SHOWN.findall(part))
    return pages, re.sub(rb"\\(.)", rb"\1", shown).decode("latin-1")


def _wav_seconds(raw: bytes | None) -> float:
    if raw is None or raw[8:12] != b"WAVE":
        return FETCHED_SECONDS
    try:
        at, data = raw.index(b"fmt "), raw.index(b"data")
        (rate,) = struct.unpack_from("<I", raw, at + 16)
        (length,) = struct.unpack_from("<I", raw, data + 4)
    except (ValueError, struct.error):
        return FETCHED_SECONDS
    return length / rate if rate else FETCHED_SECONDS


def _mp4_seconds(raw: bytes | None) -> float:
    at = raw.find(b"mvhd") if raw else -1
    if raw is None or at < 0:
        return FETCHED_SECONDS
    layout, skip = (">IQ", 20) if raw[at + 4] else (">II", 12)
    try:
        scale, length = struct.unpack_from(layout, raw, at + 4 + skip)
    except struct.error:
        return FETCHED_SECONDS
    return length / scale if scale else FETCHED_SECONDS
