"""Puts the command together: the core's own commands, and what integrations add through the entry point group `governor.cli`.

The core imports no integration. One that cannot be imported, say for a missing extra, says so when its command is run; the others work on.
"""

from __future__ import annotations

import typer

from governor.cli import budget, demo, distill, halts, policy, replay, route, version
from governor.cli.deferred import CommandGroup
from governor.cli.output import errors

__all__ = ["build", "main"]


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="governor",
        cls=CommandGroup,
        help="Budgets, routing, compaction, loop protection and access rules for agent graphs, from one policy file.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.add_typer(policy.app, name="policy")
    app.add_typer(budget.app, name="budget")
    app.add_typer(distill.app, name="distill")
    app.add_typer(route.app, name="route")
    app.command("leases")(halts.leases)
    app.command("halt")(halts.halt)
    app.command("resume")(halts.resume)
    app.command("halts")(halts.halts)
    app.command("audit")(halts.audit)
    app.command("replay")(replay.replay)
    app.command("demo", context_settings=demo.PASS_THROUGH)(demo.demo)
    app.command("version")(version.version)
    return app


def main() -> None:
    """Run the command line. Never returns: exits with 0, 1 or 2."""
    with errors():
        build()()
