"""The recorded steps of agents, run by run."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FILE", "Run", "Step", "half", "read"]

FILE = "steps_gemini3pro_swe.jsonl.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One model call that was made, and what its command came to."""

    prompt: int
    output: int
    at_s: int
    """When it was made, seconds since the epoch."""
    failed: bool
    """Its command returned something else than 0."""
    malformed: bool
    """Its answer did not hold exactly one command, and none was run."""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One agent at one task."""

    id: str
    steps: tuple[Step, ...]


def read(folder: Path) -> list[Run]:
    """The runs of the corpus, by name. Raises SystemExit where the file is missing or no such recording."""
    path, rows = folder / FILE, dict[str, list[dict[str, object]]]()
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                rows.setdefault(str(row["run"]), []).append(row)
    except (OSError, ValueError, KeyError) as error:
        message = f"{path}: no recorded steps ({error}). Name the folder that holds {FILE}."
        raise SystemExit(message) from error
    return [Run(id=name, steps=tuple(map(_step, sorted(found, key=_place)))) for name, found in sorted(rows.items())]


def _place(row: dict[str, object]) -> int:
    return int(str(row["step"]))


def _step(row: dict[str, object]) -> Step:
    return Step(
        prompt=int(str(row["prompt_tokens"])),
        output=int(str(row["completion_tokens"])),
        at_s=int(str(row["created"])),
        failed=row["returncode"] not in (0, None),
        malformed=bool(row["format_error"]),
        command=str(row["cmd"] or ""),
    )


def half(run: Run) -> int:
    """0 for the half of the runs that shares are steered on, 1 for the half that is reported."""
    return hashlib.sha256(f"half|{run.id}".encode()).digest()[0] & 1
