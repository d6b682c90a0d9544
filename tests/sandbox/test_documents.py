"""What a document in a prompt is billed at."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from governor_sandbox import Sandbox
from governor_sandbox.prompt import IMAGE_TOKENS
from tests.sandbox.clients import anthropic, bedrock

TEXT = "word " * 500


def tokens(box: Sandbox, model: BaseChatModel, *blocks: Any) -> int:
    model.invoke([HumanMessage([{"type": "text", "text": "Read."}, *blocks])])
    return box.meter.records[-1].usage.input


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"type": "text", "media_type": "text/plain", "data": TEXT}, id="text"),
        pytest.param({"type": "content", "content": [{"type": "text", "text": TEXT}]}, id="content"),
    ],
)
def test_anthropic_bills_a_text_document_by_its_text(box: Sandbox, source: dict[str, Any]) -> None:
    model = anthropic(box)
    document = {"type": "document", "source": source}

    assert tokens(box, model, {"type": "text", "text": TEXT}) == tokens(box, model, document)


def test_bedrock_bills_a_text_document_by_its_text(box: Sandbox) -> None:
    model = bedrock(box)
    document = {"document": {"format": "txt", "name": "notes", "source": {"bytes": TEXT.encode()}}}

    assert tokens(box, model, {"type": "text", "text": TEXT}) == tokens(box, model, document)


def test_a_binary_document_has_the_flat_price_of_an_image(box: Sandbox) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="}
    claude, converse = anthropic(box), bedrock(box)
    pdf = {"document": {"format": "pdf", "name": "notes", "source": {"bytes": b"%PDF-1.4" * 1_000}}}

    assert IMAGE_TOKENS == tokens(box, claude, {"type": "document", "source": source}) - tokens(box, claude)
    assert IMAGE_TOKENS == tokens(box, converse, pdf) - tokens(box, converse)
