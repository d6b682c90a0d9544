"""Files of recorded runs, told apart by what is in them: JSON lines of messages (OpenAI's, LangChain's), or what the recorder wrote.

One file may hold many runs: one run a line (an object with `messages`, or a list of them), or one message a line, where an empty line, or
another `run_id`, begins the next run. A file that is one JSON document is read as well. Any of them may be gzipped.

A line that cannot be read is an error that names it; what stands around it is read all the same.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from governor.calls import ModelRef
from governor.replay.details import model_named
from governor.replay.messages import Line, NotAMessage, is_message, spoken, turns_of
from governor.replay.recorded import Recorded, TraceError, Traces
from governor.replay.spans import is_recording, recorded_spans

__all__ = ["read"]

_RUN_KEYS = ("run_id", "thread_id", "conversation_id", "session_id", "trace_id")
_NAMES = ("id", "name", *_RUN_KEYS)
_GZIP = b"\x1f\x8b"
_REMEDY = (
    "A trace is one JSON object a line: a message of OpenAI or LangChain, or a run with `messages`; "
    "or the file of `governor run --recording`."
)
_LARGEST_BYTES = 2 << 30
_DEEPEST_FACT = 2
"""Objects inside of objects that are looked through for facts of a run."""


def read(path: Path) -> Traces:
    """Every run of a file. Raises TraceError only for a file that cannot be read at all; what is wrong inside is in the answer."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if is_recording(head):
            return recorded_spans(path)
        raw = _bytes(path, gzipped=head.startswith(_GZIP))
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror or error}", file=str(path), remedy=_HOW) from error
    except (EOFError, zlib.error) as error:
        raise TraceError(f"is cut off or damaged: {error}", file=str(path), remedy="Pack it again.") from error
    return _Reader(str(path)).read(raw)


_HOW = "Check the path and its permissions."


def _bytes(path: Path, *, gzipped: bool) -> bytes:
    if not gzipped:
        return path.read_bytes()
    with gzip.open(path) as file:
        found = file.read(_LARGEST_BYTES)
        if file.read(1):
            raise TraceError("holds more than 2 GiB", file=str(path), remedy="Split it into several files.")
        return found


@dataclass(slots=True)
class _Open:
    """A run whose messages come one a line."""

    line: int
    name: str
    messages: list[Line] = field(default_factory=list[Line])


