"""OpenAI's lines: every rule of the format is broken once, and what is exported breaks none."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from governor.distill.openai import MOST_TOKENS, violations
from tests.distill.runs import TOOL, asked, distilled, lines, reasons, run, said

CALL = {"id": "c1", "type": "function", "function": {"name": "status", "arguments": '{"order": 7}'}}
RIGHT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is order 7?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
        {"role": "tool", "tool_call_id": "c1", "content": "shipped"},
        {"role": "assistant", "content": "It was shipped.", "weight": 1},
    ],
    "tools": [TOOL],
    "parallel_tool_calls": False,
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    row = deepcopy(RIGHT)
    place: Any = row
    for key in path[:-1]:
        place = place[key]
    if to == "absent":
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return row


M = "messages"


def test_the_right_line_breaks_no_rule() -> None:
    assert [] == list(violations(RIGHT))
    assert [] == list(violations({M: [*RIGHT[M][:2], RIGHT[M][4]]}))


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ([], "a line is an object"),
        (changed("prompt", to="x"), "a line has no key prompt"),
        (changed(M, to=[]), "`messages` is a list of one or more messages"),
        (changed(M, 0, to="x"), "message 1 is an object"),
        (changed(M, 0, "role", to="developer!"), "message 1 has the role system, user, assistant or tool"),
        (changed(M, 1, "weight", to=1), "message 2 has no key weight"),
        (changed(M, 1, "content", to=None), "message 2 has text as its content"),
        (changed(M, 1, "content", to=" "), "message 2 has content that is not empty"),
        (changed(M, 4, "content", to=None), "message 5 has text as its content"),
        (changed(M, 4, "weight", to=2), "message 5 has the weight 0 or 1"),
        (changed(M, 4, "weight", to=0), "some answer has the weight 1"),
        (changed(M, 2, "tool_calls", to=[]), "message 3 has one or more tool calls"),
        (changed(M, 2, "tool_calls", 0, "id", to=""), "message 3 has tool calls with an id and the type function"),
        (changed(M, 2, "tool_calls", 0, "type", to="x"), "message 3 has tool calls with an id and the type function"),
        (
            changed(M, 2, "tool_calls", 0, "function", "arguments", to="[1]"),
            "message 3 has tool calls whose arguments are an object as JSON text",
        ),
        (
            changed(M, 2, "tool_calls", 0, "function", "arguments", to="{"),
            "message 3 has tool calls whose arguments are an object as JSON text",
        ),
        (
            changed(M, 2, "tool_calls", 0, "function", "arguments", to={"order": 7}),
            "message 3 has tool calls whose arguments are an object as JSON text",
        ),
        (changed("tools", to="absent"), "message 3 calls only tools that `tools` offers, not status"),
        (changed(M, 3, "tool_call_id", to="c2"), "message 4 answers a call of the message before it, which c2 is not"),
        (changed(M, 3, to=RIGHT[M][1]), "the calls before message 4 are answered: c1 is not"),
        (changed(M, to=RIGHT[M][:4]), "the last message is the assistant's"),
        (changed("tools", to=[TOOL, TOOL]), "tool 2 has a name of its own: status is there twice"),
        (changed("tools", 0, "type", to="x"), "tool 1 is a function"),
        (changed("tools", 0, "function", "parameters", to=1), "tool 1 is a function"),
        (changed("tools", 0, "function", "name", to="a b"), "tool 1 has a name of 1-64 letters"),
        (changed("tools", 0, "function", "name", to="a" * 65), "tool 1 has a name of 1-64 letters"),
        (changed("tools", to=[TOOL] * 129), "`tools` is a list of at most 128"),
        (changed(M, 1, "content", to="word and " * MOST_TOKENS), "a line has at most 65,536 tokens"),
    ],
)
def test_each_rule_that_is_broken_is_told(row: Any, rule: str) -> None:
    assert any(each.startswith(rule) for each in violations(row))


def test_all_good_answers_of_a_node_are_trained_in_one_line_and_the_others_are_its_context(tmp_path: Path) -> None:
    row = run("a")
    row["messages"] += [{"role": "user", "content": "And order 8?"}, said("Let us see.", node="chat"), asked(8)]

    found = distilled(tmp_path, row)

    (chat,) = lines(found, "openai", node="chat")
    (worker,) = lines(found, "openai", node="worker")
    assert [0, 0, 1] == [each["weight"] for each in chat["messages"] if each["role"] == "assistant"]
    assert [1, 1, 0, 1] == [each["weight"] for each in worker["messages"] if each["role"] == "assistant"]
    assert [TOOL] == worker["tools"]
    assert worker["parallel_tool_calls"] is False
    assert [] == list(violations(worker))


def test_tools_that_the_record_does_not_describe_are_told_from_what_was_called(tmp_path: Path) -> None:
    found = distilled(tmp_path, {key: value for key, value in run("a").items() if key != "tools"})

    (line,) = lines(found, "openai")
    assert {"order": {"type": "integer"}} == line["tools"][0]["function"]["parameters"]["properties"]
    assert any("names no description of status" in remark for remark in found.remarks)


def test_a_call_without_its_result_ends_a_conversation_and_never_stands_in_one(tmp_path: Path) -> None:
    row = run("a")
    del row["messages"][3]

    found = distilled(tmp_path, row)

    assert [] == lines(found, "openai")
    assert [("a", (1, 2), "the calls before message 4 are answered: call_2_1 is not")] == reasons(found, "openai")
    assert json.dumps(row)  # the record itself is not changed
