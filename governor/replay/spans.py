"""The local recorder's file (`governor run`, `governor_otel.record`): spans of governed runs, with usage and times and without content.

Read by its format alone, since the core knows no integration; `tests/cli/test_replay_recording.py` reads what the recorder itself wrote.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from governor.calls import Message, ModelRef
from governor.replay.recorded import Entered, Event, Ran, Recorded, TraceError, Traces, Turn
from governor.usage import Usage

__all__ = ["is_recording", "recorded_spans"]

_SQLITE = b"SQLite format 3\x00"
_APPLICATION_ID, _VERSION = 0x676F7672, 1
_REMEDY = "Name the file that `governor run` or `governor_otel.record` writes."
_PROVIDERS = {"aws.bedrock": "bedrock_converse", "gcp.gemini": "google_genai", "azure.ai.openai": "azure_openai"}
"""Values of `gen_ai.provider.name` to LangChain's names, where they differ."""


def is_recording(head: bytes) -> bool:
    """Whether a file that begins so is a database."""
    return head.startswith(_SQLITE)


def recorded_spans(path: Path) -> Traces:
    """The runs of a recording, oldest first. Raises TraceError for a database that is none or is damaged."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            if application != _APPLICATION_ID:
                raise TraceError("is a database, but no recording of governor's", file=str(path), remedy=_REMEDY)
            if version != _VERSION:
                message = f"was recorded with format {version}, and this version reads {_VERSION}"
                raise TraceError(
                    message, file=str(path), remedy="Replay it with the version of governor that recorded it."
                )
            rows = connection.execute(
                "SELECT run_id, span_id, name, start_ns, end_ns, status, attributes FROM spans ORDER BY start_ns, span_id"
            ).fetchall()
    except sqlite3.Error as error:
        raise TraceError(f"cannot be read: {error}", file=str(path), remedy=_REMEDY) from error
    runs: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        runs.setdefault(str(row[0]), []).append(row[1:])
    errors: list[TraceError] = []
    return Traces(
        runs=tuple(_run(str(path), number, run, spans, errors) for number, (run, spans) in enumerate(runs.items(), 1)),
        errors=tuple(errors),
    )


def _run(path: str, number: int, run: str, spans: Sequence[Sequence[Any]], errors: list[TraceError]) -> Recorded:
    events: list[tuple[int, int, Event]] = []
    thread, scopes, lost = None, dict[str, str](), 0
    for position, (span_id, name, start, end, _, text) in enumerate(spans, 1):
        try:
            attributes: Mapping[str, Any] = json.loads(text)
            events += _events(position, span_id, name, start // 1_000_000, end // 1_000_000, attributes)
        except (AttributeError, TypeError, ValueError) as error:
            lost += 1
            errors.append(
                TraceError(
                    f"span {span_id} of run {run} cannot be read: {error}", file=path, remedy="Record the run again."
                )
            )
            continue
        thread = attributes.get("gen_ai.conversation.id", thread)
        head = "governor.scope."
        scopes |= {key.removeprefix(head): str(value) for key, value in attributes.items() if key.startswith(head)}
    events.sort(key=lambda event: event[:2])
    return Recorded(
        name=run,
        file=path,
        line=number,
        events=tuple(event for _, _, event in events),
        content=False,
        thread=None if thread is None else str(thread),
        scopes=scopes,
        remarks=(f"{lost} of its spans could not be read and are left out.",) if lost else (),
    )


def _events(
    number: int, span: str, name: str, start: int, end: int, attributes: Mapping[str, Any]
) -> Iterator[tuple[int, int, Event]]:
    """What a span says, each with when it happened and its rank among what happened in the same millisecond."""
    path = str(attributes.get("governor.step.path", ""))
    node = path.rpartition("/")[2]
    if name.startswith("step "):
        if attributes.get("governor.step.attempt", 1) == 1:  # a retry is the step that it was
            depth = int(attributes.get("governor.step.depth", 0))
            yield start, number, Entered(number=number, node=node, path=path, ns=span, depth=depth, at_ms=start)
            yield (
                end,
                1_000_000 + number,
                Entered(number=number, node=node, path=path, ns=span, depth=depth, at_ms=end, left=True),
            )
        return
    operation = attributes.get("gen_ai.operation.name")
    if operation == "chat" and "gen_ai.usage.input_tokens" in attributes:
        yield start, number, _turn(number, path, start, end, attributes)
    elif operation == "execute_tool" and "governor.cost_nano_usd" in attributes:  # one that was refused has no cost
        failed = attributes.get("governor.tool.failed") is True
        tool = str(attributes.get("gen_ai.tool.name", ""))
        yield start, number, Ran(number=number, name=tool, node=path, failed=failed, before_ms=start, at_ms=end)


def _turn(number: int, path: str, start: int, end: int, attributes: Mapping[str, Any]) -> Turn:
    def count(name: str) -> int:
        return max(0, int(attributes.get(f"gen_ai.usage.{name}", 0)))

    prompt, output = count("input_tokens"), count("output_tokens")
    read, written = count("cache_read.input_tokens"), count("cache_write.input_tokens")
    usage = Usage(
        input=max(0, prompt - read - written),
        cache_read=read,
        cache_write_5m=written,
        output=output,
        reasoning=min(output, count("reasoning.output_tokens")),
    )
    provider = str(attributes.get("gen_ai.provider.name", "unknown"))
    model = ModelRef(
        provider=_PROVIDERS.get(provider, provider),
        model=str(attributes.get("gen_ai.request.model") or attributes.get("governor.requested_model", "unknown")),
    )
    return Turn(
        number=number,
        message=Message(key=f"m{number}", role="assistant", text="", tokens=output),
        model=model,
        node=path,
        usage=None if attributes.get("governor.usage.estimated") else usage,
        at_ms=end,
        before_ms=start,
        finish=str(next(iter(attributes.get("gen_ai.response.finish_reasons") or ()), "")),
    )
