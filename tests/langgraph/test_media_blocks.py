"""Pictures, documents and recordings are found in every form in which clients take them, and read no further than they must be."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import ToolMessage

from governor.media import Media
from governor_langgraph.blocks import read_blocks
from governor_langgraph.media import BINARY_TOKENS, PAGE_TOKENS
from governor_langgraph.messages import convert
from tests.media_files import LARGEST, PICTURES, docx, mp4, pdf, png, wav

Form = Callable[[bytes, str, str], dict[str, Any]]


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def url(raw: bytes, mime: str) -> str:
    return f"data:{mime};base64,{encoded(raw)}"


FORMS: Mapping[str, Form] = {
    "openai": lambda raw, mime, kind: {"type": "image_url", "image_url": {"url": url(raw, mime)}},
    "openai-plain": lambda raw, mime, kind: {"type": "image_url", "image_url": url(raw, mime)},
    "openai-responses": lambda raw, mime, kind: {"type": "input_image", "image_url": url(raw, mime)},
    "langchain-v0": lambda raw, mime, kind: {
        "type": "image",
        "source_type": "base64",
        "data": encoded(raw),
        "mime_type": mime,
    },
    "langchain-v1": lambda raw, mime, kind: {"type": "image", "base64": encoded(raw), "mime_type": mime},
    "langchain-url": lambda raw, mime, kind: {"type": "image", "url": url(raw, mime)},
    "langchain-file": lambda raw, mime, kind: {"type": "file", "base64": encoded(raw), "mime_type": mime},
    "anthropic": lambda raw, mime, kind: {
        "type": "image",
        "source": {"type": "base64", "media_type": mime, "data": encoded(raw)},
    },
    "bedrock": lambda raw, mime, kind: {"image": {"format": kind, "source": {"bytes": raw}}},
    "bedrock-typed": lambda raw, mime, kind: {"type": "image", "image": {"format": kind, "source": {"bytes": raw}}},
    "bedrock-encoded": lambda raw, mime, kind: {"image": {"format": kind, "source": {"bytes": encoded(raw)}}},
    "bedrock-guard": lambda raw, mime, kind: {"guardContent": {"image": {"format": kind, "source": {"bytes": raw}}}},
    "gemini": lambda raw, mime, kind: {"type": "media", "mime_type": mime, "data": raw},
    "gemini-encoded": lambda raw, mime, kind: {"type": "media", "mime_type": mime, "data": encoded(raw)},
    "screenshot": lambda raw, mime, kind: {
        "type": "computer_call_output",
        "output": {"type": "computer_screenshot", "image_url": url(raw, mime)},
    },
    "drawn": lambda raw, mime, kind: {"type": "image_generation_call", "id": "ig_1", "result": encoded(raw)},
}
IN_RESULTS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "anthropic": lambda block: {"type": "tool_result", "tool_use_id": "t", "content": [block]},
    "bedrock": lambda block: {"toolResult": {"toolUseId": "t", "content": [block]}},
    "langchain": lambda block: {"type": "non_standard", "value": {"output": [block]}},
}


def media_of(*blocks: object) -> list[Media]:
    read = read_blocks(blocks)
    assert sum(each.counted for each in read.media) <= read.tokens
    return list(read.media)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20)
@given(st.sampled_from([*PICTURES]), st.data())
def test_a_picture_is_read_in_every_form(form: str, kind: str, data: st.DataObject) -> None:
    edge = st.integers(1, min(2_000, LARGEST.get(kind, 2_000)))
    width, height = data.draw(edge), data.draw(edge)
    block = FORMS[form](PICTURES[kind](width, height), f"image/{kind.partition('-')[0]}", kind)

    (found,) = media_of(block)

    assert ("image", width, height) == (found.kind, found.width, found.height)


@pytest.mark.parametrize("around", IN_RESULTS)
@pytest.mark.parametrize("form", FORMS)
def test_pictures_in_a_tools_result_are_pictures(form: str, around: str) -> None:
    inner = FORMS[form](png(320, 200), "image/png", "png")
    block = IN_RESULTS[around](inner)

    (found,) = media_of(block)

    assert (320, 200) == (found.width, found.height)
    assert read_blocks([block]).tokens - found.counted < 60, "what is around a picture is no base64"


@pytest.mark.parametrize("form", FORMS)
def test_pictures_among_the_results_text_are_counted_beside_it(form: str) -> None:
    picture = FORMS[form](png(320, 200), "image/png", "png")
    text = {"type": "text", "text": "The parcel is there. " * 50}

    whole = convert(ToolMessage([text, picture], tool_call_id="t", id="m"))
    alone = convert(ToolMessage([text], tool_call_id="t", id="m"))

    assert (320, 200) == (whole.media[0].width, whole.media[0].height)
    assert whole.tokens - alone.tokens == read_blocks([picture]).tokens
    assert whole.opaque


@pytest.mark.parametrize("detail", ["low", "high", "original", "auto", "vast", None, 7])
def test_openais_detail_is_read_where_its_client_sends_it_on(detail: object) -> None:
    data = url(png(3, 4), "image/png")
    sent = media_of(
        {"type": "image_url", "image_url": {"url": data, "detail": detail}},
        {"type": "input_image", "image_url": data, "detail": detail},
    )
    dropped = media_of(
        {"type": "image", "url": data, "detail": detail},
        {"type": "image", "url": data, "extras": {"detail": detail}},
    )

    known = detail if detail in ("low", "high", "original") else ""
    assert [known, known] == [each.detail for each in sent]
    assert ["", ""] == [each.detail for each in dropped]


ELSEWHERE = [
    pytest.param({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "image", id="openai"),
    pytest.param({"type": "input_image", "file_id": "file-1"}, "image", id="openai-id"),
    pytest.param({"type": "image", "url": "https://example.com/a.png"}, "image", id="langchain"),
    pytest.param({"type": "image", "source_type": "id", "id": "file-1"}, "image", id="langchain-id"),
    pytest.param({"type": "image", "file_id": "file-1"}, "image", id="langchain-v1-id"),
    pytest.param({"type": "image", "source": {"type": "url", "url": "https://e.com/a"}}, "image", id="anthropic"),
    pytest.param({"type": "image", "source": {"type": "file", "file_id": "f"}}, "image", id="anthropic-file"),
    pytest.param({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://a/b"}}}}, "image", id="s3"),
    pytest.param({"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://a/b"}}}}, "video", id="s3-video"),
    pytest.param({"type": "media", "mime_type": "video/mp4", "file_uri": "gs://a/b"}, "video", id="gemini"),
    pytest.param({"type": "media", "mime_type": "image/png", "file_uri": "gs://a/b"}, "image", id="gemini-image"),
    pytest.param({"type": "media", "mime_type": "application/pdf", "file_uri": "gs://a/b"}, "pdf", id="gemini-pdf"),
    pytest.param({"type": "audio", "url": "https://example.com/a.wav"}, "audio", id="audio"),
    pytest.param({"type": "document", "source": {"type": "url", "url": "https://e.com/a"}}, "document", id="document"),
    pytest.param({"type": "input_file", "file_url": "https://e.com/a.pdf"}, "document", id="openai-file"),
    pytest.param({"type": "file", "file": {"file_id": "file-1"}}, "document", id="openai-file-id"),
    pytest.param({"type": "file", "source_type": "id", "id": "file-1"}, "document", id="langchain-file-id"),
    pytest.param({"type": "image"}, "image", id="nothing"),
    pytest.param({"type": "image_url", "image_url": {"url": None}}, "image", id="none"),
    pytest.param({"type": "image_url", "image_url": "data:image/png;base64"}, "image", id="no-contents"),
    pytest.param({"type": "input_audio", "input_audio": {}}, "audio", id="no-audio"),
    pytest.param({"type": "document", "source": 7, "title": "Plan"}, "document", id="no-document"),
]


@pytest.mark.parametrize(("block", "kind"), ELSEWHERE)
def test_of_what_is_not_in_the_message_nothing_is_known(block: dict[str, Any], kind: str) -> None:
    (found,) = media_of(block)

    assert (kind, BINARY_TOKENS) == (found.kind, found.counted)
    assert (None, None, None) == (found.width, found.pages, found.ms)


PDF_FORMS: Mapping[str, Callable[[bytes], dict[str, Any]]] = {
    "langchain": lambda raw: {"type": "file", "base64": encoded(raw), "mime_type": "application/pdf"},
    "openai": lambda raw: {"type": "file", "file": {"filename": "a.pdf", "file_data": url(raw, "application/pdf")}},
    "openai-responses": lambda raw: {"type": "input_file", "file_data": url(raw, "application/pdf")},
    "anthropic": lambda raw: {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": encoded(raw)},
    },
    "bedrock": lambda raw: {"document": {"format": "pdf", "name": "a", "source": {"bytes": raw}}},
    "gemini": lambda raw: {"type": "media", "mime_type": "application/pdf", "data": raw},
    "fetched": lambda raw: {
        "type": "web_fetch_tool_result",
        "content": {
            "type": "web_fetch_result",
            "url": "https://example.com",
            "content": {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": encoded(raw)},
            },
        },
    },
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", PDF_FORMS)
@settings(max_examples=10)
@given(pages=st.integers(1, 40))
def test_the_pages_of_a_pdf_are_counted_in_every_form(form: str, packed: bool, pages: int) -> None:
    (found,) = media_of(PDF_FORMS[form](pdf(["Hello"] * pages, packed=packed)))

    assert ("pdf", pages, pages * PAGE_TOKENS) == (found.kind, found.pages, found.counted)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": encoded(wav(61_500)), "format": "wav"}}, id="openai"
        ),
        pytest.param({"type": "audio", "base64": encoded(wav(61_500)), "mime_type": "audio/wav"}, id="langchain"),
        pytest.param({"type": "media", "mime_type": "audio/wav", "data": wav(61_500)}, id="gemini"),
    ],
)
def test_the_length_of_a_recording_is_read(block: dict[str, Any]) -> None:
    (found,) = media_of(block)

    assert found.kind == "audio"
    assert found.ms is not None
    assert 61_500 <= found.ms <= 61_510


VIDEO_FORMS: Mapping[str, Callable[[bytes], dict[str, Any]]] = {
    "bedrock": lambda raw: {"video": {"format": "mp4", "source": {"bytes": raw}}},
    "langchain": lambda raw: {"type": "video", "base64": encoded(raw), "mime_type": "video/mp4"},
    "gemini": lambda raw: {"type": "media", "mime_type": "video/mp4", "data": encoded(raw)},
    "anthropic-like": lambda raw: {
        "type": "video",
        "source": {"type": "base64", "media_type": "video/mp4", "data": encoded(raw)},
    },
    "address": lambda raw: {"type": "video_url", "video_url": {"url": url(raw, "video/mp4")}},
}


@pytest.mark.parametrize("form", VIDEO_FORMS)
@settings(max_examples=20)
@given(ms=st.integers(1, 10**7), ahead=st.booleans(), wide=st.booleans(), size=st.integers(0, 90_000))
def test_the_length_of_a_video_is_read_wherever_its_header_stands(
    form: str, ms: int, ahead: bool, wide: bool, size: int
) -> None:
    (found,) = media_of(VIDEO_FORMS[form](mp4(ms, ahead=ahead, wide=wide, size=size)))

    assert ("video", ms) == (found.kind, found.ms)


@pytest.mark.parametrize(("fps", "times"), [(None, 1), (0.5, 1), (2, 2), (2.5, 3), ("x", 1), (float("nan"), 1)])
def test_frames_that_gemini_is_asked_to_look_at_count_as_more_video(fps: object, times: int) -> None:
    block = {**VIDEO_FORMS["gemini"](mp4(5_000)), "video_metadata": {"fps": fps}}

    assert [5_000 * times] == [each.ms for each in media_of(block)]


def test_an_office_file_is_as_large_as_its_text_is_unpacked() -> None:
    text = "All work and no play. " * 5_000
    (found,) = media_of({"document": {"format": "docx", "source": {"bytes": docx(text)}}})

    assert found.size is not None
    assert len(text) < found.size < len(text) + 100


JSON_THAT_LOOKS_LIKE_MEDIA = [
    pytest.param({"toolResult": {"content": [{"json": {"image": {"source": {"url": "https://e.com"}}}}]}}, id="result"),
    pytest.param({"type": "server_tool_result", "output": [{"mime_type": "application/pdf", "url": "u"}]}, id="search"),
    pytest.param({"type": "server_tool_call", "args": {"type": "file", "url": "https://e.com/a.pdf"}}, id="arguments"),
    pytest.param({"type": "text_editor_result", "content": {"type": "file", "name": "a.py"}}, id="name-alone"),
]


@pytest.mark.parametrize("block", JSON_THAT_LOOKS_LIKE_MEDIA)
def test_json_that_looks_like_media_is_json(block: dict[str, Any]) -> None:
    assert [] == media_of(block)


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.integers(),
        st.text(max_size=20),
        st.binary(max_size=40),
        st.just("data:image/png;base64,iVBORw0KGgo="),
        st.just("data:,"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "source",
                    "data",
                    "url",
                    "image",
                    "image_url",
                    "file",
                    "document",
                    "bytes",
                    "content",
                    "mime_type",
                ]
            ),
            st.one_of(inner, st.sampled_from(["image", "file", "document", "base64", "image/png", "application/pdf"])),
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(JUNK)
def test_whatever_a_message_holds_it_is_read(junk: object) -> None:
    read = read_blocks([junk])

    assert sum(each.counted for each in read.media) <= read.tokens


def test_a_block_that_holds_itself_counts_as_the_largest() -> None:
    block: dict[str, Any] = {"type": "tool_result", "content": []}
    block["content"].append(block)

    assert ["document"] == [each.kind for each in media_of("text", block)]


@given(st.sampled_from([*FORMS]), st.sampled_from([*PICTURES]), st.data())
def test_a_picture_that_is_cut_off_or_damaged_is_still_a_picture(form: str, kind: str, data: st.DataObject) -> None:
    whole = PICTURES[kind](300, 200)
    cut = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, len(cut) - 1), max_size=3)):
        cut[at] = data.draw(st.integers(0, 255))

    found = media_of(FORMS[form](bytes(cut), "image/png", "png"))

    assert 1 == len(found)
