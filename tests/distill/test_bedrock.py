"""Bedrock's lines: every rule of the format is broken once, and what is exported breaks none."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from governor.distill.bedrock import SCHEMA_VERSION, violations
from tests.distill.runs import distilled, lines, run, said

RIGHT: dict[str, Any] = {
    "schemaVersion": SCHEMA_VERSION,
    "system": [{"text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [{"text": "Why is the sky blue?"}]},
        {"role": "assistant", "content": [{"text": "Air scatters blue light most."}]},
    ],
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    row = deepcopy(RIGHT)
    place: Any = row
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return row


def test_the_right_line_breaks_no_rule_and_neither_does_a_prompt_alone() -> None:
    assert [] == list(violations(RIGHT))
    assert [] == list(violations(changed("system", to=None)))
    assert [] == list(violations(changed("messages", 1, to=None)))


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("text", "a line is an object"),
        (changed("schemaVersion", to="bedrock-conversion-2024"), "`schemaVersion` is `bedrock-conversation-2024`"),
        (changed("schemaVersion", to=None), "`schemaVersion` is `bedrock-conversation-2024`"),
        (changed("tools", to=[]), "a line has no key tools"),
        (changed("system", to=[]), "`system` is a list of one text block"),
        (changed("system", to="Be brief."), "`system` is a list of one text block"),
        (changed("system", to=[{"text": "a"}, {"text": "b"}]), "`system` is a list of one text block"),
        (changed("system", 0, "text", to=" "), "`system` holds text that is not empty"),
        (changed("messages", to=[]), "`messages` is a list of one or more messages"),
        (changed("messages", to=None), "`messages` is a list of one or more messages"),
        (changed("messages", 0, to="hi"), "message 1 is an object"),
        (changed("messages", 0, "role", to="assistant"), "message 1 has the role `user`"),
        (changed("messages", 1, "role", to="user"), "message 2 has the role `assistant`"),
        (changed("messages", 0, "name", to="ann"), "message 1 has no key name"),
        (changed("messages", 0, "content", to="hi"), "the content of message 1 is a list of one text block"),
        (
            changed("messages", 0, "content", to=[{"text": "a"}, {"text": "b"}]),
            "the content of message 1 is a list of one text block",
        ),
        (
            changed("messages", 0, "content", to=[{"image": {}}]),
            "the content of message 1 holds text that is not empty",
        ),
        (changed("messages", 1, "content", 0, "text", to=""), "the content of message 2 holds text that is not empty"),
        (changed("messages", 1, "content", 0, "type", to="text"), "the block in the content of message 2 has no key"),
    ],
)
def test_each_rule_that_is_broken_is_told(row: Any, rule: str) -> None:
    assert any(each.startswith(rule) for each in violations(row))


def test_several_turns_are_right_for_nova_alone() -> None:
    row = changed("messages", to=[*RIGHT["messages"], RIGHT["messages"][0]])

    assert ["a single turn is one message of the user and one answer, not 3 messages"] == list(violations(row))
    assert [] == list(violations(row, turns="multi"))


def test_tool_state_is_flattened_into_the_prompt_and_a_call_into_the_answer(tmp_path: Path) -> None:
    first, second = lines(distilled(tmp_path, run("a")), "bedrock")

    prompt = second["messages"][0]["content"][0]["text"]
    assert [{"text": "You are a desk."}] == first["system"]
    assert (
        '{"tool_call": "call_2_1", "name": "status", "arguments": {"order": 7}}'
        == (first["messages"][1]["content"][0]["text"])
    )
    assert prompt.startswith('<tools>\n{"name": "status", "description": "Reads an order."')
    assert "user:\nWhere is order 7 of <email_1>?\n\nassistant:\n" in prompt
    assert "result of status (call_2_1):\norder 7 was shipped on day 217" in prompt
    assert "Order 7 left on day 217." == second["messages"][1]["content"][0]["text"]


def test_a_lone_question_stays_as_the_user_wrote_it(tmp_path: Path) -> None:
    row = {"id": "a", "reward": 1, "messages": [{"role": "user", "content": "Why?"}, said("Because it is.")]}

    (line,) = lines(distilled(tmp_path, row), "bedrock")

    assert "Why?" == line["messages"][0]["content"][0]["text"]
    assert "system" not in line


def test_several_turns_alternate_and_the_tools_stand_in_the_system_text(tmp_path: Path) -> None:
    found = distilled(tmp_path, run("a"), turns="multi")

    second = lines(found, "bedrock")[1]
    assert ["user", "assistant", "user", "assistant"] == [each["role"] for each in second["messages"]]
    assert "<tools>" in second["system"][0]["text"]
    assert [] == list(violations(second, turns="multi"))
