"""What a document in a prompt is billed at."""

import base64
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from governor_sandbox import Sandbox
from governor_sandbox.pictures import RULES
from governor_sandbox.tokens import count
from tests.media_files import pdf
from tests.sandbox.clients import NOVA_PRO, anthropic, bedrock, openai

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


@pytest.mark.parametrize("packed", [False, True])
def test_a_pdf_is_billed_as_its_text_and_a_picture_of_each_page(box: Sandbox, packed: bool) -> None:
    raw = pdf(["Left with a neighbour.", "Not (yet) delivered."], packed=packed)
    encoded = base64.b64encode(raw).decode()
    text = count("Left with a neighbour.\nNot (yet) delivered.")
    claude, gpt, nova = anthropic(box), openai(box), bedrock(box, NOVA_PRO)

    native = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": encoded}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{encoded}"}}
    converse = {"document": {"format": "pdf", "name": "a", "source": {"bytes": raw}}}

    assert text + 2 * 1_568 == tokens(box, claude, native) - tokens(box, claude)
    assert text + 1 + 2 * RULES["gpt-4o"].page() == tokens(box, gpt, file) - tokens(box, gpt)
    assert text + 2 * RULES["nova"].page() == tokens(box, nova, converse) - tokens(box, nova)


def test_bedrock_shows_claude_the_pages_of_a_pdf_only_with_citations(box: Sandbox) -> None:
    model = bedrock(box)
    plain = {"format": "pdf", "name": "a", "source": {"bytes": pdf(["Left with a neighbour."])}}
    text = count("Left with a neighbour.")

    assert text == tokens(box, model, {"document": plain}) - tokens(box, model)
    cited = {**plain, "citations": {"enabled": True}}
    assert text + 1_568 == tokens(box, model, {"document": cited}) - tokens(box, model)
