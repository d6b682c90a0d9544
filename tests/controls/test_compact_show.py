"""How long tool results are shown, and how the rest is read back."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import Message
from governor.controls.compact import RECALL_TOOL, Compact, place_of
from governor.tokens import estimate, estimate_message
from tests.controls.histories import answer, policy, user, words

CAP = 2_000


def capping(cap: object = "2k", **results: object) -> Compact:
    return Compact(policy(context={"tool_results": {"cap": cap, **results}}))


def result(text: str, name: str = "search") -> Message:
    return answer("t1", "c1", text, name)


LOG = "\n".join(f"2026-08-01 12:00:{i % 60:02} worker-{i} finished batch {i} without incident" for i in range(600))


def test_a_short_result_is_shown_as_it_is() -> None:
    message = result(words(1_600))

    assert (message, None) == capping().show(message)


def test_a_long_result_shows_its_beginning_its_end_and_where_the_rest_is() -> None:
    message = result(LOG)

    shown, handle = capping().show(message)
    lines = shown.text.split("\n")

    assert (LOG.split("\n")[0], LOG.split("\n")[-1]) == (lines[0], lines[-1])
    assert re.fullmatch(r"r-[0-9a-f]{8}", str(handle))
    pointer = next(line for line in lines if line.startswith("[..."))
    assert pointer.endswith(f' tokens left out; recall(handle="{handle}") reads them]')
    assert set(lines) - {pointer} <= set(LOG.split("\n"))
    assert (True, 1) == (shown.edited, shown.blocks)


def test_the_pointer_counts_what_is_left_out() -> None:
    message = result(LOG)
    shown, _ = capping().show(message)
    pointer = next(line for line in shown.text.split("\n") if line.startswith("[..."))
    left_out = int(pointer.split()[1].replace(",", ""))

    assert abs(message.tokens - shown.tokens + estimate(pointer) - left_out) < 20


def test_lines_that_report_errors_are_shown_wherever_they_are() -> None:
    lines = LOG.split("\n")
    lines[300] = "2026-08-01 12:05:00 worker-300 raised ConnectionError: refused by 10.0.0.7"
    message = result("\n".join(lines))

    shown, _ = capping().show(message)

    assert lines[300] in shown.text.split("\n")


def test_json_keeps_its_keys_and_its_shape_and_counts_what_was_cut() -> None:
    rows = [{"id": i, "name": f"customer {i}", "tags": ["a", "b"], "total": "12.50"} for i in range(900)]
    text = json.dumps({"status": "ok", "next": "page-2", "rows": rows, "count": 900})

    shown, handle = capping().show(result(text))
    body, _, pointer = shown.text.rpartition("\n")
    parsed = json.loads(body)

    assert ["status", "next", "rows", "count"] == list(parsed)
    assert {"id": 0, "name": "customer 0", "tags": ["a", "b"], "total": "12.50"} == parsed["rows"][0]
    assert f"... {900 - len(parsed['rows']) + 1:,} more items" == parsed["rows"][-1]
    assert str(handle) in pointer


def test_numbers_in_json_stay_as_they_were_written() -> None:
    text = json.dumps({"rows": ["x" * 50] * 900})[:-1] + ', "price": 1.10, "id": 12345678901234567890123}'

    shown, _ = capping().show(result(text))

    assert '"price": 1.10, "id": 12345678901234567890123' in shown.text


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(user(words(9_000)), id="what-a-user-wrote"),
        pytest.param(replace(result(words(9_000)), opaque=True), id="a-result-with-images"),
        pytest.param(result(words(9_000), RECALL_TOOL), id="what-the-recall-tool-answered"),
    ],
)
def test_other_messages_are_never_cut(message: Message) -> None:
    assert (message, None) == capping().show(message)


def test_nothing_is_cut_without_a_cap_or_in_observe_mode() -> None:
    message = result(LOG)
    observing = Compact(policy(mode="observe", context={"tool_results": {"cap": "2k"}}))

    assert [(message, None)] * 2 == [Compact(policy()).show(message), observing.show(message)]


def test_a_graph_that_cannot_answer_the_recall_tool_loses_nothing_unless_the_policy_accepts_it() -> None:
    message = result(LOG)

    assert (message, None) == capping().show(message, recall=False)
    shown, handle = capping(recall=False).show(message, recall=False)
    assert (None, True, False) == (handle, "tokens left out]" in shown.text, "recall(" in shown.text)


TEXTS = st.one_of(
    st.text(min_size=1, max_size=400).map(lambda piece: piece * 60),
    st.lists(st.text("abc error0 ", min_size=1, max_size=90), min_size=30, max_size=300).map("\n".join),
    st.recursive(
        st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=60), st.none()),
        lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=8),
    ).map(lambda value: json.dumps([value] * 60)),
    st.integers(500, 9_000).map(lambda count: "9f" * count),
    st.integers(500, 9_000).map(lambda count: "漢字" * count),
)


@given(TEXTS, st.integers(60, 3_000))
def test_a_result_is_shown_within_the_cap_in_a_form_that_depends_on_it_alone(text: str, cap: int) -> None:
    message = result(text)
    shown, handle = capping(cap).show(message)

    assert (shown, handle) == capping(cap).show(replace(message))
    assert shown.tokens == estimate_message(shown.text)
    assert message.tokens <= cap or shown.tokens <= cap
    assert (handle is None) == (shown == message)


@given(TEXTS)
def test_two_texts_have_one_handle_only_if_they_are_the_same(text: str) -> None:
    handles = {capping(60).show(result(each))[1] for each in (text + LOG, text + LOG, LOG + text + ".")}

    assert 2 == len(handles)


@given(TEXTS, st.integers(16, 2_500))
def test_reading_page_after_page_gives_the_whole_text(text: str, size: int) -> None:
    read, offset = "", 0
    while True:
        page = Compact.recall_page(text, offset, size, handle="r-1a2b3c4d")
        match = re.search(
            r'\n\[\.\.\. [\d,]+ of [\d,]+ characters follow; recall\(handle="(r-1a2b3c4d@\d+)"\) reads on\]\Z', page
        )
        read += page[: match.start()] if match else page
        if match is None:
            break
        handle, follows = place_of(match[1])
        assert ("r-1a2b3c4d", True) == (handle, follows > offset)
        assert estimate(page[: match.start()]) <= min(size, 2_000)
        offset = follows

    assert text == read


def test_a_page_beyond_the_end_says_so() -> None:
    assert "[nothing left: the text has 3 characters]" == Compact.recall_page("abc", 3, 2_000, handle="r-1a2b3c4d")


@pytest.mark.parametrize(
    ("handle", "place"),
    [
        ("r-1a2b3c4d", ("r-1a2b3c4d", 0)),
        (" r-1a2b3c4d@8000 ", ("r-1a2b3c4d", 8_000)),
        ("r-1a2b3c4d@next", ("r-1a2b3c4d", 0)),
        ("r-1a2b3c4d@-5", ("r-1a2b3c4d", 0)),
        ("", ("", 0)),
    ],
)
def test_a_handle_may_say_from_where_on_to_read(handle: str, place: tuple[str, int]) -> None:
    assert place == place_of(handle)


def test_names_that_only_the_middle_of_a_file_holds_are_shown_most_frequent_first() -> None:
    lines = [f"line {i} says nothing of interest to anybody at all, however long one reads on" for i in range(400)]
    for at in range(150, 250):
        lines[at] = "    value = self.registry.lookup(key)" if at % 2 else f"    handler_{at % 20:02d}(value, default)"
    shown, _ = capping().show(result("\n".join(lines)))
    names = next(line for line in shown.text.split("\n") if line.startswith("[names among them:]"))

    assert "self.registry.lookup" == names.removeprefix("[names among them:] ").split()[0]
    assert "handler_00" in names.split()


def test_a_listing_of_very_many_names_gets_no_line_of_names() -> None:
    rows = [f"the entry item_{i:04d}_of_many is one of them and no more than that can be said here" for i in range(500)]
    shown, _ = capping().show(result("\n".join(rows)))

    assert "[names among them:]" not in shown.text


def test_one_long_text_wrapped_in_json_is_shown_as_far_as_there_is_room() -> None:
    shown, _ = capping().show(result(json.dumps({"content": words(3_000), "ok": True})))
    body = json.loads(shown.text.split("\n")[0])

    assert body["ok"]
    assert len(body["content"]) > 1_600
