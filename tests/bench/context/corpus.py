"""Recorded runs as prompts: the items that each model call was sent.

The corpus is a folder of gzipped JSON lines, one run a line, as the `README.md` beside it says. Nothing of it is part of this project.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.context.tokens import Count

__all__ = ["BUCKETS", "HALVES", "Item", "Run", "Sizes", "bucket", "half_of", "run_of", "runs_in"]

_FRAMING, _CALL_FRAMING = 4, 8
"""Tokens around a message and around a tool call (design notes, simulator)."""
_APART = frozenset({"sweagent_demo"})
"""Demonstrations: kept out of every figure."""
BUCKETS = ("<15", "15-29", "30-49", "50-99", "100+")
_BOUNDS = (15, 30, 50, 100)
HALVES = ("A", "B")
"""By a hash of the run's id: what is fitted on the one is looked at on the other."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One piece of a prompt. Two items are the same bytes only if they are the same object."""

    tokens: int
    blocks: int = 1
    source: int = -1
    """Position of the message that it is, verbatim; -1 when it is something else."""
    text: str = ""
    """What it shows, where it is not a message verbatim."""
    entries: frozenset[str] | None = None
    """A ledger's entries: it holds these and nothing else."""
    role: str = ""
    """Who says it: `user`, `assistant`, `tool`; empty for system text and tools."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A recorded run."""

    id: str
    source: str
    system: str
    tools: Sequence[Mapping[str, Any]]
    messages: Sequence[Mapping[str, Any]]
    static: Item
    """System text and tools."""
    items: Sequence[Item]
    """One for each message."""
    calls: Sequence[int]
    """Positions of the model's messages: each is a call whose prompt is all that came before."""
    times: Sequence[float]
    """Seconds at which the calls were made; empty where nobody noted them."""
    total: Sequence[int]
    """`total[i]`: tokens of messages 0..i-1."""

    @property
    def output(self) -> int:
        """Tokens that the model wrote."""
        return sum(self.items[at].tokens for at in self.calls)

    @property
    def task(self) -> int:
        """Position of the first message of the user."""
        return next((i for i, message in enumerate(self.messages) if message["role"] == "user"), 0)

    def between(self, start: int, stop: int) -> int:
        """Tokens of messages start..stop-1."""
        return self.total[stop] - self.total[start] if stop > start else 0


def bucket(calls: int) -> str:
    """The length bucket of a run with so many model calls."""
    return BUCKETS[sum(calls >= bound for bound in _BOUNDS)]


def half_of(run: Run) -> str:
    """The half that a run belongs to."""
    return HALVES[hashlib.sha256(run.id.encode()).digest()[-1] % 2]


def runs_in(folder: Path, count: Count) -> Iterator[Run]:
    """Every run but demonstrations. Raises FileNotFoundError when the folder holds none."""
    files = sorted(folder.glob("*.jsonl.gz")) if folder.is_dir() else []
    if not files:
        message = f"no *.jsonl.gz in {folder}: name the folder of recorded runs, as in `make bench-context CORPUS=dir`"
        raise FileNotFoundError(message)
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if row["source"] not in _APART:
                    yield run_of(row, Sizes(count))


class Sizes:
    """How many tokens the parts of a prompt have, framing included: by the design notes."""

    def __init__(self, count: Count) -> None:
        """`count` counts text."""
        self.count = count

    def message(self, text: str, calls: Sequence[Mapping[str, Any]]) -> int:
        """Tokens of one message with its tool calls."""
        count, named = self.count, (each["function"] for each in calls)
        return (
            _FRAMING
            + count(text)
            + sum(_CALL_FRAMING + count(each["name"]) + count(each["arguments"]) for each in named)
        )

    def static(self, system: str, tools: Sequence[Mapping[str, Any]]) -> int:
        """Tokens of system text and tools."""
        return self.count(system) + _FRAMING + (self.count(json.dumps(tools)) if tools else 0)


def run_of(row: Mapping[str, Any], sizes: Sizes) -> Run:
    """The run of one line of the corpus."""
    messages = row["messages"]
    items = [_item(position, message, sizes) for position, message in enumerate(messages)]
    total = [0]
    for item in items:
        total.append(total[-1] + item.tokens)
    meta = row.get("meta") or {}
    fields = meta.get("api_usage_fields") or []
    created = fields.index("created_unix") if "created_unix" in fields else None
    times = [float(each[created]) for each in meta["api_usage"]] if created is not None else []
    return Run(
        id=row["id"],
        source=row["source"],
        system=row["system"] or "",
        tools=row["tools"] or [],
        messages=messages,
        static=Item(sizes.static(row["system"] or "", row["tools"] or [])),
        items=items,
        calls=[i for i, message in enumerate(messages) if message["role"] == "assistant"],
        times=times,
        total=total,
    )


def _item(position: int, message: Mapping[str, Any], sizes: Sizes) -> Item:
    text, calls = message.get("content") or "", message.get("tool_calls") or []
    blocks = max(1, bool(text) + len(calls))
    return Item(sizes.message(text, calls), blocks, position, role=message["role"])
