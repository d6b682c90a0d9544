"""`governor runs` and `governor show`: recorded runs, and one of them as a tree with the cost of every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from governor.cli.output import JsonOption, emit, errors, print_table
from governor_otel.reading import MOVED, Node, RunSummary, Totals, read_run, read_runs

__all__ = ["runs", "show", "usd"]

Recording = Annotated[
    Path | None,
    typer.Option("--recording", help="The recording; $GOVERNOR_RECORDER or ~/.governor/runs.db by default."),
]
_QUIET_VERDICTS = {"allow"}
_STYLE = {"stop": "bold red", "deny": "red", "ask": "magenta", "nudge": "yellow", "modify": "cyan"}
_stdout = Console(highlight=False)


def usd(nano: int) -> str:
    """Nano-USD as dollars, with six decimals: a step of a small model costs millionths."""
    return f"${nano // 1_000_000_000}.{nano % 1_000_000_000 // 1000:06d}"


def runs(
    *,
    most: Annotated[int, typer.Option("-n", "--most", min=1, help="How many, newest first.")] = 20,
    recording: Recording = None,
    as_json: JsonOption = False,
) -> None:
    """List recorded runs."""
    with errors(as_json=as_json):
        found = read_runs(recording, most=most)
    if as_json:
        emit([asdict(run) for run in found])
        return
    table = Table(box=None, pad_edge=False)
    for name in (
        "run",
        "began (UTC)",
        "graph",
        "policy",
        "calls",
        "tools",
        "tokens in",
        "cached",
        "out",
        "cost",
        "refused",
    ):
        table.add_column(name, justify="left" if name in ("run", "began (UTC)", "graph", "policy") else "right")
    for run in found:
        table.add_row(*_columns(run))
    print_table(table)


def _columns(run: RunSummary) -> Sequence[str]:
    totals = run.totals
    began = datetime.fromtimestamp(run.start_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    counts = (
        totals.model_calls,
        totals.tool_calls,
        totals.input_tokens,
        totals.cache_read_tokens,
        totals.output_tokens,
    )
    shown = [f"{count:,}" for count in counts]
    return (
        run.id[:12],
        began,
        escape(run.name),
        escape(run.policy),
        *shown,
        usd(totals.cost_nano_usd),
        str(run.refusals),
    )


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or the beginning of one.")],
    *,
    recording: Recording = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run as a tree: steps, calls, decisions, and what each cost."""
    with errors(as_json=as_json):
        nodes = read_run(run, recording)
    if as_json:
        emit([_as_json(node) for node in nodes])
        return
    for node in nodes:
        tree = Tree(_line(node))
        _grow(tree, node)
        _stdout.print(tree)
    totals = sum((node.totals for node in nodes), Totals())
    _stdout.print(
        f"{totals.model_calls:,} model calls, {totals.tool_calls:,} tool calls; tokens in {totals.input_tokens:,} "
        f"({totals.cache_read_tokens:,} from cache), out {totals.output_tokens:,}; [bold]{usd(totals.cost_nano_usd)}[/bold]"
    )
    for line in _prompts(totals, [move for node in nodes for move in node.moves]):
        _stdout.print(line)


def _prompts(totals: Totals, moves: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """What became of the prompts: the cache beside an ideal one, why prefixes moved, and the money beside the whole history."""
    lines: list[str] = []
    if totals.ideal_tokens:
        share = totals.read_of_ideal_tokens / totals.ideal_tokens
        others = totals.cache_read_tokens - totals.read_of_ideal_tokens
        lines.append(
            f"cache: {totals.read_of_ideal_tokens:,} of the {totals.ideal_tokens:,} tokens read that an ideal cache would have read "
            f"({share:.1%})" + (f", and {others:,} of other prompts' prefixes" if others else "")
        )
    if moves:
        counts = Counter(str(move["governor.reason.code"]).partition(".")[2] for move in moves)
        lost = sum(int(move.get("governor.evidence.lost_tokens", 0)) for move in moves)
        told = ", ".join(f"{cause} {count}" for cause, count in counts.most_common())
        lines.append(f"prefix moved {len(moves)} times: {told}; {lost:,} cached tokens could not be read")
    if totals.context_uncached_nano_usd:
        cost, cached, uncached = (
            totals.context_cost_nano_usd,
            totals.context_cached_nano_usd,
            totals.context_uncached_nano_usd,
        )
        lines.append(
            f"prompts: {usd(cost)}; the whole history {_against(cost, cached)} with plain caching, "
            f"{_against(cost, uncached)} without a cache"
        )
    return lines


def _against(cost: int, other: int) -> str:
    """What something else would have cost, and by how much what was done is cheaper or dearer."""
    if not other:
        return usd(other)
    return f"{usd(other)} ({cost / other - 1:+.1%})"


def _as_json(node: Node) -> Mapping[str, Any]:
    return asdict(node) | {"totals": asdict(node.totals), "children": [_as_json(child) for child in node.children]}


def _grow(tree: Tree, node: Node) -> None:
    for decision in node.decisions:
        verdict = str(decision.get("governor.verdict", ""))
        if verdict not in _QUIET_VERDICTS or str(decision.get("governor.reason.code", "")).startswith(MOVED):
            style = _STYLE.get(verdict.removeprefix("would_"), "dim")
            text = escape(str(decision.get("governor.reason", decision.get("governor.reason.code", ""))))
            tree.add(f"[{style}]{verdict}[/] {escape(str(decision.get('governor.control', '')))}: {text}")
    for child in node.children:
        _grow(tree.add(_line(child)), child)


def _line(node: Node) -> str:
    attributes, totals = node.attributes, node.totals
    parts = [f"[bold]{escape(node.name)}[/bold]"]
    tier = attributes.get("governor.tier")
    if tier:
        parts.append(f"[cyan]{escape(str(tier))}[/cyan] {escape(str(attributes.get('gen_ai.response.model', '')))}")
    if totals.input_tokens:
        cached = f", {totals.cache_read_tokens:,} cached" if totals.cache_read_tokens else ""
        parts.append(f"{totals.input_tokens:,} in{cached}, {totals.output_tokens:,} out")
    if totals.cost_nano_usd:
        parts.append(f"[green]{usd(totals.cost_nano_usd)}[/green]")
    before, after = attributes.get("governor.context.tokens_before"), attributes.get("governor.context.tokens_after")
    if before and after and after < before:
        parts.append(f"[cyan]view {before:,} -> {after:,} tokens[/cyan]")
    if node.status == "ERROR":
        parts.append(f"[red]{escape(str(attributes.get('error.type', 'error')))}[/red]")
    return "  ".join(parts)
