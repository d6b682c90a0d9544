"""How a run from the command line ended: as one JSON document, or as a result, a table of its steps and a line of sums."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import BaseMessage
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from governor.cli.output import print_table
from governor_otel import Node, Totals
from governor_otel.cli import usd

if TYPE_CHECKING:
    from governor.decisions import Reason
    from governor.report import GovernorReport

__all__ = ["Ended", "document", "show"]

_stdout = Console(highlight=False, soft_wrap=True)
_stderr = Console(highlight=False, soft_wrap=True, stderr=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended."""

    report: GovernorReport | None
    """None when it never began."""
    result: object = None
    """The result, or what there was of it."""
    refused: Reason | None = None
    failure: Exception | None = None
    """The graph's own error."""


@dataclass(slots=True)
class _Row:
    """All executions of one step."""

    step: str
    times: int
    tiers: list[str]
    decisions: list[str]
    totals: Any


def _rows(nodes: Sequence[Node]) -> Sequence[_Row]:
    """Steps by path, in order of their first execution. Calls that belong to no step (conditional edges) stand under `-`."""
    rows: dict[str, _Row] = {}
    for node in (child for root in nodes for child in root.children):
        path = str(node.attributes.get("governor.step.path", "")) or "-"
        row = rows.setdefault(path, _Row(step=path, times=0, tiers=[], decisions=[], totals=Totals()))
        row.times += node.name.startswith("step ")
        row.totals += node.totals
        for each in _tree(node):
            tier = str(each.attributes.get("governor.tier") or each.attributes.get("gen_ai.request.model") or "")
            row.tiers += [tier] if tier and tier not in row.tiers else []
            row.decisions += [str(decision.get("governor.verdict", "")) for decision in each.decisions]
    return list(rows.values())


def _tree(node: Node) -> Sequence[Node]:
    return [node, *(each for child in node.children for each in _tree(child))]


def _counted(words: Sequence[str]) -> Mapping[str, int]:
    """How often each verdict but `allow` fell."""
    return {word: words.count(word) for word in dict.fromkeys(words) if word != "allow"}


def document(ended: Ended, nodes: Sequence[Node] | None) -> Mapping[str, Any]:
    """What `governor run --json` prints. `outcome` is finished, waiting (for an answer to an interrupt), refused or failed.

    `nodes` None: the run was not recorded. Then `steps` and `totals` are null, since nobody knows them; zeros would be a lie.
    """
    report = ended.report
    return {
        "run": report.run.id if report else None,
        "outcome": _outcome(ended),
        "reason": asdict(ended.refused) if ended.refused else None,
        "result": _plain(ended.result),
        "steps": None if nodes is None else [_step(row) for row in _rows(nodes)],
        "totals": None if nodes is None else asdict(_sum(nodes)),
    }


def _step(row: _Row) -> Mapping[str, Any]:
    decisions = _counted(row.decisions)
    return {"step": row.step, "times": row.times, "tiers": row.tiers, "decisions": decisions, **asdict(row.totals)}


def _sum(nodes: Sequence[Node]) -> Totals:
    return sum((node.totals for node in nodes), Totals())


def _outcome(ended: Ended) -> str:
    if ended.failure is not None:
        return "failed"
    if ended.refused is not None:
        return "refused"
    result = ended.result
    waits = isinstance(result, dict) and "__interrupt__" in cast("dict[str, Any]", result)
    return "waiting" if waits else "finished"


def _plain(value: Any) -> Any:
    """A result as JSON holds it; messages keep the parts that people read."""
    if isinstance(value, BaseMessage):
        calls = getattr(value, "tool_calls", None)
        shown = {"type": value.type, "text": str(value.text)}
        return shown | ({"tool_calls": _plain(calls)} if calls else {})
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(each) for each in cast("list[Any]", value)]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def show(ended: Ended, nodes: Sequence[Node] | None) -> None:
    """Print the result and the table on stdout, a refusal with its remedy on stderr. `nodes` None: the run was not recorded."""
    if ended.failure is None:
        _stdout.print(json.dumps(_plain(ended.result), indent=2, ensure_ascii=False), markup=False)
    if nodes and any(node.children for node in nodes):
        print_table(_table(nodes))
    if ended.report is not None:
        cost = "cost not recorded" if nodes is None else usd(_sum(nodes).cost_nano_usd)
        _stdout.print(f"run {ended.report.run.id}: {_outcome(ended)}, {cost}", markup=False)
    if ended.refused is not None:
        _stderr.print(ended.refused.text, style="red", markup=False)
        _stderr.print(ended.refused.remedy or "", style="red", markup=False)


def _table(nodes: Sequence[Node]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("step", "times", "tiers", "calls", "tools", "tokens in", "cached", "out", "cost", "decisions"):
        table.add_column(name, justify="left" if name in ("step", "tiers", "decisions") else "right")
    for row in _rows(nodes):
        totals = row.totals
        counts = (
            totals.model_calls,
            totals.tool_calls,
            totals.input_tokens,
            totals.cache_read_tokens,
            totals.output_tokens,
        )
        table.add_row(
            escape(row.step),
            str(row.times),
            escape(", ".join(row.tiers)),
            *(f"{count:,}" for count in counts),
            usd(totals.cost_nano_usd),
            ", ".join(f"{count} {word}" for word, count in _counted(row.decisions).items()),
        )
    return table
