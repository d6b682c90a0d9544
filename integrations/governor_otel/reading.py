"""Reads a recording back: the list of runs, and one run as a tree with the cost of every step. Money is integer nano-USD."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governor.errors import ConfigurationError
from governor_otel.recorder import default_path, open_recording

__all__ = ["MOVED", "Node", "RunSummary", "Totals", "read_run", "read_runs"]

MOVED = "prefix."
"""What the codes of reasons begin with that say why a cached prefix moved."""
_COLUMNS = "span_id, parent_id, name, start_ns, end_ns, status, attributes, events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over a span and everything below it."""

    cost_nano_usd: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    """The whole prompt, cached or not."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    ideal_tokens: int = 0
    """Of the prompts, what an ideal cache would have read: what each began with as the one before it in its lane did."""
    read_of_ideal_tokens: int = 0
    """Of these, what was read from the cache."""
    context_cost_nano_usd: int = 0
    """What the prompts cost, of calls whose usage was reported."""
    context_cached_nano_usd: int = 0
    """What they would have cost with the whole history and a cache that reads all it can."""
    context_uncached_nano_usd: int = 0
    """What they would have cost with the whole history and without a cache."""

    def __add__(self, other: Totals) -> Totals:
        """Field by field."""
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One span of a run with what lies below it, in order of start."""

    id: str
    name: str
    start_ns: int
    end_ns: int
    status: str
    """`OK`, `ERROR` or `UNSET`."""
    attributes: Mapping[str, Any]
    decisions: Sequence[Mapping[str, Any]]
    """Attributes of each `governor.decision` event: control, verdict, rule, reason."""
    own: Totals
    children: Sequence[Node] = field(default_factory=tuple)

    @property
    def totals(self) -> Totals:
        """This span and all below it."""
        return sum((child.totals for child in self.children), self.own)

    @property
    def moves(self) -> Sequence[Mapping[str, Any]]:
        """The decisions, of this span and all below it, that say why a prompt did not begin as the one before it did."""
        own = [each for each in self.decisions if str(each.get("governor.reason.code", "")).startswith(MOVED)]
        return [*own, *(move for child in self.children for move in child.moves)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of `governor runs`."""

    id: str
    name: str
    start_ns: int
    duration_ms: int
    status: str
    thread: str | None
    policy: str
    totals: Totals
    refusals: int
    """Decisions that denied a call or stopped the run."""


def read_runs(path: Path | None = None, *, most: int = 50) -> Sequence[RunSummary]:
    """The latest runs, newest first. Raises StoreError when there is no readable recording."""
    with open_recording(path or default_path()) as connection:
        rows: list[tuple[str]] = connection.execute(
            "SELECT run_id FROM spans GROUP BY run_id ORDER BY max(start_ns) DESC LIMIT ?", (most,)
        ).fetchall()
        return [_summary(run, _nodes(connection, run)) for (run,) in rows]


def read_run(prefix: str, path: Path | None = None) -> Sequence[Node]:
    """The trees of the run whose id begins with `prefix`: one, or several after a resume.

    Raises ConfigurationError when no run or more than one begins so, and StoreError when there is no readable recording.
    """
    with open_recording(path or default_path()) as connection:
        pattern = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        rows: list[tuple[str]] = connection.execute(
            "SELECT DISTINCT run_id FROM spans WHERE run_id LIKE ? ESCAPE '\\' LIMIT 6", (pattern,)
        ).fetchall()
        if not rows:
            raise ConfigurationError(f"no recorded run begins with {prefix!r}. `governor runs` lists them.")
        if len(rows) > 1:
            several = ", ".join(run[:12] for (run,) in rows)
            raise ConfigurationError(f"more than one run begins with {prefix!r}: {several}. Write more of the id.")
        return _nodes(connection, rows[0][0])


def _nodes(connection: sqlite3.Connection, run: str) -> Sequence[Node]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM spans WHERE run_id = ? ORDER BY start_ns", (run,)).fetchall()  # noqa: S608 - constant columns
    known = {row[0] for row in rows}
    roots = [row for row in rows if row[1] not in known and row[2].startswith("invoke_workflow")]
    home = roots[0][0] if roots else None
    below: dict[str | None, list[tuple[Any, ...]]] = {}
    for row in rows:
        # A span of the user's own may stand between two of ours and is not recorded: its child then hangs from the root.
        parent = row[1] if row[1] in known else (None if row in roots or home is None else home)
        below.setdefault(parent, []).append(row)
    return tuple(_node(row, below) for row in below.get(None, ()))


def _node(row: tuple[Any, ...], below: Mapping[str | None, Sequence[tuple[Any, ...]]]) -> Node:
    span_id, _, name, start, end, status, attributes_text, events_text = row
    attributes: dict[str, Any] = json.loads(attributes_text)
    events: list[dict[str, Any]] = json.loads(events_text)
    return Node(
        id=span_id,
        name=name,
        start_ns=start,
        end_ns=end,
        status=status,
        attributes=attributes,
        decisions=[event["attributes"] for event in events if event["name"] == "governor.decision"],
        own=_own(attributes),
        children=tuple(_node(child, below) for child in below.get(span_id, ())),
    )


def _own(attributes: Mapping[str, Any]) -> Totals:
    measured = "governor.cost_nano_usd" in attributes
    operation = attributes.get("gen_ai.operation.name")
    return Totals(
        cost_nano_usd=attributes.get("governor.cost_nano_usd", 0),
        model_calls=int(measured and operation == "chat" and not attributes.get("governor.cached_response")),
        tool_calls=int(measured and operation == "execute_tool"),
        input_tokens=attributes.get("gen_ai.usage.input_tokens", 0),
        cache_read_tokens=attributes.get("gen_ai.usage.cache_read.input_tokens", 0),
        cache_write_tokens=attributes.get("gen_ai.usage.cache_write.input_tokens", 0),
        output_tokens=attributes.get("gen_ai.usage.output_tokens", 0),
        ideal_tokens=attributes.get("governor.cache.ideal_tokens", 0),
        read_of_ideal_tokens=attributes.get("governor.cache.read_of_ideal_tokens", 0),
        context_cost_nano_usd=attributes.get("governor.context.cost_nano_usd", 0),
        context_cached_nano_usd=attributes.get("governor.context.cached_nano_usd", 0),
        context_uncached_nano_usd=attributes.get("governor.context.uncached_nano_usd", 0),
    )


def _summary(run: str, nodes: Sequence[Node]) -> RunSummary:
    first = nodes[0]
    return RunSummary(
        id=run,
        name=str(first.attributes.get("gen_ai.workflow.name", first.name)),
        start_ns=first.start_ns,
        duration_ms=(max(node.end_ns for node in nodes) - first.start_ns) // 1_000_000,
        status="ERROR" if any(node.status == "ERROR" for node in nodes) else "OK",
        thread=first.attributes.get("gen_ai.conversation.id"),
        policy=str(first.attributes.get("governor.policy.name", "")),
        totals=sum((node.totals for node in nodes), Totals()),
        refusals=sum(_refusals(node) for node in nodes),
    )


def _refusals(node: Node) -> int:
    own = sum(decision.get("governor.verdict") in ("deny", "stop") for decision in node.decisions)
    return own + sum(_refusals(child) for child in node.children)
