"""Pictures, documents and recordings of a prompt: their sizes, read from the first bytes of each, without decoding any.

A reader never raises: what it cannot make out has no size, and counts for the most that its kind may count (`media_tokens`).
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Literal

from governor.values import cheap

__all__ = ["Detail", "Kind", "Media", "audio_ms", "image_size", "movie_ms", "office_size", "pdf_pages"]

Kind = Literal["image", "pdf", "audio", "video", "document"]
Detail = Literal["", "low", "high", "original"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One picture, document or recording as far as it decides how many tokens it is billed at; its content is not kept."""

    kind: Kind
    counted: int
    """What the message's own `tokens` include for it. A model's bound takes its place in a reservation."""
    width: int | None = None
    """Pixels, with `height`; None where the header was not to be read or the picture is elsewhere."""
    height: int | None = None
    pages: int | None = None
    ms: int | None = None
    """Length of a recording, milliseconds."""
    size: int | None = None
    """Bytes; None for what the provider fetches itself."""
    detail: Detail = ""
    """As the request asks for it (OpenAI); empty where it does not."""


def image_size(raw: bytes) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP; None where they cannot be read."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n") and len(raw) >= 24:
        size = int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")
    elif raw.startswith((b"GIF87a", b"GIF89a")) and len(raw) >= 10:
        size = int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")
    elif raw.startswith(b"\xff\xd8"):
        size = _jpeg_size(raw)
    elif raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        size = _webp_size(raw)
    else:
        return None
    return size if size and min(size) > 0 else None


def _jpeg_size(raw: bytes) -> tuple[int, int] | None:
    """From the frame header, which follows segments of any length (a camera's notes, a thumbnail)."""
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif marker in _FRAMES:
            return int.from_bytes(raw[at + 7 : at + 9], "big"), int.from_bytes(raw[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return None


_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a JPEG's frame header."""


def _webp_size(raw: bytes) -> tuple[int, int] | None:
    form = raw[12:16]
    if len(raw) < 30:
        return None
    if form == b"VP8X":
        return 1 + int.from_bytes(raw[24:27], "little"), 1 + int.from_bytes(raw[27:30], "little")
    if form == b"VP8L" and raw[20] == 0x2F:
        bits = int.from_bytes(raw[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if form == b"VP8 " and raw[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(raw[26:28], "little") & 0x3FFF, int.from_bytes(raw[28:30], "little") & 0x3FFF
    return None


_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_COUNT = re.compile(rb"/Count\s+(\d{1,7})")
_OBJECTS = re.compile(rb"/Type\s*/ObjStm.{0,400}?stream\r?\n", re.DOTALL)
_MOST_INFLATED = 32 << 20
"""Bytes that the compressed groups of objects of one file may have: what holds more is taken for unreadable."""


def pdf_pages(raw: bytes) -> int | None:
    """Pages of a PDF: its page objects or what its page tree says, whichever is more; None where it does not say.

    Since version 1.5 both may stand in compressed groups of objects. A group that does not open (an encrypted file) hides pages.
    """
    if not raw.startswith(b"%PDF"):
        return None
    parts, room = [raw], _MOST_INFLATED
    for match in _OBJECTS.finditer(raw):
        ended = raw.find(b"endstream", match.end())
        inflate = zlib.decompressobj()
        try:
            parts.append(inflate.decompress(raw[match.end() : ended if ended >= 0 else len(raw)], room))
        except zlib.error:
            return None
        room -= len(parts[-1])
        if room <= 0 or not inflate.eof:
            return None
    objects = sum(len(_PAGE.findall(part)) for part in parts)
    said = max((int(number) for part in parts for number in _COUNT.findall(part)), default=0)
    return max(objects, said) or None


def office_size(raw: bytes) -> int | None:
    """Bytes of the text and markup in an Office file (docx, xlsx, ...) once it is unpacked; None where it cannot be read.

    Pictures in it are left out: providers take the text alone.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            return sum(each.file_size for each in packed.infolist() if each.filename.endswith(".xml"))
    except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, OverflowError):
        return None


def audio_ms(raw: bytes, size: int | None = None) -> int | None:
    """Length of a WAV, MP3 or Ogg recording, milliseconds, rounded up; None where it cannot be read.

    Args:
        raw: The whole recording. Of a WAV its beginning is enough.
        size: Bytes of the whole, if `raw` is not.
    """
    if raw.startswith(b"RIFF") and raw[8:12] == b"WAVE":
        return _wav_ms(raw, len(raw) if size is None else size)
    if raw.startswith(b"OggS"):
        return _ogg_ms(raw)
    return _mp3_ms(raw)


def _wav_ms(raw: bytes, size: int) -> int | None:
    """By the bytes there are, not by those that the header claims: a recorder that was cut off leaves 0 there."""
    at = raw.find(b"fmt ")
    rate = int.from_bytes(raw[at + 16 : at + 20], "little") if at >= 0 else 0
    return -(-size * 1_000 // rate) if rate else None


def _ogg_ms(raw: bytes) -> int | None:
    last, vorbis = raw.rfind(b"OggS"), raw.find(b"\x01vorbis")
    position = int.from_bytes(raw[last + 6 : last + 14], "little", signed=True)
    rate = int.from_bytes(raw[vorbis + 12 : vorbis + 16], "little") if vorbis >= 0 else 0
    if raw.find(b"OpusHead") >= 0:
        rate = 48_000
    return -(-position * 1_000 // rate) if rate and position > 0 else None


def movie_ms(header: bytes) -> int | None:
    """Length of an MP4 or QuickTime video by its movie header (`mvhd`, from its version on), milliseconds; None where it says none."""
    form, skip = (">IQ", 20) if header[:1] == b"\1" else (">II", 12)
    if len(header) < skip + struct.calcsize(form):
        return None
    scale, length = struct.unpack_from(form, header, skip)
    unknown = length in (0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
    return None if unknown or not scale else -(-length * 1_000 // scale)


_BITRATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits a second of MP3 (layer III) by the index in a frame's header: MPEG 1, and MPEG 2 and 2.5."""
_SAMPLE_RATES = (44_100, 48_000, 32_000)


def _mp3_ms(raw: bytes) -> int | None:
    """Frame by frame, because a variable rate makes the first one no measure of the others. None where a frame is missing."""
    at = 0
    if raw.startswith(b"ID3") and len(raw) >= 10:
        at = 10 + (raw[6] << 21 | raw[7] << 14 | raw[8] << 7 | raw[9])
    seconds = 0.0
    while at + 4 <= len(raw) and raw[at : at + 3] != b"TAG":
        frame = _mp3_frame(raw[at : at + 4])
        if frame is None:
            return None
        seconds += frame[1]
        at += frame[0]
    return int(seconds * 1_000) + 1 if seconds else None


def _mp3_frame(head: bytes) -> tuple[int, float] | None:
    """Bytes and seconds of a frame, by its header."""
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    index, rate = head[2] >> 4, head[2] >> 2 & 3
    if head[0] != 0xFF or head[1] < 0xE0 or version == 1 or layer != 1 or index in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = _SAMPLE_RATES[rate] >> (0 if first else 1 if version == 2 else 2)
    samples = 1_152 if first else 576
    length = samples // 8 * _BITRATES[first][index] * 1_000 // hertz + (head[2] >> 1 & 1)
    return length, samples / hertz
