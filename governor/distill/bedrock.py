"""`bedrock-conversation-2024`: what Amazon Bedrock's distillation takes, one prompt with the teacher's answer a line.

Rules from the Bedrock user guide (`distillation-prepare-datasets`, `distillation-data-prep-option-1`) and from the validator that AWS
publishes (`aws-samples/amazon-bedrock-samples`, `custom-models/model_distillation/dataset-validation`): `schemaVersion` has one value (the
guide's prose says `bedrock-conversion-2024`, its examples and the validator `bedrock-conversation-2024`: the latter is right); at most one
system block; one text block a message and no other keys; roles alternate, the user first; Anthropic's and Meta's students take a single
turn, Amazon Nova's several; 100 to 15,000 records and at most 1 GB.

There is no place for tools, so their state is flattened into text: what was offered, asked and answered stands in the prompt, and a tool
call to be learnt is written as one line of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from governor.distill.dialogue import Dialogue, Said, Tool

__all__ = ["FORM", "LARGEST_FILE", "MOST", "SCHEMA_VERSION", "fewest", "record", "violations"]

FORM = "bedrock"
SCHEMA_VERSION = "bedrock-conversation-2024"
MOST = 15_000
"""Records of one training job."""
_FEWEST = 100
LARGEST_FILE = 1 << 30
"""Bytes of one training job's files together."""

Turns = Literal["single", "multi"]


def fewest(split: str) -> int:
    """How many records a file needs: the limit is on the data of a job, not on what is held back to evaluate it."""
    return _FEWEST if split == "train" else 1


def record(dialogue: Dialogue, step: int, *, turns: Turns = "single") -> dict[str, Any]:
    """One model call as a line: everything before it as the prompt, its answer as the response."""
    *before, answer = dialogue.until(step)
    system = "\n\n".join(each.text for each in before if each.role == "system" and each.text.strip())
    history = [each for each in before if each.role != "system"]
    offered = _offered(dialogue.tools)
    if turns == "multi":
        messages = [*_turns(history), _message("assistant", _spoken(answer))]
        system = "\n\n".join(filter(None, (system, offered)))
    else:
        messages = [_message("user", _prompt(history, offered)), _message("assistant", _spoken(answer))]
    found: dict[str, Any] = {"schemaVersion": SCHEMA_VERSION}
    return {**found, **({"system": [{"text": system}]} if system else {}), "messages": messages}


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}]}


def _prompt(history: Sequence[Said], offered: str) -> str:
    """The one user message: what the user said, as it is where that was all; else the whole conversation with its tool state."""
    if not offered and len(history) == 1 and history[0].role == "user":
        return history[0].text
    told = "\n\n".join(f"{_speaker(each)}:\n{_spoken(each)}" for each in history)
    return "\n\n".join(filter(None, (offered, f"<conversation>\n{told}\n</conversation>" if told else "")))


def _turns(history: Sequence[Said]) -> list[dict[str, Any]]:
    """Turns that alternate: what was said to the model in a row is one message, and so is what it said in a row."""
    found: list[tuple[str, list[str]]] = []
    for each in history:
        role = "assistant" if each.role == "assistant" else "user"
        text = f"{_speaker(each)}:\n{each.text}" if each.role == "tool" else _spoken(each)
        if found and found[-1][0] == role:
            found[-1][1].append(text)
        else:
            found.append((role, [text]))
    if found and found[-1][0] == "assistant":
        found.append(("user", ["Go on."]))
    return [_message(role, "\n\n".join(texts)) for role, texts in found]


def _speaker(said: Said) -> str:
    return f"result of {said.name} ({said.answers})" if said.role == "tool" else said.role


def _spoken(said: Said) -> str:
    """A message's text, its tool calls a line of JSON each."""
    calls = (
        json.dumps({"tool_call": asked.id, "name": asked.name, "arguments": asked.args}, ensure_ascii=False)
        for asked in said.asked
    )
    return "\n".join(filter(None, (said.text.strip(), *calls)))


def _offered(tools: Sequence[Tool]) -> str:
    if not tools:
        return ""
    told = (
        json.dumps(
            {
                "name": tool.name,
                **({"description": tool.description} if tool.description else {}),
                "parameters": tool.parameters,
            },
            ensure_ascii=False,
        )
        for tool in tools
    )
    return "\n".join(("<tools>", *told, "</tools>"))


# --- the rules


def violations(value: object, *, turns: Turns = "single") -> Iterator[str]:
    """What Bedrock would refuse of one line, as sentences; none when it is right."""
    if not isinstance(value, Mapping):
        yield "a line is an object"
        return
    row = cast("Mapping[str, Any]", value)
    if row.get("schemaVersion") != SCHEMA_VERSION:
        yield f"`schemaVersion` is `{SCHEMA_VERSION}`"
    yield from _others(row, {"schemaVersion", "system", "messages"}, "a line")
    if "system" in row:
        yield from _text_blocks(row["system"], "`system`")
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "`messages` is a list of one or more messages"
        return
    listed = cast("list[object]", messages)
    if turns == "single" and len(listed) > 2:
        yield f"a single turn is one message of the user and one answer, not {len(listed)} messages"
    for number, each in enumerate(listed, 1):
        yield from _message_rules(each, number)


def _message_rules(value: object, number: int) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"message {number} is an object"
        return
    row = cast("Mapping[str, Any]", value)
    expected = "user" if number % 2 else "assistant"
    if row.get("role") != expected:
        yield f"message {number} has the role `{expected}`: roles alternate, the user first"
    yield from _others(row, {"role", "content"}, f"message {number}")
    yield from _text_blocks(row.get("content"), f"the content of message {number}")


def _text_blocks(value: object, where: str) -> Iterator[str]:
    blocks = cast("list[object]", value) if isinstance(value, list) else []
    if len(blocks) != 1 or not isinstance(blocks[0], Mapping):
        yield f"{where} is a list of one text block"
        return
    block = cast("Mapping[str, Any]", blocks[0])
    if not isinstance(block.get("text"), str) or not block["text"].strip():
        yield f"{where} holds text that is not empty"
    yield from _others(block, {"text"}, f"the block in {where}")


def _others(row: Mapping[str, Any], known: set[str], where: str) -> Iterator[str]:
    others = sorted(str(key) for key in row if key not in known)
    if others:
        yield f"{where} has no key {', '.join(others)}"
