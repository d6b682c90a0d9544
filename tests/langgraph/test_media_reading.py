"""A picture is found by its first bytes: no more of a message is decoded than must be, and nothing that a client sends is missed."""

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from governor.media import Media
from governor.tokens import estimate, estimate_message
from governor_langgraph.blocks import read_blocks
from governor_langgraph.contents import contents_of
from governor_langgraph.media import BINARY_TOKENS
from governor_langgraph.messages import convert, key_of
from tests.media_files import jpeg, png, wav


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def url(raw: bytes, mime: str) -> str:
    return f"data:{mime};base64,{encoded(raw)}"


def picture(raw: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(raw, "image/png")}}


def media_of(*blocks: object) -> list[Media]:
    return list(read_blocks(blocks).media)


# --- no more is read than must be


def test_a_camera_s_notes_before_the_picture_are_skipped() -> None:
    raw = jpeg(4_000, 3_000, notes=[bytes(65_000)] * 4)
    (found,) = media_of({"type": "image", "base64": encoded(raw), "mime_type": "image/jpeg"})

    assert (4_000, 3_000) == (found.width, found.height)


@pytest.mark.parametrize("wrap", [0, 64, 76])
@pytest.mark.parametrize("safe", [False, True])
@given(st.binary(max_size=400), st.integers(0, 500))
def test_the_beginning_of_base64_is_the_beginning_of_what_it_stands_for(
    safe: bool, wrap: int, raw: bytes, count: int
) -> None:
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(raw).decode()
    if wrap:
        text = "\n".join(text[i : i + wrap] for i in range(0, len(text), wrap))
    held = contents_of(text)

    assert held is not None
    assert raw == held.whole()
    assert len(raw) <= held.size <= len(raw) * 11 // 10 + 10
    assert raw.startswith(held.head(count))
    assert wrap or raw[:count] == held.head(count)
    assert wrap or raw[count : count + 9] == held.part(count, 9)


def test_reading_a_large_picture_takes_as_long_as_reading_a_small_one() -> None:
    """Of 20 MB, a kilobyte is decoded: the time of all of it would be ten thousand times as much."""

    def fastest(raw: bytes) -> float:
        block = {"type": "image_url", "image_url": {"url": url(raw, "image/png")}}
        times: list[float] = []
        for _ in range(30):
            begun = time.perf_counter()
            read_blocks([block])
            times.append(time.perf_counter() - begun)
        return min(times)

    picture = png(640, 480)

    assert fastest(picture + bytes(20_000_000)) < 20 * fastest(picture)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(HumanMessage([picture(png(5, 5))]), id="no-id"),
        pytest.param(HumanMessage("Hello", id="m"), id="id"),
        pytest.param(AIMessage("", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}]), id="calls"),
    ],
)
def test_a_message_has_its_key_before_it_is_read(message: BaseMessage) -> None:
    assert convert(message).key == key_of(message)


# --- what is sent beside the content


def test_an_answer_that_was_spoken_counts_as_a_recording() -> None:
    spoken = AIMessage(
        "", id="m", additional_kwargs={"audio": {"id": "a", "data": encoded(wav(9_000)), "transcript": "So"}}
    )

    (found,) = convert(spoken).media

    assert found.ms is not None
    assert 9_000 <= found.ms <= 9_010


def test_a_screenshot_in_place_of_a_result_is_a_picture() -> None:
    shot = ToolMessage(
        url(png(1_024, 768), "image/png"),
        id="m",
        tool_call_id="c",
        additional_kwargs={"type": "computer_call_output"},
    )

    message = convert(shot)

    assert [(1_024, 768)] == [(each.width, each.height) for each in message.media]
    assert estimate_message("", ()) + message.media[0].counted == message.tokens


def test_a_small_picture_counts_for_little_in_a_history() -> None:
    small, large = (media_of(picture(png(edge, edge)))[0] for edge in (32, 4_000))

    assert (2, BINARY_TOKENS) == (small.counted, large.counted)
    assert estimate("x") < 3
