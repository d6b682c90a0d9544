"""`governor policy check | explain | schema`: everything a security author needs, without Python."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from governor.cli import graphs
from governor.cli.output import USAGE, VIOLATIONS, JsonOption, emit, errors
from governor.errors import PolicyError, PolicyErrors

if TYPE_CHECKING:
    from governor.policy.findings import Finding
    from governor.policy.load import LoadedPolicy
    from governor.structure import Structure

__all__ = ["app"]

app = typer.Typer(help="Check, explain and describe policy files.", no_args_is_help=True)
_STYLE = {"error": "red", "warning": "yellow", "info": "cyan"}
_stdout = Console(highlight=False, soft_wrap=True)


@app.command()
def check(
    files: Annotated[list[str] | None, typer.Argument(help="Policy files, or names of bundled policies.")] = None,
    *,
    graph: Annotated[
        str | None,
        typer.Option(
            "--graph",
            metavar="MODULE:GRAPH",
            help="A graph to check against each policy, or by itself: cycles that nothing cuts, and the worst case of one run. "
            "Its module is imported; nothing of it is run.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read policies as a governed graph would and remark on them. Exit 0 clean, 1 findings, 2 a file that cannot be loaded."""
    if not files and graph is None:
        raise typer.BadParameter("Name a policy file, or a graph with --graph.")
    with errors(as_json=as_json):
        structure = None if graph is None else graphs.structure_of(graph)
    reports = [_checked(file, structure) for file in files or ()]
    if not files and structure is not None:
        reports = [_alone(structure)]
    if as_json:
        emit(reports)
    else:
        for report in reports:
            _print(report)
    if any(report["errors"] for report in reports):
        raise typer.Exit(USAGE)
    failing = {"error", "warning"} if strict else {"error"}
    found = [
        finding for report in reports for finding in (*report["findings"], *report.get("graph", {}).get("findings", ()))
    ]
    if any(finding["severity"] in failing for finding in found):
        raise typer.Exit(VIOLATIONS)


@app.command()
def explain(
    file: Annotated[str, typer.Argument(help="A policy file, or the name of a bundled one.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Say in plain English what a policy does."""
    from governor.policy.explain import explain as explained
    from governor.policy.load import load

    with errors(as_json=as_json):
        sentences = explained(load(file))
    if as_json:
        emit([dataclasses.asdict(sentence) for sentence in sentences])
        return
    for topic, group in groupby(sentences, key=lambda sentence: sentence.topic):
        _stdout.print(topic, style="bold", markup=False)
        for sentence in group:
            note = "" if sentence.enforced else " (accepted, not yet enforced)"
            place = f"  [{sentence.file}:{sentence.line}]" if sentence.line else ""
            _stdout.print(
                f"  - {sentence.text}{note}", style=None if sentence.enforced else "yellow", markup=False, end=""
            )
            _stdout.print(place, style="dim", markup=False)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the JSON schema that editors complete policy files from. It is JSON either way; --json is for the errors."""
    from governor.policy.jsonschema import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    with errors(as_json=as_json):
        output.write_text(text, encoding="utf-8")


def _checked(file: str, structure: Structure | None = None) -> dict[str, Any]:
    from governor.policy.lint import check as lint
    from governor.policy.load import load

    try:
        loaded = load(file)
    except PolicyError as error:
        found = error.errors if isinstance(error, PolicyErrors) else (error,)
        return {"file": file, "hash": None, "findings": [], "errors": [_error(one) for one in found]}
    report = {"file": file, "hash": loaded.hash, "findings": _findings(lint(loaded)), "errors": []}
    return report if structure is None else report | {"graph": _against(structure, loaded)}


def _alone(structure: Structure) -> dict[str, Any]:
    """A graph without a policy: what it bounds by itself."""
    from governor.policy.load import load

    return {"file": None, "hash": None, "findings": [], "errors": [], "graph": _against(structure, load(graphs.ALONE))}


def _against(structure: Structure, loaded: LoadedPolicy) -> dict[str, Any]:
    return graphs.document(structure.name, graphs.analysed(structure, loaded))


def _error(error: PolicyError) -> dict[str, Any]:
    fields = ("message", "file", "line", "column", "rule", "remedy")
    return {"text": str(error)} | {field: getattr(error, field) for field in fields}


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{"text": str(finding)} | dataclasses.asdict(finding) for finding in findings]


def _print(report: dict[str, Any]) -> None:
    for error in report["errors"]:
        _stdout.print(error["text"], style="red", markup=False)
    for finding in report["findings"]:
        _stdout.print(finding["text"], style=_STYLE[finding["severity"]], markup=False)
    if report["file"] is None:
        graphs.show(report["graph"]["graph"], "no policy", report["graph"])
    elif report["errors"]:
        _stdout.print(
            f"{report['file']}: cannot be used: {len(report['errors'])} error(s)", style="bold red", markup=False
        )
    else:
        _stdout.print(f"{report['file']}: ok, {report['hash']}", style="green", markup=False)
        if "graph" in report:
            graphs.show(report["graph"]["graph"], report["file"], report["graph"])
