"""The recorded outcomes that the benchmark reads, as records of routing. Nothing of them is part of the project."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governor.routing.estimate import DELTA_CHARS, StepFeatures
from governor.routing.metrics import Graded
from governor.routing.records import PairedOutcome, Side

FILES = ("routellm_mmlu", "routellm_gsm8k", "routellm_mtbench")
FOLDS = 5
_NANO = 1_000_000_000


@dataclass(frozen=True)
class Corpus:
    """One file of outcomes."""

    name: str
    records: tuple[PairedOutcome, ...]
    priced: bool

    @property
    def answered(self) -> bool:
        """Whether it holds the cheap model's answers."""
        return all(record.weak.answer for record in self.records)

    @property
    def nodes(self) -> int:
        return len({record.step.path for record in self.records})


def missing(folder: Path) -> list[str]:
    """Names of the files that are not in the folder."""
    return [f"{name}.jsonl.gz" for name in FILES if not (folder / f"{name}.jsonl.gz").is_file()]


def read(folder: Path, name: str) -> Corpus:
    """A file of prompt records; a prompt's domain stands in for the node of a graph."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    best = max(row[side]["score"] for row in rows for side in ("strong", "weak"))
    scale = 10.0 if best > 1 else 1.0
    records = tuple(_record(row, scale) for row in rows)
    priced = all(None not in (record.strong.cost, record.weak.cost) for record in records)
    return Corpus(name.removeprefix("routellm_"), records, priced)


def fold(name: str) -> int:
    return int(hashlib.sha256(f"governor-bench-1|{name}".encode()).hexdigest(), 16) % FOLDS


def first(records: Sequence[PairedOutcome], count: int | None) -> list[PairedOutcome]:
    """`count` records to learn of, always the same ones; all without a count."""
    ordered = sorted(records, key=lambda record: hashlib.sha256(f"order|{record.id}".encode()).hexdigest())
    return ordered[:count]


def graded(records: Sequence[PairedOutcome]) -> list[Graded]:
    return [
        Graded(
            id=record.id,
            strong=record.strong.score,
            weak=record.weak.score,
            strong_cost=record.strong.cost or 0,
            weak_cost=record.weak.cost or 0,
        )
        for record in records
    ]


def _record(row: dict[str, Any], scale: float) -> PairedOutcome:
    domain = str(row["meta"]["domain"])
    return PairedOutcome(
        id=str(row["id"]),
        step=StepFeatures(node=domain, path=domain, delta=str(row["prompt"])[:DELTA_CHARS]),
        strong=_side("strong", row["strong"], scale),
        weak=_side("weak", row["weak"], scale),
        source="replay",
    )


def _side(tier: str, row: dict[str, Any], scale: float) -> Side:
    cost = None if row["cost"] is None else round(row["cost"] * _NANO)
    return Side(tier=tier, score=row["score"] / scale, cost=cost, answer=str(row.get("answer") or ""))
