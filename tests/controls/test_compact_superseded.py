"""What was read again later goes first, and what the user pinned stays."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given

from governor.calls import Message, ToolUse
from governor.controls.compact import Compact
from governor.controls.compact.superseded import superseded
from governor.runs import Lane, RunState
from tests.controls.histories import (
    NOVA,
    SONNET,
    answer,
    asks,
    compacting,
    history,
    lane_state,
    model_call,
    replay,
    routed,
    runs,
    shown,
    system,
    turns,
    use,
    user,
    words,
)

LONG = words(300)


def reading(*calls: tuple[str, dict[str, object], str], name: str = "read") -> list[Message]:
    messages = [system(), user("Go.")]
    for i, (text, args, kind) in enumerate(calls):
        messages.append(asks(f"a{i}", ToolUse(id=f"c{i}", name=kind or name, args=args)))
        messages.append(answer(f"t{i}", f"c{i}", text, name=kind or name))
    return messages


def dropped(messages: list[Message]) -> list[str]:
    return [messages[position].key for position in superseded(messages, 0, len(messages))]


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([("one", {"path": "a"}, ""), ("two", {"path": "b"}, ""), ("new", {"path": "a"}, "")], ["t0"]),
        ([("one", {"path": "a", "lines": "1-9"}, ""), ("new", {"path": "a"}, "")], ["t0"]),
        ([("one", {"path": "a"}, ""), ("part", {"path": "a", "lines": "1-9"}, "")], []),
        ([("one", {"path": "a", "lines": "1"}, ""), ("two", {"path": "a", "lines": "2"}, "")], []),
        ([("one", {"path": "a"}, "read"), ("done", {"path": "a"}, "delete")], []),
        ([("page 1", {}, ""), ("page 2", {}, "")], []),
        ([(LONG, {"q": "x"}, ""), (LONG, {"q": "y"}, "")], ["t0"]),
        ([("ok", {"q": "x"}, ""), ("ok", {"q": "y"}, "")], []),
        ([("one", {"q": [1, {"b": 2, "a": 1}]}, ""), ("new", {"q": [1, {"a": 1, "b": 2}]}, "")], ["t0"]),
    ],
)
def test_a_later_result_stands_for_an_earlier_one(
    calls: list[tuple[str, dict[str, object], str]], expected: list[str]
) -> None:
    assert expected == dropped(reading(*calls))


def test_a_reading_that_failed_stands_for_nothing() -> None:
    messages = reading(("one", {"path": "a"}, ""), ("no such file", {"path": "a"}, ""))
    messages[-1] = replace(messages[-1], failed=True)

    assert [] == dropped(messages)


@given(runs())
def test_the_last_word_on_anything_always_stays(messages: list[Message]) -> None:
    found = set(superseded(messages, 0, len(messages)))
    whole = {m.text for i, m in enumerate(messages) if m.role == "tool" and i not in found}

    assert all(messages[i].role == "tool" for i in found)
    results = [i for i, m in enumerate(messages) if m.role == "tool"]
    assert not results or results[-1] not in found
    uses = {u.id: u for m in messages for u in m.tool_uses}
    for i in found:
        mine = uses[messages[i].answers or ""]
        same = [
            messages[j].text
            for j in results
            if j > i and (uses[messages[j].answers or ""].args == mine.args or messages[j].text == messages[i].text)
        ]
        assert whole & set(same)


def rereading(times: int, tokens: int = 1_500) -> list[Message]:
    """The same file over and over, and little else."""
    messages = [system(), user("Mend it.")]
    for i in range(times):
        read = ToolUse(id=f"r{i}", name="read", args={"path": "src/a.py"})
        messages += [asks(f"a{i}", read), answer(f"t{i}", f"r{i}", f"version {i} {words(tokens, i)}", name="read")]
        messages += [asks(f"b{i}", use(f"e{i}", edit=i)), answer(f"u{i}", f"e{i}", f"{i} done")]
    return messages


def test_where_rereading_is_most_of_the_history_only_what_is_outdated_is_left_out() -> None:
    messages = rereading(14)
    lane = Lane(calls=10, model=str(NOVA), last_at_ms=1)

    viewed = Compact(compacting()).view(lane_state(lane), model_call(messages), routed(), 2)
    left = shown(viewed)

    assert not viewed.view.cut
    assert [m.key for m in messages] == [m.key for m in left]
    assert messages[-3:] == left[-3:]
    assert {i for i, m in enumerate(messages) if m.key[0] == "t" and m not in messages[-8:]} <= set(viewed.view.altered)
    assert viewed.decision.reason is not None
    assert "read again later" in viewed.decision.reason.text


def test_where_it_is_not_history_is_removed() -> None:
    lane = Lane(calls=10, model=str(NOVA), last_at_ms=1)
    messages = [*turns(14, 1_500), *rereading(2)[2:]]

    assert Compact(compacting()).view(lane_state(lane), model_call(messages), routed(), 2).view.cut


def test_a_bound_is_met_by_leaving_out_what_is_outdated_when_that_is_enough() -> None:
    viewed = Compact(compacting(max_input_tokens="9k")).view(RunState(), model_call(rereading(8, 2_000)), routed(), 1)

    assert not viewed.view.cut
    assert viewed.view.tokens <= 9_000 * 3 // 4


def test_between_such_cuts_requests_extend_each_other_and_later_cuts_still_remove_history() -> None:
    messages = [replace(m, key=str(i)) for i, m in enumerate([*rereading(8, 1_500), *turns(12, 700)[2:]])]
    seen = replay(Compact(compacting(max_input_tokens="9k")), messages)

    partial = [one for one in seen if one.viewed.view.altered]
    assert partial
    for before, after in pairwise(seen):
        if after.viewed.decision.reason is None:
            assert before.messages == after.messages[: len(before.messages)]
    assert seen[-1].viewed.view.cut
    assert all(one.viewed.view.tokens <= 9_000 for one in seen)


def test_a_fork_from_before_the_later_reading_sees_the_earlier_one() -> None:
    messages = rereading(14)
    lane = Lane(calls=10, model=str(NOVA), last_at_ms=1)
    cut = Compact(compacting()).view(lane_state(lane), model_call(messages), routed(), 2)
    warm = replace(cut.lane, model=str(SONNET))

    fork = Compact(compacting()).view(lane_state(warm), model_call(history(messages[:20])), routed(), 3)

    assert cut.view.altered
    assert not fork.view.altered


def test_a_pinned_message_stays_with_the_calls_and_results_that_belong_to_it() -> None:
    messages = turns(60, 1_000)
    messages[10] = replace(messages[10], pinned=True)
    messages[5] = replace(messages[5], pinned=True)
    messages.insert(6, replace(user("Never pay twice.", "rule"), pinned=True))
    messages.insert(7, user("Hm.", "hm"))
    seen = [one for one in replay(Compact(compacting()), messages) if one.viewed.view.cut]

    assert seen
    for one in seen:
        keys = [message.key for message in one.messages]
        assert {"a1", "t1", "rule", "a4", "t4"} <= set(keys)
        assert len(keys) == len(set(keys))
        called = {each.id for message in one.messages for each in message.tool_uses}
        assert all(m.answers in called for m in one.messages if m.role == "tool")
