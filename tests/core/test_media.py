"""Sizes of pictures, documents and recordings, and the most that each model bills for them."""

import struct
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef
from governor.media import Media, audio_ms, image_size, pdf_pages
from governor.media_tokens import media_tokens

OLD, NEW = "claude-sonnet-4-5", "claude-opus-4-7"
MODELS = [
    OLD,
    NEW,
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5.4",
    "gpt-5.6",
    "amazon.nova-pro-v1:0",
    "who",
]


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def tokens(model: str, width: int | None, height: int | None) -> int:
    media = Media(kind="image", counted=0, width=width, height=height)
    return media_tokens(ModelRef(provider="unknown", model=model), [media])


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(png(640, 480), id="png"),
        pytest.param(b"GIF89a" + struct.pack("<HH", 640, 480), id="gif"),
        pytest.param(
            b"\xff\xd8\xff\xe1"
            + struct.pack(">H", 9_002)
            + bytes(9_000)
            + b"\xff\xc2\x00\x11\x08"
            + struct.pack(">HH", 480, 640)
            + bytes(9),
            id="jpeg-after-notes",
        ),
        pytest.param(
            b"RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
            id="webp",
        ),
    ],
)
def test_the_size_of_a_picture_is_in_its_header(raw: bytes) -> None:
    assert (640, 480) == image_size(raw)


def test_pages_in_a_compressed_group_of_objects_are_counted() -> None:
    group = zlib.compress(b"<< /Type /Page >> " * 7)
    raw = b"%PDF-1.7\n1 0 obj << /Type /ObjStm /N 7 >>\nstream\n" + group + b"\nendstream endobj"

    assert 7 == pdf_pages(raw)


def test_a_group_that_is_cut_off_hides_pages() -> None:
    group = zlib.compress(bytes(range(256)) * 9 + b"<< /Type /Page >> " * 7)
    raw = (
        b"%PDF-1.7\n1 0 obj << /Type /ObjStm /N 7 >>\nstream\n" + group[:-30] + b"\nendstream endobj << /Type /Page >>"
    )

    assert pdf_pages(raw) is None


def test_a_large_file_of_many_groups_is_read_once() -> None:
    """Not once for each group: that would be hundreds of copies of the whole."""
    group = (
        b"1 0 obj << /Type /ObjStm /N 1 >>\nstream\n" + zlib.compress(b"<< /Type /Page >>") + b"\nendstream endobj\n"
    )

    def fastest(groups: int) -> float:
        raw = b"%PDF-1.7\n" + group * groups + bytes(8_000_000)
        times: list[float] = []
        for _ in range(3):
            begun = time.perf_counter()
            assert groups == pdf_pages(raw)
            times.append(time.perf_counter() - begun)
        return min(times)

    assert fastest(400) < 10 * fastest(1)


def test_an_encrypted_file_does_not_say_how_many_pages_it_has() -> None:
    assert pdf_pages(b"%PDF-1.7 << /Type /ObjStm >>\nstream\n" + b"\x07" * 90) is None


def test_the_length_of_a_recording_is_read_from_its_frames() -> None:
    frame = b"\xff\xfb\x90\x00" + bytes(413)  # MPEG 1, layer III, 128 kbit/s, 44.1 kHz: 26.12 ms
    wav = b"RIFF\x00\x00\x00\x00WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16) + bytes(15_964)

    assert 2_613 == audio_ms(frame * 100)
    assert 1_000 == audio_ms(wav)


@pytest.mark.parametrize(
    ("model", "width", "height", "billed"),
    [
        (NEW, 1_920, 1_080, 2_691),
        (NEW, 3_840, 2_160, 4_784),
        (OLD, 1_092, 1_092, 1_521),
        ("gpt-4o", 1_024, 1_024, 765),
        ("gpt-4o", 2_048, 4_096, 1_105),
        ("gpt-4.1-mini", 1_024, 1_024, 1_659),
        ("gpt-4.1-mini", 1_800, 2_400, 2_353),
        ("amazon.nova-pro-v1:0", 900, 450, 800),
        ("amazon.nova-pro-v1:0", 1_300, 1_300, 2_600),
        ("gemini-3-pro", 9_000, 9_000, 1_120),
    ],
)
def test_a_bound_is_no_less_than_the_vendors_example(model: str, width: int, height: int, billed: int) -> None:
    assert billed <= tokens(model, width, height) <= 3 * billed


@pytest.mark.parametrize("model", MODELS)
@given(st.integers(1, 4_000), st.integers(1, 4_000), st.integers(1, 4))
def test_a_larger_picture_of_the_same_shape_is_bound_no_lower(model: str, width: int, height: int, times: int) -> None:
    assert 0 < tokens(model, width, height) <= tokens(model, times * width, times * height)


@pytest.mark.parametrize("model", MODELS)
@given(st.integers(1, 8_000), st.integers(1, 8_000))
def test_a_picture_of_unknown_size_is_bound_as_the_largest(model: str, width: int, height: int) -> None:
    assert tokens(model, width, height) <= tokens(model, None, None)


@given(st.integers(1, 8_000), st.integers(1, 8_000), st.sampled_from(MODELS))
def test_a_model_that_nobody_knows_is_bound_as_the_dearest(width: int, height: int, model: str) -> None:
    assert tokens(model, width, height) <= tokens("who", width, height)


STARTS = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"\xff\xd8",
    b"RIFF0000WEBP",
    b"RIFF0000WAVEfmt ",
    b"OggS",
    b"ID3",
    b"%PDF /Type/ObjStm stream\n",
]


@pytest.mark.parametrize("read", [image_size, pdf_pages, audio_ms])
@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_a_reader_takes_whatever_it_is_given(read: Callable[[bytes], object], start: bytes, rest: bytes) -> None:
    read(start + rest)