class _Reader:
    """Reads one file's text."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._runs: list[Recorded] = []
        self._errors: list[TraceError] = []
        self._open: dict[str, _Open] = {}
        self._block = 0

    def read(self, raw: bytes) -> Traces:
        lines = raw.split(b"\n")
        whole = self._document(raw, lines)
        if whole is not None:
            self._value(whole, 1, alone=True)
        else:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    self._line(line, number)
                else:
                    self._block += 1
        self._runs += [self._closed(each) for each in self._open.values()]
        if not self._runs and not self._errors:
            self._fail("holds no recorded run", None)
        return Traces(runs=tuple(sorted(self._runs, key=lambda run: run.line)), errors=tuple(self._errors))

    def _document(self, raw: bytes, lines: Sequence[bytes]) -> Any:
        """The whole file as one JSON document over several lines; None when it is none."""
        first = next((line for line in lines if line.strip()), b"").strip()
        if first[:1] not in (b"{", b"[") or first[-1:] in (b"}", b"]"):
            return None
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return None

    def _line(self, raw: bytes, number: int) -> None:
        try:
            value = json.loads(raw)
        except UnicodeDecodeError:
            self._fail("is not text in UTF-8", number)
        except ValueError as error:
            said = getattr(error, "msg", str(error))
            column = f" at column {getattr(error, 'colno', 0)}" if hasattr(error, "colno") else ""
            self._fail(f"is not JSON: {said}{column}", number)
        except RecursionError:
            self._fail("is nested too deeply", number)
        else:
            self._value(value, number)

    def _value(self, value: Any, number: int, *, alone: bool = False) -> None:
        if isinstance(value, list):
            self._list(cast("list[Any]", value), number, alone=alone)
        elif isinstance(value, dict):
            self._object(cast("dict[str, Any]", value), number)
        else:
            self._fail("is JSON, but no object", number)

    def _object(self, row: dict[str, Any], number: int) -> None:
        if "messages" in row:
            self._run(row, number)
        elif is_message(row):
            self._message(row, number)
        else:
            keys = ", ".join(list(row)[:5]) or "no keys"
            self._fail(f"is an object that is neither a message nor a run ({keys:.80})", number)

    def _list(self, items: list[Any], number: int, *, alone: bool) -> None:
        """A run as a list of messages; in a document that is the whole file also a list of runs."""
        runs = all(isinstance(each, (dict, list)) and not is_message(cast("object", each)) for each in items)
        if alone and items and runs:
            for each in items:
                self._value(each, number)
            return
        self._run({"messages": items}, number)

    def _run(self, row: Mapping[str, Any], number: int) -> None:
        items = row["messages"]
        if isinstance(items, dict) or not isinstance(items, list):
            self._fail("has `messages` that are no list", number)
            return
        named = row.get("model")
        model = model_named(named) if isinstance(named, str) and named else None
        system = row.get("system")
        given = [{"role": "system", "content": system}] if system is not None else []
        messages: list[Line] = []
        lost = 0
        for position, each in enumerate([*given, *cast("list[Any]", items)], 1):
            read = self._spoken(each, position, number, model)
            lost += read is None
            messages += [read] if read is not None else []
        if lost and not messages:
            return
        name = next((str(row[key]) for key in _NAMES if isinstance(row.get(key), (str, int))), f"line {number}")
        self._runs.append(_recorded(self._file, number, name, messages, row, lost=lost))

    def _message(self, row: dict[str, Any], number: int) -> None:
        key = next(
            (f"{key} {row[key]}" for key in _RUN_KEYS if isinstance(row.get(key), (str, int))), f"block {self._block}"
        )
        opened = self._open.get(key)
        if opened is None:
            name = key.partition(" ")[2] if not key.startswith("block ") else f"line {number}"
            opened = self._open[key] = _Open(number, name)
        read = self._spoken(row, len(opened.messages) + 1, number, None)
        if read is not None:
            opened.messages.append(read)

    def _spoken(self, value: Any, position: int, number: int, model: ModelRef | None) -> Line | None:
        try:
            return spoken(value, position, model)
        except NotAMessage as error:
            self._errors.append(TraceError(str(error), file=self._file, line=number, remedy=error.remedy))
            return None

    def _closed(self, opened: _Open) -> Recorded:
        return _recorded(self._file, opened.line, opened.name, opened.messages, {}, lost=0)

    def _fail(self, message: str, number: int | None) -> None:
        self._errors.append(TraceError(message, file=self._file, line=number, remedy=_REMEDY))


def _recorded(file: str, line: int, name: str, messages: list[Line], row: Mapping[str, Any], *, lost: int) -> Recorded:
    found = list(turns_of(messages))
    remarks = [each for each in found if isinstance(each, str)]
    if lost:
        remarks.append(f"{lost} of its messages could not be read and {'are' if lost > 1 else 'is'} left out.")
    thread = next((str(row[key]) for key in _RUN_KEYS[1:] if isinstance(row.get(key), (str, int))), None)
    scopes = row.get("scopes")
    return Recorded(
        name=name,
        file=file,
        line=line,
        events=tuple(each for each in found if not isinstance(each, str)),
        thread=thread,
        tools=_tools(row.get("tools")),
        scopes=dict(_named(cast("Mapping[Any, Any]", scopes))) if isinstance(scopes, Mapping) else {},
        facts=dict(_facts(row)),
        remarks=tuple(remarks),
    )


def _named(scopes: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, value in scopes.items():
        if isinstance(name, str) and isinstance(value, (str, int)):
            yield name, str(value)


def _facts(row: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, str | int | float | bool]]:
    """Single values of a run's line, those of objects in it by their path: `metadata.reward`."""
    for name, value in row.items():
        if isinstance(value, (str, int, float)):
            yield f"{before}{name}", value
        elif isinstance(value, Mapping) and depth < _DEEPEST_FACT:
            yield from _facts(cast("Mapping[str, Any]", value), f"{before}{name}.", depth + 1)


def _tools(given: object) -> tuple[tuple[str, str], ...] | None:
    """Name and serialised description of each offered tool, OpenAI's form or a plain one; None when the record names none."""
    if not isinstance(given, list) or not given:
        return None
    found: list[tuple[str, str]] = []
    for tool in cast("list[object]", given):
        if isinstance(tool, str):
            found.append((tool, ""))
        elif isinstance(tool, Mapping):
            row = cast("Mapping[str, Any]", tool)
            function = row.get("function")
            inner = cast("Mapping[str, Any]", function) if isinstance(function, Mapping) else row
            if isinstance(inner.get("name"), str):
                found.append((inner["name"], json.dumps(inner, default=str)))
    return tuple(found) or None
