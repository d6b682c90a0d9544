"""Content blocks that are not text: their tokens, and the pictures, documents and recordings in them.

Blocks come in the words of several vendors and of LangChain; what they hold is found by its keys, wherever it is nested. Nothing that
a block may hold makes reading fail: what cannot be made out counts as the largest of its kind.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from governor.tokens import estimate
from governor_langgraph import media as reading
from governor_langgraph.contents import contents_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.media import Detail, Kind, Media
    from governor_langgraph.contents import Contents

__all__ = ["Read", "read_blocks"]

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("image", "image_url", "input_image", "computer_screenshot", "image_generation_call"), "image"),
    **dict.fromkeys(("audio", "input_audio"), "audio"),
    **dict.fromkeys(("video", "video_url"), "video"),
    **dict.fromkeys(("document", "file", "input_file", "media", "text-plain"), "document"),
}
"""Types of blocks."""
CONVERSE = ("image", "document", "video", "audio")
"""The one key of a block of Converse, which has no type, says what it is."""
DATA = frozenset({"json", "input", "args", "arguments"})
"""Keys of what is JSON to the model, whatever it looks like: an address in a tool's answer is no picture."""
TEXT_FORMATS = frozenset({"txt", "md", "csv", "html"})
"""Amazon Bedrock's names of formats that are text."""
TEXT_MEDIA = re.compile(r"text/|application/(?:json|xml|yaml|x-yaml|javascript)")
ENCODED = frozenset({"bytes", "data", "base64", "file_data", "result"})
"""Keys of contents, which are bytes or base64, the latter perhaps as a data URL."""
ELSEWHERE = frozenset(
    {"url", "uri", "file_url", "file_id", "file_uri", "fileId", "image_url", "video_url", "s3Location", "s3_location"}
)
"""Keys of references to contents that the provider fetches, unless they are a data URL."""
NOT_READ = frozenset(
    {
        *("type", "format", "source_type", "mime_type", "media_type", "cache_control", "citations", "id", "index"),
        *("extras", "metadata", "detail", "video_metadata", "media_resolution"),
    }
)
"""Keys of what the model does not see."""
DEEPEST = 8
"""Levels at which the contents of one picture or document are looked for."""


@dataclass(frozen=True, slots=True)
class Read:
    """What blocks hold."""

    tokens: int
    """All that they count for, media included."""
    media: tuple[Media, ...]


@dataclass(slots=True)
class _Found:
    tokens: int = 0
    """Of text alone."""
    media: list[Media] = field(default_factory=list["Media"])
    contents: int = 0
    """Texts and files that make up a document, titles not counted."""


def read_blocks(blocks: Sequence[object]) -> Read:
    """Tokens and media of some blocks. Text documents count by their text."""
    found = _Found()
    for block in blocks:
        before = found.tokens, len(found.media)
        try:
            _read(block, found, outermost=True)
        except (RecursionError, TypeError, ValueError):  # a circle, or what JSON cannot say
            found.tokens = before[0]
            del found.media[before[1] :]
            found.media.append(reading.elsewhere("document"))
    return Read(found.tokens + sum(each.counted for each in found.media), tuple(found.media))


def _read(block: object, found: _Found, *, outermost: bool = False) -> None:
    """One block. Inside of another, what merely has the type of a picture is none: it has to have contents too."""
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", block) if isinstance(block, Mapping) else {}
    kind = _kind(fields)
    if kind is None:
        rest = _without_media(cast("object", block), found)
        found.tokens += estimate(json.dumps(rest, default=str, ensure_ascii=False))
    elif kind == "document":
        _read_document(fields, found, outermost=outermost)
    else:
        held = list(_held(fields))
        found.media += [_medium(kind, each, fields) for each in held or ([None] if outermost else [])]


def _kind(fields: Mapping[str, Any]) -> Kind | None:
    said = reading.kind_of(_media_type(fields))
    named: object = fields.get("type")
    if named is None:
        named = next((key for key in CONVERSE if isinstance(fields.get(key), Mapping)), None)
    kind = KINDS.get(named) if isinstance(named, str) else None
    if said in ("image", "audio", "video") and (kind == "document" or named is None):
        return said
    return "document" if kind is None and named is None and said else kind


def _without_media(value: object, found: _Found) -> object:
    """A copy of what a block holds that is JSON to the model, without the media in it (in a tool's result, in a guard): those are found."""
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        if _is_media(fields):
            _read(fields, found)
            return None
        return {key: item if key in DATA else _without_media(item, found) for key, item in fields.items()}
    if isinstance(value, (list, tuple)):
        return [_without_media(item, found) for item in cast("Sequence[object]", value)]
    return value


def _is_media(fields: Mapping[str, Any]) -> bool:
    """Whether a part of a block is a picture, a document or a recording, and not only called so."""
    if _kind(fields) is None:
        return False
    inner: object = next((fields[key] for key in CONVERSE if isinstance(fields.get(key), Mapping)), fields)
    source: object = cast("Mapping[str, Any]", inner).get("source")
    if isinstance(source, Mapping):
        return bool(cast("Mapping[str, Any]", source))
    held = next(_held(fields), _NOTHING)
    return held is not _NOTHING and (held is not None or fields.get("type") is not None)


