"""Tokens, what is generated from a reply, and the frames it travels in."""

import json
from typing import Any

from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from governor_sandbox import Reply, ScriptedCall, count, eventstream
from governor_sandbox.output import CallPart, Output, compose
from governor_sandbox.tokens import pieces


def generate(reply: Reply, *, limit: int = 1000, stops: tuple[str, ...] = ()) -> Output:
    return compose(reply, limit=limit, stops=stops, call_ids="id")


def test_english_has_about_four_characters_per_token() -> None:
    text = "The quick brown fox jumps over the lazy dog, and the order database answers within milliseconds. " * 20

    assert 3.5 < len(text) / count(text) < 5.5


def test_one_character_of_chinese_is_one_token() -> None:
    assert 6 == count("订单在哪里？")


@given(st.text())
def test_pieces_give_the_text_back(text: str) -> None:
    assert text == "".join(pieces(text))


@given(st.text(alphabet="ab 1\n.漢", max_size=60))
def test_no_piece_is_empty(text: str) -> None:
    assert all(pieces(text))


def test_padding_lengthens_the_text_to_the_asked_size() -> None:
    output = generate(Reply(text="Short.", pad_to_tokens=100))

    assert 100 == output.tokens == count(output.text)
    assert output.text.startswith("Short. I checked")


def test_padding_never_shortens() -> None:
    assert "one two three" == generate(Reply(text="one two three", pad_to_tokens=2)).text


def test_the_earliest_stop_sequence_counts_and_no_tool_is_called_after_it() -> None:
    reply = Reply(text="a b c d", tool_calls=(ScriptedCall(name="f", args={}),))

    output = generate(reply, stops=("d", "b"))

    assert ("a ", "stop_sequence", "b", ()) == (output.text, output.stop, output.stop_sequence, output.calls)


def test_reasoning_counts_against_the_limit() -> None:
    output = generate(Reply(text="one two three", reasoning_tokens=5), limit=6)

    assert ("one", "max_tokens", 6) == (output.text, output.stop, output.tokens)


def test_a_cut_tool_call_is_marked_incomplete() -> None:
    reply = Reply(tool_calls=(ScriptedCall(name="look", args={"a": "some long text that goes on"}),))

    output = generate(reply, limit=4)
    (call,) = output.calls

    assert (False, {}, "max_tokens") == (call.complete, call.args, output.stop)
    assert '{"a":"some long text that goes on"}'.startswith(call.json)


REPLIES = st.builds(
    Reply,
    text=st.text(max_size=60),
    tool_calls=st.lists(
        st.builds(
            ScriptedCall,
            name=st.sampled_from(["f", "lookup_order"]),
            args=st.dictionaries(st.text(max_size=5), st.integers()),
        ),
        max_size=3,
    ).map(tuple),
    reasoning_tokens=st.integers(0, 20),
    pad_to_tokens=st.integers(0, 40),
)


@given(REPLIES, st.integers(1, 120))
def test_output_never_passes_the_limit_and_is_a_prefix_of_the_whole(reply: Reply, limit: int) -> None:
    whole, cut = generate(reply, limit=10_000), generate(reply, limit=limit)

    assert cut.tokens == min(limit, whole.tokens) or (cut.tokens <= limit and cut.stop == "max_tokens")
    assert whole.text.startswith(cut.text)
    assert ("max_tokens" == cut.stop) == (cut.tokens < whole.tokens)
    for mine, theirs in zip(cut.calls, whole.calls, strict=False):
        assert theirs.json.startswith(mine.json)


def test_call_ids_are_unique_within_a_reply() -> None:
    output = generate(Reply(tool_calls=tuple(ScriptedCall(name="f", args={}) for _ in range(3))))

    assert ["id00", "id01", "id02"] == [part.id for part in output.parts if isinstance(part, CallPart)]


# --- frames: written here, read by botocore ------------------------------------------------------------------------------

JSON: Any = st.dictionaries(st.text(max_size=8), st.text(max_size=200) | st.integers() | st.booleans(), max_size=5)
NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-:", min_size=1, max_size=40)


@given(st.lists(st.tuples(NAMES, JSON), max_size=8), st.integers(1, 64))
def test_botocore_decodes_every_event_whatever_the_packets(events: list[tuple[str, Any]], packet: int) -> None:
    raw = b"".join(eventstream.event(name, payload) for name, payload in events)
    buffer = EventStreamBuffer()
    decoded: list[tuple[str, Any]] = []
    for i in range(0, len(raw), packet):
        buffer.add_data(raw[i : i + packet])
        decoded.extend((m.headers[":event-type"], json.loads(m.payload)) for m in buffer)

    assert events == decoded


@given(st.dictionaries(NAMES, st.text(max_size=100), max_size=6), st.binary(max_size=500))
def test_botocore_decodes_any_headers_and_payload(headers: dict[str, str], payload: bytes) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.frame(headers, payload))

    (message,) = list(buffer)
    assert (headers, payload) == (message.headers, message.payload)


def test_an_exception_frame_is_read_as_an_error() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.exception("throttlingException", "slow down"))

    (message,) = list(buffer)
    answer: Any = message.to_response_dict()
    assert (400, "exception") == (answer["status_code"], answer["headers"][":message-type"])
    assert b'{"message":"slow down"}' == answer["body"]
