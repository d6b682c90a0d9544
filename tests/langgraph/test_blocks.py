"""What documents and other blocks count for, in every vendor's words."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from governor.tokens import estimate, estimate_tool
from governor_langgraph.blocks import read_blocks
from governor_langgraph.media import BINARY_TOKENS, PAGE_TOKENS
from governor_langgraph.messages import convert
from governor_langgraph.recall import recall_tool

TEXT = "The parcel of order 4711 was left with a neighbour on Tuesday. " * 400
ENCODED = base64.b64encode(TEXT.encode()).decode()


def block_tokens(block: object) -> int:
    return read_blocks([block]).tokens


TEXT_DOCUMENTS = [
    pytest.param(
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": TEXT}}, id="anthropic-text"
    ),
    pytest.param(
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": TEXT}]}},
        id="anthropic-content",
    ),
    pytest.param({"document": {"format": "txt", "source": {"bytes": TEXT.encode()}}}, id="bedrock"),
    pytest.param(
        {"type": "document", "document": {"format": "md", "source": {"bytes": ENCODED}}}, id="bedrock-encoded"
    ),
    pytest.param({"document": {"format": "txt", "source": {"text": TEXT}}}, id="bedrock-text"),
    pytest.param({"type": "file", "base64": ENCODED, "mime_type": "text/csv"}, id="langchain-file"),
    pytest.param({"type": "file", "source_type": "text", "text": TEXT, "mime_type": "text/plain"}, id="langchain-v0"),
    pytest.param({"type": "text-plain", "text": TEXT, "mime_type": "text/plain"}, id="langchain-text"),
    pytest.param({"type": "text-plain", "base64": ENCODED}, id="langchain-text-encoded"),
    pytest.param({"type": "file", "file": {"file_data": f"data:text/plain;base64,{ENCODED}"}}, id="openai"),
    pytest.param({"type": "input_file", "file_data": f"data:text/markdown;base64,{ENCODED}"}, id="openai-responses"),
    pytest.param({"type": "media", "mime_type": "application/json", "data": TEXT.encode()}, id="google"),
]


@pytest.mark.parametrize("block", TEXT_DOCUMENTS)
def test_a_text_document_counts_by_its_text(block: dict[str, Any]) -> None:
    assert estimate(TEXT) == block_tokens(block)


def test_what_the_model_reads_beside_the_contents_counts_too() -> None:
    block = {"type": "document", "title": "Delivery", "context": TEXT, "source": {"type": "text", "data": TEXT}}

    assert 2 * estimate(TEXT) + estimate("Delivery") == block_tokens(block)


def test_a_pdf_counts_by_its_pages() -> None:
    raw = b"%PDF-1.4\n1 0 obj << /Type /Pages /Count 3 >> endobj\n" + b"2 0 obj << /Type /Page >> endobj\n" * 3
    block = {"document": {"format": "pdf", "source": {"bytes": raw}}}

    assert 3 * PAGE_TOKENS == block_tokens(block)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_document_of_which_only_the_size_is_known_counts_by_its_size(wrapped: bool) -> None:
    encoded = base64.b64encode(bytes(90_000)).decode()
    data = "\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76)) if wrapped else encoded
    block = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}

    assert 30_000 == block_tokens(block)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}, id="url"),
        pytest.param({"type": "file", "file": {"file_id": "file-1"}}, id="id"),
        pytest.param({"document": {"format": "pdf", "source": {"s3Location": {"uri": "s3://a/b"}}}}, id="s3"),
        pytest.param({"document": {"format": "pdf", "source": {"bytes": b"%PDF-1.7"}}}, id="small"),
        pytest.param({"type": "image", "base64": "aGk=" * 50_000, "mime_type": "image/png"}, id="image"),
        pytest.param({"image": {"format": "png", "source": {"bytes": bytes(90_000)}}}, id="bedrock-image"),
        pytest.param({"type": "file", "base64": "aGk=" * 50_000, "mime_type": "image/png"}, id="image-as-file"),
    ],
)
def test_what_has_no_telling_size_counts_as_a_large_image(block: dict[str, Any]) -> None:
    assert BINARY_TOKENS == block_tokens(block)


def test_a_picture_inside_a_document_counts_as_a_picture() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk=" * 9_000}}
    block = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "See"}, picture]}}

    assert estimate("See") + BINARY_TOKENS == block_tokens(block)


def test_a_message_counts_its_documents() -> None:
    block = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": TEXT}}

    plain, with_document = (convert(HumanMessage(content)) for content in ("Read.", ["Read.", block]))

    assert estimate(TEXT) == with_document.tokens - plain.tokens


JSON = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=20), st.binary(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["source", "data", "text", "bytes", "url", "format", "document"]), inner),
    ),
    max_leaves=8,
)


@given(st.sampled_from(["document", "file", "text-plain", "image", "other"]), JSON)
def test_whatever_a_block_holds_it_has_a_count(kind: str, inside: object) -> None:
    assert block_tokens({"type": kind, "source": inside}) >= 0


def test_the_recall_tool_is_offered_in_few_tokens() -> None:
    """Every call pays for it, also where nothing was shortened yet."""
    assert estimate_tool(json.dumps(convert_to_openai_tool(recall_tool))) <= 110
