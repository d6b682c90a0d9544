"""What every command shares: exit codes, one JSON document on stdout, errors as sentences on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from governor.errors import GovernorError, PolicyError, PolicyErrors, Refused, RunStopped

__all__ = ["USAGE", "VIOLATIONS", "JsonOption", "emit", "errors", "fail", "print_table"]

VIOLATIONS = 1
USAGE = 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

_stderr = Console(stderr=True, highlight=False, soft_wrap=True)
_stdout = Console(highlight=False, soft_wrap=True)
_WIDEST = 1_000


def emit(document: object) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def print_table(table: Table) -> None:
    """Print a table as wide as it is, a row a line: folded to a narrow terminal or a pipe it could be neither read nor searched."""
    table.width = _stdout.measure(table, options=_stdout.options.update(max_width=_WIDEST)).maximum
    _stdout.print(table)


@contextmanager
def errors(*, as_json: bool = False) -> Iterator[None]:
    """Turn governor's errors into a message and an exit code: no traceback for what a user can mend."""
    try:
        yield
    except Refused as refusal:
        fail(refusal, VIOLATIONS, as_json=as_json)
    except (GovernorError, ImportError, OSError) as error:
        fail(error, USAGE, as_json=as_json)


def fail(error: Exception, code: int, *, as_json: bool) -> None:
    """Print an error on stderr and leave with `code`."""
    if as_json:
        typer.echo(json.dumps({"error": _described(error)}, ensure_ascii=False, default=str), err=True)
    else:
        _stderr.print(str(error), style="red", markup=False)
    raise typer.Exit(code)


def _described(error: Exception) -> dict[str, Any]:
    described: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, PolicyErrors):
        described["errors"] = [_described(one) for one in error.errors]
    elif isinstance(error, PolicyError):
        described |= {
            "message": error.message,
            "file": error.file,
            "line": error.line,
            "column": error.column,
            "rule": error.rule,
            "remedy": error.remedy,
        }
    elif isinstance(error, Refused):
        reason = error.reason
        described |= {
            "code": reason.code,
            "rule": reason.rule,
            "limit": reason.limit,
            "seen": reason.seen,
            "remedy": reason.remedy,
            "policy_hash": error.policy_hash,
        }
        if isinstance(error, RunStopped):
            described["partial"] = error.partial
    return described
