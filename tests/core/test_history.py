"""The history of a lane: what a call pays for, and what it notices."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import History, Message
from governor.history import HistoryMemo


@dataclass(eq=False)
class Source:
    """A vendor's message; two of them are equal only if they are the same."""

    key: str
    content: str


@dataclass
class Reader:
    """Converts sources and remembers which."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, source: object) -> Message:
        assert isinstance(source, Source)
        self.seen.append(source.key)
        role = "assistant" if source.content == "ab" else "user"
        return Message(key=source.key, role=role, text=source.content, tokens=len(source.content), source=source)


def whole(message: Message) -> tuple[Message, str | None]:
    return message, None


def texts(history: History) -> list[str]:
    return [message.text for message in history.messages]


def sources(*contents: str) -> list[object]:
    return [Source(f"k{i}", content) for i, content in enumerate(contents)]


def test_a_call_converts_only_the_messages_that_are_new() -> None:
    memo, read, messages = HistoryMemo(), Reader(), sources("a", "bb")
    memo.extend(messages, read, whole)

    history, _ = memo.extend([*messages, Source("k2", "ccc")], read, whole)

    assert ["k0", "k1", "k2"] == read.seen
    assert ["a", "bb", "ccc"] == texts(history)
    assert 6 == history.tokens


def test_an_earlier_history_keeps_its_length_and_tokens_when_the_lane_grows() -> None:
    memo, read, messages = HistoryMemo(), Reader(), sources("a", "bb", "ccc")
    before, _ = memo.extend(messages[:2], read, whole)
    memo.extend(messages, read, whole)

    assert (["a", "bb"], 3) == (texts(before), before.tokens)


def test_a_shorter_history_of_the_same_messages_converts_nothing() -> None:
    memo, read, messages = HistoryMemo(), Reader(), sources("a", "bb", "ccc")
    memo.extend(messages, read, whole)

    shorter, _ = memo.extend(messages[:1], read, whole)

    assert (["a"], 1, 3) == (texts(shorter), shorter.tokens, len(read.seen))


def test_a_text_assigned_in_place_is_noticed_and_the_messages_after_it_are_not_converted_again() -> None:
    memo, read, messages = HistoryMemo(), Reader(), sources("a", "bb", "ccc")
    before, _ = memo.extend(messages, read, whole)
    edited = messages[1]
    assert isinstance(edited, Source)
    edited.content = "[cleared]"

    after, _ = memo.extend(messages, read, whole)

    assert ["a", "[cleared]", "ccc"] == texts(after)
    assert 13 == after.tokens
    assert ["a", "bb", "ccc"] == texts(before)
    assert 6 == before.tokens
    assert ["k0", "k1", "k2", "k1"] == read.seen


def test_equal_copies_of_the_messages_are_the_same_messages() -> None:
    @dataclass
    class Valued:
        content: str

    calls: list[object] = []

    def read(source: object) -> Message:
        calls.append(source)
        assert isinstance(source, Valued)
        return Message(key=source.content, role="user", text=source.content, tokens=1)

    memo = HistoryMemo()
    memo.extend([Valued("a"), Valued("b")], read, whole)
    copies: list[object] = [Valued("a"), Valued("b")]
    memo.extend(copies, read, whole)
    edited = copies[1]
    assert isinstance(edited, Valued)
    edited.content = "c"

    history, _ = memo.extend(copies, read, whole)

    assert (3, ["a", "c"]) == (len(calls), texts(history))


def test_sources_without_attributes_need_a_fingerprint_to_be_noticed_when_edited() -> None:
    memo = HistoryMemo(fingerprint=lambda source: tuple(source) if isinstance(source, list) else None)
    message: list[object] = ["a"]

    def read(source: object) -> Message:
        assert isinstance(source, list)
        return Message(key="k", role="user", text=str(source[0]), tokens=1)

    memo.extend([message], read, whole)
    message[0] = "b"
    history, _ = memo.extend([message], read, whole)

    assert ["b"] == texts(history)


def test_two_messages_with_one_key_get_keys_of_their_own() -> None:
    memo = HistoryMemo()
    same: list[object] = [Source("k", "a"), Source("k", "a"), Source("k", "a")]

    history, _ = memo.extend(same, Reader(), whole)

    assert ["k", "k#2", "k#3"] == [message.key for message in history.messages]
    assert {"k": 0, "k#2": 1, "k#3": 2} == dict(history.index)


def test_what_is_elided_is_reported_once_with_its_full_text() -> None:
    def cut(message: Message) -> tuple[Message, str | None]:
        if len(message.text) < 3:
            return message, None
        return Message(key=message.key, role=message.role, text="...", tokens=1), "r-1"

    memo, messages = HistoryMemo(), sources("a", "long text")

    history, first = memo.extend(messages, Reader(), cut)
    _, second = memo.extend(messages, Reader(), cut)

    assert ((("r-1", "long text"),), ()) == (first, second)
    assert (["a", "..."], 2) == (texts(history), history.tokens)


def test_rendered_messages_stay_in_step_with_the_shown_ones() -> None:
    rendered: list[str] = []

    def render(message: Message) -> str:
        rendered.append(message.key)
        return message.text.upper()

    memo, messages = HistoryMemo(render=render), sources("a", "bb", "ccc")
    memo.extend(messages, Reader(), whole)
    memo.extend([messages[0], messages[2], Source("k9", "d")], Reader(), whole)

    assert ["A", "CCC", "D"] == memo.rendered
    assert ["k0", "k1", "k2", "k9"] == rendered


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["append", "drop", "edit", "insert", "copy"]), st.integers(0, 30), st.text("ab", max_size=3)
    ),
    max_size=25,
)


def _changed(messages: list[object], edit: str, at: int, text: str) -> list[object]:
    messages = list(messages)
    at = min(at, len(messages))
    if edit == "append":
        return [*messages, Source(f"k{at}", text)]
    if edit == "insert":
        return [*messages[:at], Source(f"k{at}", text), *messages[at:]]
    if edit == "drop":
        return messages[:at] + messages[at + 1 :]
    if edit == "copy":
        return [Source(m.key, m.content) for m in messages if isinstance(m, Source)]
    if at < len(messages):
        edited = messages[at]
        assert isinstance(edited, Source)
        edited.content = text
    return messages


@given(EDITS)
def test_after_any_edits_the_history_is_the_one_of_a_fresh_memo_and_old_histories_stand(
    edits: list[tuple[str, int, str]],
) -> None:
    memo = HistoryMemo(render=lambda message: message.text)
    messages: list[object] = []
    handed_out: list[tuple[History, list[str], int]] = []
    for edit, at, text in edits:
        messages = _changed(messages, edit, at, text)
        history, _ = memo.extend(messages, Reader(), whole)
        fresh, _ = HistoryMemo().extend(messages, Reader(), whole)
        assert list(fresh.messages) == list(history.messages)
        assert fresh.tokens == history.tokens
        assert [history.messages[history.index[m.key]] for m in history.messages] == list(history.messages)
        assert texts(history) == memo.rendered[: len(messages)]
        handed_out.append((history, texts(history), history.tokens))

    for history, shown, tokens in handed_out:
        assert (shown, tokens) == (texts(history), history.tokens)
        noted = [position for position in history.spoken or () if position < len(history.messages)]
        assert noted == [i for i, message in enumerate(history.messages) if message.role in ("system", "user")]


class Clocked(Reader):
    """The first source is a system text; what follows `@` in it is sent at the tail."""

    def __call__(self, source: object) -> Message:
        message = super().__call__(source)
        return replace(message, role="system") if message.key == "k0" else message


def without_clock(message: Message) -> tuple[Message, str | None]:
    text, _, clock = message.text.partition("@")
    return (replace(message, text=text, tokens=len(text), edited=True, moved=clock) if clock else message), None


def test_a_clock_that_ticks_in_the_system_text_converts_nothing_else_anew() -> None:
    memo, read = HistoryMemo(render=lambda message: message.text + message.moved), Clocked()
    messages = sources("rules@1", "b", "cc")
    before, _ = memo.extend(messages, read, without_clock)
    rendered = memo.rendered
    after, _ = memo.extend([Source("k0", "rules@2"), *messages[1:], Source("k3", "d")], read, without_clock)

    assert ["k0", "k1", "k2", "k0", "k3"] == read.seen
    assert (["1", "", ""], ["2", "", "", ""]) == tuple([m.moved for m in each.messages] for each in (before, after))
    assert (["rules1", "b", "cc"], ["rules2", "b", "cc", "d"]) == (rendered, memo.rendered)
    assert len("rulesbccd") == after.tokens == after.uncapped
    assert after.replaced is None


@pytest.mark.parametrize("other", ["laws@2", "rules", "rules@"])
def test_another_text_or_one_without_a_clock_is_another_history(other: str) -> None:
    memo, messages = HistoryMemo(), sources("rules@1", "b")
    memo.extend(messages, Clocked(), without_clock)
    changed = [Source("k0", other), messages[1]]

    after, _ = memo.extend(changed, Clocked(), without_clock)
    fresh, _ = HistoryMemo().extend(changed, Clocked(), without_clock)

    assert list(fresh.messages) == list(after.messages)
    assert (fresh.tokens, fresh.moved) == (after.tokens, after.moved)
    assert after.replaced is not None


@pytest.mark.bench
def test_adding_two_messages_to_two_thousand_takes_less_than_150_microseconds() -> None:
    from langchain_core.messages import AIMessage

    def read(source: object) -> Message:
        assert isinstance(source, AIMessage)
        return Message(key=str(source.id), role="assistant", text=str(source.content), tokens=4, source=source)

    memo = HistoryMemo()
    messages: list[object] = [AIMessage(content=f"message {i}", id=str(i)) for i in range(2_000)]
    memo.extend(messages, read, whole)

    def grow() -> float:
        messages.extend(AIMessage(content="more", id=str(len(messages) + i)) for i in range(2))
        start = perf_counter()
        memo.extend(messages, read, whole)
        return perf_counter() - start

    fastest = min(_times(grow, 50))

    assert fastest < 150e-6, f"{fastest * 1e6:.0f} us"


def _times(run: Callable[[], float], count: int) -> list[float]:
    return [run() for _ in range(count)]
