"""The graph part of `governor policy check --graph`: findings, what cuts each cycle, the bounds of one run."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from governor.cli.output import print_table
from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy.load import LoadedPolicy
    from governor.structure import Analysis, Structure

__all__ = ["analysed", "document", "show", "structure_of"]

GROUP = "governor.graphs"
ALONE = {"governor": 1, "name": "no-policy", "loops": {"mode": "observe"}}
"""What a graph is checked against when no policy is named: nothing that would stop it."""
_CUTS = 3
_STYLE = {"error": "red", "warning": "yellow", "info": "cyan"}
_stdout = Console(highlight=False, soft_wrap=True)


def structure_of(target: str) -> Structure:
    """The structure of a graph by its name, read by the integration that is installed. Raises ConfigurationError."""
    readers = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    if not readers:
        raise ConfigurationError("nothing that is installed can read a graph. Install langgraph-governor again.")
    return readers[0].load()(target)


def analysed(structure: Structure, loaded: LoadedPolicy) -> Analysis:
    """The graph under one policy, priced by that policy's prices."""
    from governor.prices import PriceBook
    from governor.structure import analyse

    return analyse(structure, loaded.policy, PriceBook(loaded.policy))


def document(target: str, analysis: Analysis) -> dict[str, Any]:
    """As JSON."""
    return {"graph": target, **analysis.document()}


def show(target: str, policy: str, report: dict[str, Any]) -> None:
    """The report for people: what is wrong, what cuts each cycle, the worst case of one run."""
    for finding in report["findings"]:
        _stdout.print(finding["text"], style=_STYLE[finding["severity"]], markup=False)
    if report["cycles"]:
        table = Table("cycle", "cut by", box=None, pad_edge=False)
        for cycle in report["cycles"]:
            table.add_row(escape(cycle["witness"]), escape(_cuts(cycle["cut_by"])) or "[bold red]nothing[/]")
        print_table(table)
    else:
        _stdout.print("no cycles", style="dim")
    if report["more_cycles"]:
        least = "at least " if report["more_cycles_at_least"] else ""
        _stdout.print(f"and {least}{report['more_cycles']} more", style="dim", markup=False)
    _bounds(target, policy, report)


def _cuts(cuts: Sequence[dict[str, str]]) -> str:
    """The first of them; the others by number."""
    shown = ", ".join(f"{cut['name']} ({cut['limit']})" for cut in cuts[:_CUTS])
    return shown if len(cuts) <= _CUTS else f"{shown} and {len(cuts) - _CUTS} more"


def _bounds(target: str, policy: str, report: dict[str, Any]) -> None:
    words = {"steps": "steps", "model_calls": "model calls", "tool_calls": "tool calls", "nano_usd": "money"}
    table = Table("one run, at most", "", "because of", box=None, pad_edge=False)
    for unit, bound in report["bounds"].items():
        style = "bold red" if bound["most"] is None else "green"
        table.add_row(words[unit], f"[{style}]{bound['written']}[/]", escape(bound["why"]))
    print_table(table)
    for assumption in report["assumptions"]:
        _stdout.print(f"taken for granted: {assumption}", style="dim", markup=False)
    severities = [finding["severity"] for finding in report["findings"]]
    wrong, doubtful = severities.count("error"), severities.count("warning")
    word = f"{wrong} error(s), {doubtful} warning(s)" if wrong or doubtful else "ok"
    style = "bold red" if wrong else "yellow" if doubtful else "green"
    _stdout.print(f"{target} under {policy}: {word}", style=style, markup=False)
