"""What a picture is billed at: vendors' own examples, and real files over the wire."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from governor_sandbox import Sandbox
from governor_sandbox.pictures import RULES, picture_size
from tests.media_files import PICTURES, png, wav
from tests.sandbox.clients import NOVA_PRO, anthropic, bedrock, openai

EXAMPLES = [
    # platform.claude.com, "Images and vision"; the others as measured (patches of an unscaled picture)
    ("claude", 1_092, 1_092, "", 1_521),
    ("claude", 1_024, 1_024, "", 1_369),
    ("claude", 1_280, 720, "", 1_196),
    ("claude", 200, 200, "", 64),
    ("claude-4.7", 1_920, 1_080, "", 2_691),
    ("claude-4.7", 3_840, 2_160, "", 4_784),
    # OpenAI, "Images and vision"
    ("gpt-4o", 1_024, 1_024, "high", 765),
    ("gpt-4o", 2_048, 4_096, "high", 1_105),
    ("gpt-4o", 4_096, 8_192, "low", 85),
    ("gpt-4.1-mini", 1_024, 1_024, "", 1_659),
    ("gpt-4.1-mini", 1_800, 2_400, "", 2_353),
    ("gpt-5.2", 1_024, 1_024, "", 1_229),
    # AWS, "Image understanding"
    ("nova", 900, 450, "", 800),
    ("nova", 800, 400, "", 800),
    ("nova", 900, 900, "", 1_300),
    ("nova", 1_300, 1_300, "", 2_600),
]


@pytest.mark.parametrize(("rule", "width", "height", "detail", "billed"), EXAMPLES)
def test_a_picture_is_billed_as_in_the_vendors_examples(
    rule: str, width: int, height: int, detail: str, billed: int
) -> None:
    assert billed == RULES[rule].tokens(width, height, detail)


@pytest.mark.parametrize("rule", RULES)
@given(st.integers(1, 8_000), st.integers(1, 8_000), st.sampled_from(["", "low", "high"]))
def test_a_picture_on_its_side_costs_the_same(rule: str, width: int, height: int, detail: str) -> None:
    tokens = RULES[rule].tokens

    assert 0 < tokens(width, height, detail) == tokens(height, width, detail)


@pytest.mark.parametrize("kind", PICTURES)
@given(st.integers(1, 900), st.integers(1, 900))
def test_the_size_is_read_from_real_files(kind: str, width: int, height: int) -> None:
    assert (width, height) == picture_size(PICTURES[kind](width, height))


@given(st.sampled_from([*PICTURES]), st.integers(0, 60), st.binary(max_size=30))
def test_a_damaged_file_has_a_size_or_none(kind: str, kept: int, rest: bytes) -> None:
    size = picture_size(PICTURES[kind](30, 20)[:kept] + rest)

    assert size is None or min(size) > 0


def in_url(raw: bytes) -> Any:
    data = base64.b64encode(raw).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        pytest.param(anthropic, "claude", id="anthropic"),
        pytest.param(lambda box: bedrock(box, NOVA_PRO), "nova", id="nova"),
        pytest.param(openai, "gpt-4o", id="openai"),
    ],
)
def test_clients_send_pictures_that_are_billed_by_their_size(
    box: Sandbox, build: Callable[[Sandbox], BaseChatModel], rule: str
) -> None:
    model = build(box)
    asked: dict[str, Any] = {"type": "text", "text": "What is it?"}
    pictures: list[list[Any]] = [[], [in_url(png(640, 480))], [in_url(png(1_500, 300))]]
    for each in pictures:
        model.invoke([HumanMessage([asked, *each])])

    plain, wide, flat = (record.usage.input for record in box.meter.records)
    assert RULES[rule].tokens(640, 480, "") == wide - plain
    assert RULES[rule].tokens(1_500, 300, "") == flat - plain


def test_a_recording_is_billed_by_its_length(box: Sandbox) -> None:
    model = openai(box)
    data = base64.b64encode(wav(12_000)).decode()
    block: dict[str, Any] = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}

    for blocks in ([], [block]):
        model.invoke([HumanMessage([{"type": "text", "text": "What was said?"}, *blocks])])

    plain, heard = (record.usage.input for record in box.meter.records)
    assert 120 == heard - plain