def _detail(fields: Mapping[str, Any]) -> Detail:
    """The resolution that OpenAI is asked for. Only in these two places do clients hand it on: anywhere else it is not believed."""
    inner: object = fields.get("image_url")
    given: object = fields.get("detail") if fields.get("type") == "input_image" else None
    if isinstance(inner, Mapping):
        given = cast("Mapping[str, Any]", inner).get("detail")
    return cast("Detail", given) if given in ("low", "high", "original") else ""


def _medium(kind: Kind, held: Contents | None, fields: Mapping[str, Any]) -> Media:
    if held is None:
        return reading.elsewhere(kind, _detail(fields))
    if kind == "image":
        return reading.picture(held, _detail(fields))
    return reading.audio(held) if kind == "audio" else reading.video(held, frames=_frames(fields))


def _frames(fields: Mapping[str, Any]) -> int:
    """Frames of a second that Gemini is asked to look at; 1 unless a block says more."""
    given: object = fields.get("video_metadata")
    asked: object = cast("Mapping[str, Any]", given).get("fps") if isinstance(given, Mapping) else None
    return max(1, math.ceil(asked)) if isinstance(asked, (int, float)) and math.isfinite(asked) else 1


_FETCHED = object()
"""Stands for contents that are not in the message."""
_NOTHING = object()


def _held(value: object, key: str = "", depth: int = 0) -> Iterator[Contents | None]:
    """The contents in a picture's or a recording's block, None for each that the provider fetches."""
    given = _given(key, value)
    if given is _FETCHED:
        yield None
    elif given is not None:
        yield cast("Contents", given)
    elif depth < DEEPEST and isinstance(value, Mapping):
        for inner, item in cast("Mapping[str, object]", value).items():
            if inner not in NOT_READ:
                yield from _held(item, str(inner), depth + 1)


def _given(key: str, value: object) -> object:
    """The contents under one key, `_FETCHED` for a reference to them, None where there are none."""
    if not value:
        return None
    if key in ELSEWHERE:
        encoded = isinstance(value, str) and value.startswith("data:")
        return contents_of(value) if encoded else None if isinstance(value, Mapping) and "url" in value else _FETCHED
    return contents_of(value) if key in ENCODED or isinstance(value, (bytes, bytearray)) else None


# --- documents


def _read_document(fields: Mapping[str, Any], found: _Found, *, outermost: bool) -> None:
    """Everything in a document that the model reads: contents, title, context."""
    before = found.contents
    _read_fields(fields, found, _media_type(fields), is_text=fields.get("type") == "text-plain", depth=0)
    if outermost and found.contents == before:
        found.media.append(reading.elsewhere(_file(_media_type(fields))))


def _read_fields(fields: Mapping[str, Any], found: _Found, mime: str, *, is_text: bool, depth: int) -> None:
    if depth > DEEPEST:
        raise RecursionError
    mime = _media_type(fields) or mime
    is_text = is_text or fields.get("format") in TEXT_FORMATS or bool(TEXT_MEDIA.match(mime))
    plain = fields.get("type") == "text" or fields.get("source_type") == "text"
    for key, value in fields.items():
        if key not in NOT_READ:
            _read_field(key, value, found, mime, is_text=is_text, plain=plain, depth=depth + 1)


def _read_field(key: str, value: object, found: _Found, mime: str, *, is_text: bool, plain: bool, depth: int) -> None:
    given = None if plain and isinstance(value, str) else _given(key, value)
    if given is _FETCHED:
        found.contents += 1
        found.media.append(reading.elsewhere(_file(mime)))
    elif given is not None:
        _read_file(cast("Contents", given), found, mime, is_text=is_text)
    elif isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        if _kind(inner) in ("image", "audio", "video"):
            found.contents += 1
            _read(inner, found, outermost=True)
        else:
            _read_fields(inner, found, mime, is_text=is_text, depth=depth)
    elif isinstance(value, (list, tuple)):
        for item in cast("Sequence[object]", value):
            _read_field("content", item, found, mime, is_text=is_text, plain=plain, depth=depth)
    elif isinstance(value, str):
        found.contents += key in ("text", "content") or (plain and key in ENCODED)
        found.tokens += estimate(value)


def _read_file(contents: Contents, found: _Found, mime: str, *, is_text: bool) -> None:
    found.contents += 1
    if is_text or TEXT_MEDIA.match(contents.mime):
        found.tokens += estimate(contents.text())
    else:
        found.media.append(reading.document(contents, mime))


def _file(mime: str) -> Kind:
    return reading.kind_of(mime) or "document"


def _media_type(fields: Mapping[str, Any]) -> str:
    return str(fields.get("mime_type") or fields.get("media_type") or fields.get("mimeType") or "").lower()
