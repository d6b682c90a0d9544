"""Puts the command together: the core's own commands, and what integrations add through the entry point group `governor.cli`.

The core imports no integration. An entry point names a typer app (mounted under the entry point's name) or a function `register(app)`. One
that cannot be imported, say for a missing extra, is replaced by a command that says so; the others work on.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

from governor.cli import demo, policy, version
from governor.cli.output import USAGE, errors, fail

__all__ = ["build", "main"]

GROUP = "governor.cli"


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="governor",
        help="Budgets, routing, compaction, loop protection and access rules for agent graphs, from one policy file.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.add_typer(policy.app, name="policy")
    app.command("demo", context_settings=demo.PASS_THROUGH)(demo.demo)
    app.command("version")(version.version)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        _mount(app, entry)
    return app


def main() -> None:
    """Run the command line. Never returns: exits with 0, 1 or 2."""
    with errors():
        build()()


def _mount(app: typer.Typer, entry: EntryPoint) -> None:
    try:
        target: Any = entry.load()
    except ImportError as error:
        app.command(entry.name, help=f"Not available: {error}")(_unavailable(error))
        return
    if isinstance(target, typer.Typer):
        app.add_typer(target, name=entry.name)
    else:
        target(app)


def _unavailable(error: ImportError) -> Callable[[], None]:
    def unavailable() -> None:
        fail(error, USAGE, as_json=False)

    return unavailable
