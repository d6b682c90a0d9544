"""Recorded trajectories answer again, in the formats they are recorded in."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, messages_to_dict

from governor_sandbox import Conversation, Message, Reply, Scenario, ScenarioError, ToolCall

OPENAI: list[dict[str, Any]] = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "Where is A-7?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"id": "A-7"}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "late"},
    {"role": "assistant", "content": [{"type": "text", "text": "It is late."}]},
]
LANGCHAIN = [
    HumanMessage("Where is A-7?"),
    AIMessage("", tool_calls=[{"name": "look", "args": {"id": "A-7"}, "id": "c1"}]),
    ToolMessage("late", tool_call_id="c1"),
    AIMessage("It is late."),
]
FORMATS: dict[str, list[Any]] = {
    "a message per line": OPENAI,
    "a conversation per line": [OPENAI],
    "an object per line": [{"messages": OPENAI, "id": 1}],
    "langchain, a message per line": [message.model_dump() for message in LANGCHAIN],
    "langchain, with data": [messages_to_dict(LANGCHAIN)],
    "langchain, serialised": [[dumpd(message) for message in LANGCHAIN]],
}


def record(path: Path, lines: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    return path


def said(*messages: Message) -> Conversation:
    return Conversation(provider="openai", model="gpt-4o", messages=messages)


TASK = Message(role="user", text="Where is A-7?")
LOOKED = Message(role="assistant", tool_calls=(ToolCall(id="c1", name="look", args={}),))
FOUND = Message(role="tool")


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_recording_is_read_in_any_of_its_formats(tmp_path: Path, form: str) -> None:
    behaviour = Scenario.from_trajectory(record(tmp_path / "t.jsonl", FORMATS[form])).behaviour

    first, second = behaviour.answer(said(TASK)).reply, behaviour.answer(said(TASK, LOOKED, FOUND)).reply

    assert [("look", {"id": "A-7"}, "c1")] == [(call.name, call.args, call.id) for call in first.tool_calls]
    assert "It is late." == second.text


def test_a_compacted_history_does_not_lose_the_place(tmp_path: Path) -> None:
    """The newest recorded tool call says where we are, however little of the history is shown."""
    steps = [
        {
            "role": "assistant",
            "content": f"step {i}",
            "tool_calls": [{"id": f"c{i}", "function": {"name": "f", "arguments": ""}}],
        }
        for i in range(5)
    ]
    behaviour = Scenario.from_trajectory(record(tmp_path / "t.jsonl", [OPENAI[1], *steps])).behaviour
    shown = Message(role="assistant", tool_calls=(ToolCall(id="c3", name="f", args={}),))

    assert "step 4" == behaviour.answer(said(TASK, shown, FOUND)).reply.text


def test_several_recordings_are_told_apart_by_their_task(tmp_path: Path) -> None:
    other = [{"role": "user", "content": "And B-8?"}, {"role": "assistant", "content": "Delivered."}]
    behaviour = Scenario.from_trajectory(record(tmp_path / "t.jsonl", [OPENAI, other])).behaviour

    assert "Delivered." == behaviour.answer(said(Message(role="user", text="And B-8?"))).reply.text
    with pytest.raises(ScenarioError, match="no recording begins with 'And C-9"):
        behaviour.answer(said(Message(role="user", text="And C-9?")))


def test_beyond_the_end_the_request_is_refused_or_answered_as_asked(tmp_path: Path) -> None:
    path = record(tmp_path / "t.jsonl", [OPENAI])
    end = said(TASK, LOOKED, FOUND, Message(role="assistant", text="It is late."), Message(role="user", text="thanks"))

    with pytest.raises(ScenarioError, match="ended after 2 assistant turns"):
        Scenario.from_trajectory(path).behaviour.answer(end)
    assert "bye" == Scenario.from_trajectory(path, after_end=Reply(text="bye")).behaviour.answer(end).reply.text


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{"role": "user"}\n{oops\n', 2, "not JSON"),
        ("3\n", 1, "a line is a message"),
        ('{"role": "user"}\n', None, "no assistant"),
    ],
    ids=["not json", "not a message", "nobody speaks"],
)
def test_a_broken_recording_is_reported_with_its_line(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text)

    with pytest.raises(ScenarioError, match=says) as error:
        Scenario.from_trajectory(path)

    assert line == error.value.line
