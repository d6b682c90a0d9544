"""The local recorder: governor's spans in one SQLite file, so that a run can be looked at without any backend.

Only spans that carry `governor.run.id` are kept. Recording must never harm the application: a failure is logged once and the
exporter goes on.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from governor.errors import StoreError

__all__ = ["SCHEMA_VERSION", "SpanRecorder", "default_path", "open_recording"]

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x676F7672
"""`govr`: marks the file as ours, so that no other database is taken for a recording."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT, run_id TEXT NOT NULL, name TEXT NOT NULL,
    start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, status TEXT NOT NULL,
    attributes TEXT NOT NULL, events TEXT NOT NULL, PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_by_run ON spans (run_id, start_ns);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_log = logging.getLogger("governor_otel")


def default_path() -> Path:
    """Where recordings go: `$GOVERNOR_RECORDER`, else `~/.governor/runs.db`."""
    named = os.environ.get("GOVERNOR_RECORDER")
    return Path(named) if named else Path.home() / ".governor" / "runs.db"


@contextmanager
def open_recording(path: Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to a recording.

    Raises StoreError naming the file and the remedy when it is missing (unless `create`), unreadable, no database, or of another version.
    """
    if not create and not path.is_file():
        raise StoreError(
            f"{path}: no recording there. Run a governed graph with `governor run`, or set GOVERNOR_RECORDER."
        )
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{path}: the recording cannot be opened: {error}. Check the path and its permissions."
        ) from error
    with closing(connection):
        try:
            _prepare(connection, path, create=create)
            yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"{path}: the recording cannot be read or written: {error}. Move the file away to begin a new one."
            ) from error


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    found: tuple[int] = connection.execute("PRAGMA user_version").fetchone()
    application: tuple[int] = connection.execute("PRAGMA application_id").fetchone()
    if found[0] == 0 and create and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
    elif application[0] != _APPLICATION_ID:
        raise StoreError(f"{path}: this is a database, but no recording of governor's. Name another file.")
    elif found[0] != SCHEMA_VERSION:
        raise StoreError(
            f"{path}: recorded with format {found[0]}, this version reads {SCHEMA_VERSION}. Move the file away to begin a new one."
        )
    connection.execute("PRAGMA synchronous = NORMAL")


class SpanRecorder(SpanExporter):
    """Exports governor's spans to a SQLite file. Many processes may share it; a span is written once."""

    def __init__(self, path: Path | None = None) -> None:
        """Opens nothing yet: the file is made with the first export."""
        self.path = path or default_path()
        self._lock = threading.Lock()
        self._complained = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the batch in one transaction. A failure is logged once per recorder, never raised."""
        rows = [row for span in spans if (row := _row(span)) is not None]
        if not rows:
            return SpanExportResult.SUCCESS
        try:
            with self._lock, open_recording(self.path, create=True) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
                connection.execute("COMMIT")
        except StoreError as error:
            if not self._complained:
                self._complained = True
                _log.warning("spans are not recorded: %s", error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to close: each export opens its own connection."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is buffered here."""
        del timeout_millis
        return True


def _row(span: ReadableSpan) -> tuple[object, ...] | None:
    attributes = dict(span.attributes or {})
    run = attributes.get("governor.run.id")
    context = span.get_span_context()
    if run is None or context is None:
        return None
    events = [{"name": e.name, "at_ns": e.timestamp, "attributes": dict(e.attributes or {})} for e in span.events]
    return (
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        f"{span.parent.span_id:016x}" if span.parent else None,
        str(run),
        span.name,
        span.start_time or 0,
        span.end_time or 0,
        span.status.status_code.name,
        json.dumps(attributes, default=list),
        json.dumps(events, default=list),
    )
