"""Labelled runs, and by which rule each counts as a loop, as clean, or not at all.

The corpus is a folder of gzipped JSON lines, one run a line, as `README.md` beside it says. Nothing of it is part of this project. A
detector gets the fields of a step and nothing else: no id, no source, no label (`Step`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["Run", "Step", "runs_in"]

CHAIN, GAP = 3, 5
"""People marked single transitions as repetition. A loop is at least three of them, with at most five steps from one to the next."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an agent: a tool call with its result, a message, or a handoff."""

    i: int
    agent: str
    kind: str
    """`tool`, `model` or `handoff`."""
    name: str | None
    args: Mapping[str, Any] | None
    text: str
    """The thought or message."""
    result: str | None
    err: bool
    """A guess by a pattern, not the truth."""
    user_after: bool = False
    par: int | None = None
    """Index of the branch in a fan-out."""
    ns: str | None = None

    @property
    def chars(self) -> int:
        """Size of what it adds to the history."""
        return len(self.text) + len(json.dumps(self.args or {})) + len(self.result or "")


@dataclass(frozen=True, slots=True)
class Run:
    """A run with what is known about it."""

    group: str
    """`human`, `agentrx`, `magentic`, `hotpot`, `constructed`; for negatives `clean` or `legitimate`; empty when it is not scored."""
    source: str
    cls: str
    loop: bool
    onset: int
    """First redundant step; -1 for negatives."""
    steps: tuple[Step, ...]


_FIELDS = frozenset(field.name for field in fields(Step))


def runs_in(folder: Path) -> Iterator[Run]:
    """Every scored run of a corpus; one that two rules score comes twice. Raises FileNotFoundError when the folder holds none."""
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        message = (
            f"no *.jsonl.gz in {folder}: name the folder of the labelled runs, as in `make bench-loops CORPUS=dir`"
        )
        raise FileNotFoundError(message)
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield from _scored(json.loads(line))


def _scored(row: Mapping[str, Any]) -> Iterator[Run]:
    label, source = row["label"], str(row["source"])
    steps = tuple(_step(each) for each in row["steps"])
    cls = str(label.get("cls") or "")
    for group, loop, onset in _groups(source, label):
        yield Run(group, source, cls, loop, onset, steps)


def _step(row: Mapping[str, Any]) -> Step:
    known: dict[str, Any] = {key: value for key, value in row.items() if key in _FIELDS}
    known["text"] = row.get("text") or ""
    known["ns"] = None if row.get("ns") is None else str(row["ns"])
    return Step(**known)


def _groups(source: str, label: Mapping[str, Any]) -> Iterator[tuple[str, bool, int]]:
    if label.get("cls"):
        yield ("constructed", True, label["onset"]) if label["loop"] else ("legitimate", False, -1)
        return
    if label.get("rep_steps"):
        onset = _chained(sorted(label["rep_steps"]))
        if onset is not None:
            yield "human", True, onset
    elif label["loop"] and label["onset"] is not None:
        yield ("hotpot" if "outcome" in label else "magentic"), True, label["onset"]
    if label.get("human_loop") and label.get("human_onset") is not None:
        yield "agentrx", True, label["human_onset"]
    if label["loop"] is False:
        yield "clean", False, -1


def _chained(marked: list[int]) -> int | None:
    """The first of at least `CHAIN` marks that follow each other closely."""
    chain: list[int] = []
    for at in marked:
        chain = [*chain, at] if chain and at - chain[-1] <= GAP else [at]
        if len(chain) >= CHAIN:
            return chain[0]
    return None
