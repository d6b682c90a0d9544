"""Recorded runs as files: written by LangChain and OpenAI's own classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from openai.types.chat import ChatCompletionMessage

from governor.policy.load import load
from governor.replay import Judged, Replay, read

NOTHING_NEW = "order 7 is paid and was shipped to Oslo on Monday, nothing else is known"
LOOP_BEGINS = 9
"""Number of the message that asks for the status the first time; each later one asks two messages on."""


def calls(loops: int = 8) -> list[tuple[str, dict[str, object], str]]:
    """Three searches that find something, then the same status again and again."""
    found: list[tuple[str, dict[str, object], str]] = [
        ("search", {"q": f"order {n}"}, f"order {n}: card ending {n}42, street {n * 13}") for n in (1, 2, 3)
    ]
    status: tuple[str, dict[str, object], str] = ("status", {"order": 7}, NOTHING_NEW)
    return [*found, *[status] * loops]


def langchain(loops: int = 8, *, usage: bool = True) -> list[BaseMessage]:
    """The run as LangChain's messages."""
    told: Any = {"input_tokens": 1_000, "output_tokens": 20, "total_tokens": 1_020} if usage else None
    model = {"model_name": "gpt-4o", "model_provider": "openai"}
    messages: list[BaseMessage] = [SystemMessage("You are a desk."), HumanMessage("Where is order 7?")]
    for number, (name, args, result) in enumerate(calls(loops)):
        messages.append(
            AIMessage(
                "",
                tool_calls=[{"name": name, "args": args, "id": f"c{number}"}],
                usage_metadata=told,
                response_metadata=model,
            )
        )
        messages.append(ToolMessage(result, tool_call_id=f"c{number}", name=name))
    return [*messages, AIMessage("Shipped on Monday.", usage_metadata=told, response_metadata=model)]


def openai(loops: int = 8) -> list[dict[str, Any]]:
    """The run as OpenAI's client gives and takes it."""
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "You are a desk."},
        {"role": "user", "content": [{"type": "text", "text": "Where is order 7?"}]},
    ]
    for number, (name, args, result) in enumerate(calls(loops)):
        function = {"name": name, "arguments": json.dumps(args)}
        asked = {"role": "assistant", "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}]}
        messages.append(ChatCompletionMessage.model_validate(asked).model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": result})
    said = ChatCompletionMessage(role="assistant", content="Shipped on Monday.")
    return [*messages, said.model_dump(exclude_none=True)]


def lines(rows: Iterable[object]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def written(folder: Path, rows: Iterable[object], name: str = "trace.jsonl") -> Path:
    path = folder / name
    path.write_bytes(lines(rows))
    return path


def policy(**parts: Any) -> Any:
    return load({"governor": 1, "name": "t", "tools": {"default": "allow"}, **parts})


def judged(path: Path, scopes: Mapping[str, str] | None = None, **parts: Any) -> Judged:
    """The only run of a file, under a policy with these parts."""
    found = read(path)
    assert () == found.errors
    (run,) = found.runs
    return Replay(policy(**parts), scopes=scopes).judge(run)


def acts(found: Judged) -> Sequence[tuple[str, str, int]]:
    """Code, verdict and step of each act."""
    return [(act.code, act.verdict, act.step) for act in found.acts]
