"""Real pictures, documents and recordings of any size, made with the standard library."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence


def png(width: int, height: int) -> bytes:
    """Black, of one bit a pixel: a large one takes little room."""
    rows = (b"\0" * (1 + -(-width // 8))) * height
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def gif(width: int, height: int) -> bytes:
    """A screen of that size with a frame of one pixel."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00\x3b"


def jpeg(width: int, height: int, notes: Sequence[bytes] = ()) -> bytes:
    """Grey, baseline. `notes`: what a camera and a colour profile write before the picture."""
    before = [(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), *((0xE1, b"Exif\0\0" + note) for note in notes)]
    one_code = bytes([1]) + bytes(15) + b"\0"
    segments = [
        *before,
        (0xDB, b"\0" + bytes([1]) * 64),
        (0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
        (0xC4, b"\0" + one_code),
        (0xC4, b"\x10" + one_code),
        (0xDA, b"\1\1\0\0\x3f\0"),
    ]
    body = b"".join(b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(data)) + data for marker, data in segments)
    blocks = -(-width // 8) * -(-height // 8)
    return b"\xff\xd8" + body + bytes(-(-blocks * 2 // 8)) + b"\xff\xd9"


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + (b"\0" if len(data) % 2 else b"") for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_lossless(width: int, height: int) -> bytes:
    """One colour: every code has a single symbol, so that no pixel takes a bit."""
    return _riff((b"VP8L", _lossless(width, height)))


def _lossless(width: int, height: int) -> bytes:
    one_symbol = [1, 0, 1] + [0] * 8
    bits = [
        *(width - 1 >> i & 1 for i in range(14)),
        *(height - 1 >> i & 1 for i in range(14)),
        *[0] * 4,  # no alpha, version 0
        *[0] * 3,  # no transform, no cache, one group of codes
        *one_symbol * 5,
    ]
    packed = bytes(sum(bit << i for i, bit in enumerate(bits[start : start + 8])) for start in range(0, len(bits), 8))
    return b"\x2f" + packed


def webp_extended(width: int, height: int) -> bytes:
    """With a header of its own before the picture, as one with a profile or an animation has."""
    header = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _riff((b"VP8X", header), (b"VP8L", _lossless(width, height)))


def webp_lossy(width: int, height: int) -> bytes:
    """The header of a lossy one; what follows is no picture."""
    return _riff((b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(20)))


PICTURES: Mapping[str, Callable[[int, int], bytes]] = {
    "png": png,
    "gif": gif,
    "jpeg": jpeg,
    "webp-lossless": webp_lossless,
    "webp-extended": webp_extended,
    "webp-lossy": webp_lossy,
}
LARGEST = {"webp-lossless": 1 << 14, "webp-extended": 1 << 14, "webp-lossy": (1 << 14) - 1}
"""Longest edge that a format takes; 65,535 where it says nothing."""


def pdf(pages: Sequence[str], *, width: int = 612, height: int = 792, packed: bool = False) -> bytes:
    """A document of pages with a line of text each, in points. `packed`: its objects in a compressed group, as since version 1.5."""
    count = len(pages)
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(count))
    objects = {1: "<< /Type /Catalog /Pages 2 0 R >>", 2: f"<< /Type /Pages /Kids [{kids}] /Count {count} >>"}
    streams: dict[int, bytes] = {}
    for i, text in enumerate(pages):
        objects[3 + 2 * i] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents {4 + 2 * i} 0 R >>"
        )
        drawn = "BT /F1 9 Tf 40 740 Td ({}) Tj ET".format(
            text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        )
        streams[4 + 2 * i] = zlib.compress(drawn.encode("latin-1", "replace"))
    parts = [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"]
    if packed:
        placed, heads = 0, []
        for number, body in objects.items():
            heads.append(f"{number} {placed}")
            placed += len(body) + 1
        head = " ".join(heads) + " "
        group = zlib.compress((head + "\n".join(objects.values())).encode())
        first = len(head)
        parts.append(
            f"{4 + 2 * count} 0 obj << /Type /ObjStm /N {len(objects)} /First {first} /Filter /FlateDecode "
            f"/Length {len(group)} >>\nstream\n".encode()
            + group
            + b"\nendstream endobj\n"
        )
    else:
        parts += [f"{number} 0 obj {body} endobj\n".encode() for number, body in objects.items()]
    for number, body in streams.items():
        head = f"{number} 0 obj << /Filter /FlateDecode /Length {len(body)} >>\nstream\n"
        parts.append(head.encode() + body + b"\nendstream endobj\n")
    return b"".join([*parts, b"trailer << /Root 1 0 R >>\n%%EOF\n"])


def wav(ms: int, rate: int = 8_000) -> bytes:
    """Silence of 16 bits a sample."""
    body = bytes(2 * (rate * ms // 1_000))
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return head + b"data" + struct.pack("<I", len(body)) + body


def docx(text: str) -> bytes:
    """A Word file with one paragraph."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("word/document.xml", f"<w:document><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:document>")
    return kept.getvalue()


def mp4(ms: int, *, ahead: bool = True, size: int = 40_000, wide: bool = False) -> bytes:
    """A movie header and pictures that are none. `ahead`: the header stands before them; `wide`: with times of 64 bits."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + name + body

    form = ">B3xQQIQ" if wide else ">B3xIIII"
    header = box(b"mvhd", struct.pack(form, wide, 0, 0, 1_000, ms) + bytes(80))
    parts = [box(b"moov", header), box(b"mdat", bytes(size))]
    return box(b"ftyp", b"isom\0\0\2\0isom") + b"".join(parts if ahead else reversed(parts))
