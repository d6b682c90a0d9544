"""What of a picture, document or recording decides its price, read from a block's contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.media import Media, audio_ms, image_size, movie_ms, office_size, pdf_pages

if TYPE_CHECKING:
    from governor.media import Detail, Kind
    from governor_langgraph.contents import Contents

__all__ = ["BINARY_TOKENS", "PAGE_TOKENS", "audio", "document", "elsewhere", "kind_of", "picture", "video"]

BINARY_TOKENS = 1_600
"""What a message counts for one whose size is not known, whatever the model: what Claude bills for the largest picture until 4.6."""
PAGE_TOKENS = 3_000 + BINARY_TOKENS
"""The same of a PDF page: its text, up to 3,000 tokens, and its picture (Claude's page on PDF support)."""
PIXELS_PER_TOKEN = 750
"""Of a picture, the same: Claude's rule until 4.6."""
BYTES_PER_TOKEN = 3
"""Of any other file, the same."""
AUDIO_TOKENS = 25
"""Of a second of a recording, the same: between OpenAI's 10 to 20 and Gemini's 32."""

VIDEO_TOKENS = 100
"""Of a second of a video, the same: Gemini 3 counts 70 for a frame, and its sound."""
MOST_BOXES = 64
"""Parts of an MP4 that are looked at for its header."""

_HEADS = (1 << 10, 1 << 16, 1 << 20)
"""Bytes that a JPEG's size is looked for in before all of it is read: a camera's notes and colour profiles stand before it."""


def kind_of(mime: str) -> Kind | None:
    """The kind that a media type names; None for text and for none."""
    major = mime.partition("/")[0]
    if major in ("image", "audio", "video"):
        return major
    return "pdf" if mime == "application/pdf" else None


def elsewhere(kind: Kind, detail: Detail = "") -> Media:
    """One of which nothing is known: the provider fetches it, or there is none."""
    return Media(kind=kind, counted=BINARY_TOKENS, detail=detail)


def picture(contents: Contents, detail: Detail) -> Media:
    """A picture, whose size is in the first bytes."""
    size = None
    for count in (*_HEADS, contents.size):
        head = contents.head(count)
        size = image_size(head)
        if size is not None or not head.startswith(b"\xff\xd8") or count >= contents.size:
            break
    if size is None:
        return Media(kind="image", counted=BINARY_TOKENS, size=contents.size, detail=detail)
    counted = min(BINARY_TOKENS, -(-size[0] * size[1] // PIXELS_PER_TOKEN))
    return Media(kind="image", counted=counted, width=size[0], height=size[1], size=contents.size, detail=detail)


def document(contents: Contents, mime: str) -> Media:
    """A file of any kind, by its first bytes, else by what it is said to be."""
    head = contents.head(16)
    said = kind_of(contents.mime or mime)
    if said == "image" or head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")):
        return picture(contents, "")
    if said == "audio":
        return audio(contents)
    if said == "video":
        return video(contents)
    raw = contents.whole()
    counted = max(BINARY_TOKENS, len(raw) // BYTES_PER_TOKEN)
    if head.startswith(b"%PDF") or said == "pdf":
        pages = pdf_pages(raw)
        return Media(kind="pdf", counted=pages * PAGE_TOKENS if pages else counted, pages=pages, size=len(raw))
    unpacked = office_size(raw) if head.startswith(b"PK") else None
    return Media(kind="document", counted=counted, size=max(len(raw), unpacked or 0))


def audio(contents: Contents) -> Media:
    """A recording. The length of one that is not compressed is in its header; any other is read as a whole."""
    head = contents.head(_HEADS[0])
    wave = head.startswith(b"RIFF")
    ms = audio_ms(head, contents.size) if wave else audio_ms(contents.whole())
    counted = BINARY_TOKENS if ms is None else 1 + ms * AUDIO_TOKENS // 1_000
    return Media(kind="audio", counted=counted, ms=ms, size=contents.size)


def video(contents: Contents, *, frames: int = 1) -> Media:
    """A video. Its length is in the header of an MP4, before or after the pictures; of others only the bytes are known.

    `frames` of each second are looked at: as if each were of a second of its own.
    """
    ms = _movie_ms(contents)
    if ms is None:
        return Media(kind="video", counted=BINARY_TOKENS, size=contents.size * frames)
    ms *= frames
    return Media(kind="video", counted=max(BINARY_TOKENS, ms * VIDEO_TOKENS // 1_000), ms=ms, size=contents.size)


def _movie_ms(contents: Contents) -> int | None:
    """From box to box: of each only the head is read."""
    at = 0
    for _ in range(MOST_BOXES):
        head = contents.part(at, 16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if len(head) < 8 or not name.isalnum():
            return None
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if name == b"moov":
            inside = contents.part(at, 1 << 10)
            found = inside.find(b"mvhd")
            return movie_ms(inside[found + 4 :]) if found >= 0 else None
        if length < 8:
            return None
        at += length
    return None
