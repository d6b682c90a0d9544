"""`governor probe`: a certificate that every node, tool and model of a graph is mediated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from governor.cli.output import VIOLATIONS, JsonOption, emit, errors, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor_langgraph.certificate import Cell, Certificate, Row

__all__ = ["probe"]

_stdout = Console(highlight=False, soft_wrap=True)
_SHOWN = {
    "mediated": "[green]yes[/]",
    "escaped": "[bold red]ESCAPED[/]",
    "not proven": "[yellow]not proven[/]",
    "-": "-",
}


def probe(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:GRAPH", help="A graph, or a function without arguments that builds it.")
    ],
    *,
    policy: Annotated[
        str | None,
        typer.Option("--policy", "-p", help="A policy file, or the name of a bundled one, to certify under."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Prove on your own graph, without running any of it, that nothing escapes. Exit 1 when something does, or is not proven."""
    with errors(as_json=as_json):
        from governor_langgraph.loading import load_graph
        from governor_langgraph.probe import probe as prove

        certificate = prove(load_graph(target), policy)
    if as_json:
        emit(certificate.document())
    else:
        _show(certificate)
    if not certificate.complete:
        raise typer.Exit(VIOLATIONS)


def _show(certificate: Certificate) -> None:
    """The certificate for people: what and under which policy, the matrix, what went wrong, what is left out, the verdict."""
    made_with = ", ".join(f"{name} {number}" for name, number in certificate.versions.items())
    _line(f"graph   {certificate.graph}  {certificate.graph_hash}")
    _line(
        f"policy  {certificate.policy}  {certificate.policy_hash}  mode {certificate.mode}, mediation {certificate.mediation}"
    )
    _line(f"with    {made_with}")
    for title, rows in _parts(certificate.rows):
        _stdout.print()
        _table(title, rows)
    _stdout.print()
    for row in certificate.rows:
        for why, modes in _reasons(row).items():
            _line(f"{_name(row)} by {', '.join(modes)}: {why}")
    for remark in certificate.remarks:
        _line(remark, style="dim")
    _verdict(certificate)


def _parts(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows by what they have for columns."""
    graphs = [row for row in rows if row.kind == "node" or row.within]
    for title, part in (
        ("node, and tool of a ToolNode", graphs),
        ("tool, called by code", [row for row in rows if row.kind == "tool" and not row.within]),
        ("model, in a stopped run", [row for row in rows if row.kind == "model"]),
    ):
        if part:
            yield title, part


def _table(title: str, rows: Sequence[Row]) -> None:
    table = Table(title, *rows[0].cells, box=None, pad_edge=False)
    for row in rows:
        table.add_row(escape(_name(row)), *(_SHOWN[cell.verdict] for cell in row.cells.values()))
    print_table(table)


def _name(row: Row) -> str:
    return f"{row.within}: {row.name}" if row.within else row.name


def _reasons(row: Row) -> dict[str, list[str]]:
    """Why something is not mediated, and by which ways of running it. What cannot be run needs no excuse."""
    found: dict[str, list[str]] = {}
    for mode, cell in row.cells.items():
        if _is_open(cell):
            found.setdefault(cell.why or cell.verdict, []).append(mode)
    return found


def _is_open(cell: Cell) -> bool:
    return cell.verdict in ("escaped", "not proven")


def _verdict(certificate: Certificate) -> None:
    run = sum(certificate.count(each) for each in ("mediated", "escaped", "not proven"))
    counted = f"cells {run}: mediated {certificate.count('mediated')}, escaped {certificate.count('escaped')}"
    counted += f", not proven {certificate.count('not proven')}"
    word = "Everything is mediated." if certificate.complete else "NOT everything is mediated."
    _line(f"{counted}. {word}", style="green" if certificate.complete else "bold red")


def _line(text: str, style: str | None = None) -> None:
    _stdout.print(text, style=style, markup=False)
