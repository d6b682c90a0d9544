"""What a probe found, as values: cells with verdicts, rows of cells, the whole with its hashes, counts and limits."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.utils.function_calling import convert_to_openai_tool

from governor_langgraph.inspect import edges_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.tools import BaseTool

    from governor_langgraph.inspect import Reach

__all__ = ["Cell", "Certificate", "Row", "Verdict", "graph_hash", "versions"]

Verdict = Literal["mediated", "escaped", "not proven", "-"]
"""`mediated`: refused by the rule that should refuse it, and nothing ran. `escaped`: the tripwire was reached. `not proven`: neither.
`-`: LangGraph or LangChain cannot run it this way."""
DISTRIBUTIONS = ("langgraph-governor", "langgraph", "langchain-core")


def versions() -> dict[str, str]:
    """Of what the proof was made with."""
    return {**{name: version(name) for name in DISTRIBUTIONS}, "python": platform.python_version()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One thing run in one way."""

    verdict: Verdict
    why: str = ""
    """Why it is not proven, or cannot be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One node, tool or model, in every way of running it."""

    kind: Literal["node", "tool", "model"]
    name: str
    """A node's path, as policies name it; a tool's name; a model as `provider:model`."""
    within: str = ""
    """Of a tool: the path of the ToolNode that runs it; empty when code calls it directly."""
    cells: Mapping[str, Cell]
    """By the way of running it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What `governor probe` proves about one graph."""

    graph: str
    graph_hash: str
    policy: str
    policy_hash: str
    mode: str
    mediation: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]
    """What this policy leaves out, and what no probe can show."""
    versions: Mapping[str, str] = field(default_factory=versions)

    def count(self, verdict: Verdict) -> int:
        """Number of cells with this verdict."""
        return Counter(cell.verdict for row in self.rows for cell in row.cells.values())[verdict]

    @property
    def complete(self) -> bool:
        """Whether everything that can be run is mediated."""
        return self.count("mediated") > 0 and not self.count("escaped") and not self.count("not proven")

    def document(self) -> dict[str, Any]:
        """As JSON has it. The same graph, policy and versions give the same document."""
        return {
            "graph": {"name": self.graph, "hash": self.graph_hash},
            "policy": {
                "name": self.policy,
                "hash": self.policy_hash,
                "mode": self.mode,
                "mediation": self.mediation,
            },
            "versions": dict(self.versions),
            "complete": self.complete,
            "cells": {
                "run": sum(self.count(each) for each in ("mediated", "escaped", "not proven")),
                "mediated": self.count("mediated"),
                "escaped": self.count("escaped"),
                "not_proven": self.count("not proven"),
                "cannot_run": self.count("-"),
            },
            "rows": [_row(row) for row in self.rows],
            "remarks": list(self.remarks),
        }


def _row(row: Row) -> dict[str, Any]:
    why = {mode: cell.why for mode, cell in row.cells.items() if cell.why}
    return {
        "kind": row.kind,
        "name": row.name,
        "within": row.within or None,
        "cells": {mode: cell.verdict for mode, cell in row.cells.items()},
        "why": why,
    }


def graph_hash(reach: Reach) -> str:
    """`sha256:` over what the graph is made of: nodes, edges, nested graphs, tools with their schemas, models.

    The same in every process. What the code inside of nodes and tools does is no part of it.
    """
    whole = {
        "name": reach.described.name,
        "nodes": sorted(reach.described.nodes),
        "graphs": sorted(
            [place.prefix, "called" if place.called else "node", place.graph.get_name(), sorted(edges_of(place.graph))]
            for place in reach.graphs
        ),
        "tools": sorted({_canonical(_schema(tool)) for tool in reach.tools}),
        "offered": sorted(tool.name for tool in reach.described.tools),
        "models": sorted(reach.described.models),
    }
    return f"sha256:{hashlib.sha256(_canonical(whole).encode()).hexdigest()}"


def _schema(tool: BaseTool) -> dict[str, Any]:
    """A tool as models are told of it; by its arguments' names where that cannot be had."""
    try:
        return convert_to_openai_tool(tool)
    except Exception:  # noqa: BLE001 - a schema is the user's own, and may fail in any way
        return {"name": tool.name, "description": tool.description}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_named)


def _named(value: object) -> str:
    """What JSON cannot hold, without the address that a repr may have."""
    return f"<{type(value).__qualname__}>"
