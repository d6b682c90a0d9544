"""Files of recorded runs, for the commands that read them: what could be read, and what was wrong with the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from governor.replay import Recorded, TraceError

__all__ = ["error_document", "read_traces"]


def read_traces(traces: Sequence[Path]) -> tuple[list[Recorded], list[TraceError]]:
    """The runs of all files, and an error for each file or line that could not be read: the others are read all the same."""
    from governor.replay import TraceError, read

    runs: list[Recorded] = []
    failed: list[TraceError] = []
    for path in traces:
        try:
            found = read(path)
        except TraceError as error:
            failed.append(error)
            continue
        runs += found.runs
        failed += found.errors
    return runs, failed


def error_document(error: TraceError) -> dict[str, Any]:
    """An error for `--json`."""
    return {
        "text": str(error),
        "message": error.message,
        "file": error.file,
        "line": error.line,
        "remedy": error.remedy,
    }
