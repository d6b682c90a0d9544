"""Replays recorded conversations: the assistant turns of a trajectory, in order, whatever model is asked.

A file is JSON lines. A line is one message, a list of messages, or an object with ``messages``; single-message lines
together form one conversation. Messages are OpenAI's (``role``) or LangChain's (``type``, bare, under ``data``, or under
``kwargs``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from governor_sandbox.behaviour import Answer
from governor_sandbox.errors import ScenarioError
from governor_sandbox.output import Reply, ScriptedCall
from governor_sandbox.prompt import Conversation

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One conversation: its assignment and what the assistant said at each step."""

    task: str
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Answers step n with the n-th recorded assistant turn of the conversation that has the same first user message."""

    recordings: tuple[Recording, ...]
    source: str
    after_end: Reply | None = None

    @classmethod
    def load(cls, path: Path, *, after_end: Reply | None = None) -> Replay:
        """Read a trajectory; ``after_end`` answers calls beyond its end, which are otherwise refused.

        Raises:
            ScenarioError: The file cannot be read, a line is not JSON, or nobody speaks in it.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ScenarioError(f"cannot be read: {error.strerror}", source=str(path)) from error
        talks: list[list[dict[str, Any]]] = []
        loose: list[dict[str, Any]] = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                found = _messages(line, str(path), number)
                talks.append(found) if len(found) > 1 else loose.extend(found)
        recordings = tuple(_recording(talk) for talk in [loose, *talks] if talk)
        if not any(recording.replies for recording in recordings):
            raise ScenarioError("no assistant message in it", source=str(path))
        return cls(recordings=recordings, source=path.name, after_end=after_end)

    def answer(self, talk: Conversation) -> Answer:
        """The recorded turn that follows the newest one the request still shows.

        Raises:
            ScenarioError: No recording has this assignment, or it has ended.
        """
        recording = self._find(talk)
        step = _position(recording, talk)
        if step < len(recording.replies):
            return Answer(reply=recording.replies[step], rule=f"step {step}")
        if self.after_end is None:
            raise ScenarioError(
                f"the recording ended after {len(recording.replies)} assistant turns", source=self.source
            )
        return Answer(reply=self.after_end, rule="after the end")

    def reset(self) -> None:
        """Nothing to forget: the step is read off the conversation."""

    def _find(self, talk: Conversation) -> Recording:
        if len(self.recordings) == 1:
            return self.recordings[0]
        for recording in self.recordings:
            if recording.task == talk.task.text:
                return recording
        raise ScenarioError(f"no recording begins with {talk.task.text[:80]!r}", source=self.source)


def _position(recording: Recording, talk: Conversation) -> int:
    """Where in the recording the request stands.

    Counting assistant messages would go wrong when a governed agent shows only a part of its history, so the newest
    recorded tool call in the request decides when there is one.
    """
    at = {call.id: i for i, reply in enumerate(recording.replies) for call in reply.tool_calls if call.id}
    since = 0
    for message in reversed(talk.messages):
        seen = [at[call.id] for call in message.tool_calls if call.id in at]
        if seen:
            return max(seen) + 1 + since
        since += message.role == "assistant"
    return since


def _messages(line: str, source: str, number: int) -> list[dict[str, Any]]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise ScenarioError(f"not JSON: {error}", source=source, line=number) from error
    if isinstance(row, dict) and "messages" in row:
        row = row["messages"]  # pyright: ignore[reportUnknownVariableType] - any JSON value
    rows = cast("list[Any]", row if isinstance(row, list) else [row])
    if not all(isinstance(item, dict) for item in rows):
        raise ScenarioError(
            "a line is a message, a list of messages, or an object with `messages`", source=source, line=number
        )
    return [_flat(item) for item in rows]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """One message with ``role``, wherever its fields were."""
    inner = row.get("data") or row.get("kwargs") or row
    kind = str(row.get("role") or inner.get("role") or inner.get("type") or row.get("type") or "")
    return {**inner, "role": _ROLES.get(kind, kind)}


def _recording(talk: Sequence[dict[str, Any]]) -> Recording:
    task = next((_text(message) for message in talk if message["role"] == "user"), "")
    replies = tuple(
        Reply(text=_text(message), tool_calls=tuple(_call(call) for call in message.get("tool_calls") or ()))
        for message in talk
        if message["role"] == "assistant"
    )
    return Recording(task=task, replies=replies)


def _text(message: dict[str, Any]) -> str:
    content: Any = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)


def _call(call: dict[str, Any]) -> ScriptedCall:
    function: dict[str, Any] = call.get("function") or call
    args: Any = function.get("args", function.get("arguments", {}))
    if isinstance(args, str):
        args = json.loads(args or "{}")
    return ScriptedCall(name=function["name"], args=args, id=call.get("id"))
