"""Why a prompt does not begin as the one before it did, and what prompts come to beside plain caching and none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import Message, ModelRef, ModelRequest, ToolSpec
from governor.controls.prefix import Compared
from governor.controls.prefix.differing import difference
from governor.decisions import Decision
from governor.policy.schema import Policy
from governor.prefix import shown_in
from governor.runs import Steady
from tests.controls.histories import (
    GPT,
    LOCAL,
    NOVA,
    SONNET,
    answer,
    asks,
    compacting,
    policy,
    system,
    tool,
    turns,
    use,
    user,
    words,
)
from tests.controls.prefix_line import LONG, MINUTE, OFFERED, PLAIN, Line, cause


def test_a_request_that_extends_the_one_before_moves_nothing() -> None:
    line = Line()

    assert [None] * 4 == [cause(line.answered(LONG[:stop])) for stop in (2, 4, 6, 8)]


def test_the_same_request_again_moves_nothing() -> None:
    line = Line()

    assert [None, None] == [cause(line.answered(LONG)) for _ in range(2)]


def test_notes_are_not_part_of_what_the_next_request_extends() -> None:
    line = Line()
    line.answered(LONG[:4], note="Budget: 5 calls left.")

    assert None is cause(line.answered(LONG[:6], note="Budget: 4 calls left."))


EDITS: dict[str, list[Message]] = {
    "edited": [*LONG[:3], replace(LONG[3], text=LONG[3].text + " [cleared]"), *LONG[4:]],
    "removed": [*LONG[:2], *LONG[4:]],
    "inserted": [*LONG[:2], user("By the way.", key="new"), *LONG[2:]],
    "system": [replace(LONG[0], text=LONG[0].text.replace("gamma", "delta", 1)), *LONG[1:]],
}


@pytest.mark.parametrize("expected", EDITS)
@pytest.mark.parametrize("forgetful", [False, True])
def test_what_an_application_does_to_its_messages_is_named(expected: str, forgetful: bool) -> None:
    line = Line(forgetful=forgetful)
    line.answered(LONG)

    compared = line.answered([*EDITS[expected], user("Go on.", key="next")])

    assert compared.move is not None
    known = expected if not forgetful or expected == "system" else "unknown"
    assert known == compared.move.cause
    if not forgetful:
        assert {"edited": 3, "removed": 2, "inserted": 2, "system": 0}[expected] == compared.move.position


def test_messages_taken_off_the_end_are_removed() -> None:
    line = Line()
    line.answered(LONG)

    assert "removed" == cause(line.answered(LONG[:-2]))


def test_equal_arguments_in_another_order_are_sent_as_they_were_and_others_are_an_edit() -> None:
    def run(**args: object) -> list[Message]:
        return [system(words(400)), user("task"), asks("a", use("c", **args)), answer("t", "c", words(300))]

    line = Line()
    line.answered(run(query="x", page=1))
    same = line.answered(run(page=1, query="x"))
    other = line.answered(run(page=2, query="x"))

    assert [None, "edited"] == [cause(same), cause(other)]


@pytest.mark.parametrize(
    ("tools", "detail"),
    [
        ((*OFFERED, tool("write")), "new: write"),
        (OFFERED[:1], "gone: read"),
        (OFFERED[::-1], "another order"),
        ((OFFERED[0], replace(OFFERED[1], digest="other")), "another description: read"),
    ],
)
def test_other_tools_move_everything(tools: tuple[ToolSpec, ...], detail: str) -> None:
    line = Line()
    line.answered(LONG[:4])

    compared = line.answered(LONG[:6], tools=tools)

    assert compared.move is not None
    assert ("tools", 0, detail) == (compared.move.cause, compared.move.kept, compared.move.detail)
    assert compared.sums is not None
    assert 0 == compared.sums.ideal


def test_a_schema_with_its_keys_in_another_order_is_named() -> None:
    line = Line()
    line.answered(LONG[:4], tools=(replace(OFFERED[0], digest="1", source={"name": "ask", "type": "x"}),))

    compared = line.answered(LONG[:6], tools=(replace(OFFERED[0], digest="2", source={"type": "x", "name": "ask"}),))

    assert compared.move is not None
    assert ("key_order", "ask") == (compared.move.cause, compared.move.detail)


def test_equal_tools_in_another_list_move_nothing() -> None:
    line = Line()
    line.answered(LONG[:4])

    assert None is cause(line.answered(LONG[:6], tools=tuple(map(replace, OFFERED))))


@pytest.mark.parametrize(("model", "expected"), [(SONNET, "choice"), (GPT, None)])
def test_another_choice_of_tools_moves_the_messages_where_prompts_are_cached_by_markers(
    model: ModelRef, expected: str | None
) -> None:
    line = Line()
    line.answered(LONG[:4], model)

    compared = line.answered(LONG[:6], model, choice="{'type': 'any'}")

    assert expected == cause(compared)
    if compared.move is not None:
        assert LONG[0].tokens + sum(each.tokens for each in OFFERED) == compared.move.kept


def test_another_model_has_a_cache_of_its_own_and_a_long_pause_empties_it() -> None:
    line = Line()
    line.answered(LONG[:4])

    switched = line.answered(LONG[:6], NOVA)
    waited = line.answered(LONG[:8], NOVA, gap_ms=6 * MINUTE)

    assert ["model", "expired"] == [cause(switched), cause(waited)]
    assert [0, 0] == [each.sums.ideal for each in (switched, waited) if each.sums]


def test_a_pause_means_nothing_where_nothing_is_cached() -> None:
    line = Line()
    line.answered(LONG[:4], LOCAL)

    assert None is cause(line.answered(LONG[:6], LOCAL, gap_ms=60 * MINUTE))


def test_a_cut_of_governors_is_called_its_own() -> None:
    line = Line(compacting())
    run = turns(40, 1_000)
    causes = [cause(line.answered(run[:stop])) for stop in range(2, len(run), 2)]

    assert "cut" in causes
    assert {None, "cut"} == set(causes)


def test_the_place_and_kind_of_a_difference_in_the_system_text_are_told_and_the_text_only_on_request() -> None:
    def sent(clock: str) -> list[Message]:
        return [system(f"You are an agent. It is {clock}. {words(600)}"), *LONG[1:]]

    def told(rules: Policy) -> Decision:
        line = Line(rules)
        line.answered(sent("10:02"))
        compared = line.answered(sent("10:03"))
        assert compared.move is not None
        return line.prefix.told(compared.move)

    silent, open_ = told(PLAIN).reason, told(policy(trace={"content": "full"})).reason

    assert silent is not None
    assert open_ is not None
    assert "prefix.system" == silent.code
    assert (28, "a time of day") == (silent.evidence["character"], silent.evidence["kind"])
    assert not any("10:0" in str(each) for each in (silent.text, *silent.evidence.values()))
    assert ("10:02", "10:03") == tuple(str(open_.evidence[side]).split(".")[0] for side in ("before", "after"))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("at 10:02 today", "at 10:13 today", "a time of day"),
        ("on 2026-05-01.", "on 2026-05-02.", "a date"),
        ("now 2026-05-01T10:02:11Z", "now 2026-05-01T10:02:12Z", "a date and time"),
        (
            "run 6f1c2c1e-5d6b-4a53-9a86-0f4b3cf1d001",
            "run 0a1c2c1e-5d6b-4a53-9a86-0f4b3cf1d001",
            "an id",
        ),
        ("request req-8f3a91bc", "request req-77aa91bc", "an id"),
        ("12 calls left", "11 calls left", "a number"),
        ("be brief", "be kind", "text"),
        ("be brief", "be brief and kind", "more text"),
        ("be brief and kind", "be brief", "less text"),
    ],
)
def test_the_kind_of_a_difference_is_read_off_its_words(before: str, after: str, kind: str) -> None:
    assert kind == difference(before, after).kind


@given(st.text("ab 1:", max_size=40), st.text("ab 1:", max_size=40))
def test_two_texts_agree_up_to_where_they_are_said_to_differ(before: str, after: str) -> None:
    if before == after:
        return
    found = difference(before, after)

    assert before[: found.at] == after[: found.at]
    assert before[found.at : found.at + 1] != after[found.at : found.at + 1]


pools = st.lists(st.integers(0, 11), min_size=1, max_size=9)
POOL = [system(words(300)), *turns(6, 300, task=words(900))[1:]]


@given(st.lists(pools, min_size=2, max_size=8), st.booleans())
def test_a_move_is_told_exactly_when_the_messages_do_not_extend_those_before(
    requests: list[list[int]], forgetful: bool
) -> None:
    line = Line(forgetful=forgetful)
    previous: list[Message] | None = None
    for chosen in requests:
        messages = [POOL[index] for index in chosen]
        compared = line.answered(messages)
        extends = previous is None or messages[: len(previous)] == previous
        assert extends == (compared.move is None)
        if previous is not None and compared.move is not None and not forgetful:
            both = zip(messages, previous, strict=False)
            same = next((i for i, (now, was) in enumerate(both) if now is not was), min(len(messages), len(previous)))
            assert same == compared.move.position
        previous = messages


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6, unique=True).map(sorted), st.integers(0, 3))
def test_views_are_compared_as_their_messages_are_with_and_without_a_cut(stops: list[int], extra: int) -> None:
    line = Line(compacting(max_input_tokens="9k"))
    run = turns(40, 700 + extra)
    for stop in stops:
        line.answered(run[: 2 * stop])
    texts = [_texts(request) for request in line.requests]
    digests = [shown_in(request.view) for request in line.requests]

    for one, (first, left) in enumerate(zip(texts, digests, strict=True)):
        assert len(first) == left.length
        for second, right in zip(texts[one:], digests[one:], strict=True):
            same = next(
                (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
            )
            assert same == left.common(right)


def _texts(request: ModelRequest) -> list[tuple[object, ...]]:
    view = request.view
    history = view.history.messages
    shown = [*(history[i] for i in view.pinned), *view.inserted, *history[view.start :]]
    return [(each.role, each.text, str(each.tool_uses), each.answers) for each in shown]


def test_the_move_after_which_changing_lines_are_sent_last_says_so() -> None:
    line, said = Line(PLAIN), Steady(lines="abcd", apart=True, changes=1)

    def asked(minute: int, steady: tuple[Steady, ...]) -> Compared:
        return line.answered([system(f"Be brief. {minute} {words(400)}"), *LONG[1:]], steady=steady)

    assert None is asked(0, (Steady(lines="abcd"),)).move
    first, second = asked(1, (said,)).move, asked(2, (said,)).move

    assert first is not None
    assert second is not None
    assert ("system", "lines that change are sent last from now on") == (first.cause, first.detail)
    assert ("system", "") == (second.cause, second.detail)
