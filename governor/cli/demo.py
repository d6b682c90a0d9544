"""`governor demo`: runs the support desk of the repository's examples against the loopback sandbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

from governor.cli.output import errors
from governor.errors import ConfigurationError

__all__ = ["PASS_THROUGH", "demo"]

PASS_THROUGH: dict[str, object] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_PACKAGE = Path("examples") / "support_desk"


def demo(context: typer.Context) -> None:
    """Run the support desk four ways (bare, stock caching, governed without and with routing) and compare the bills.

    Options go to the demo.
    """
    with errors(as_json="--json" in context.args):
        root = _checkout(Path.cwd())
        command = [sys.executable, "-m", "examples.support_desk", *context.args]
        done = subprocess.run(command, cwd=root, check=False)  # noqa: S603 - our own example, with this interpreter
    raise typer.Exit(done.returncode)


def _checkout(start: Path) -> Path:
    """The nearest folder, upwards from `start`, that holds the example."""
    for folder in (start, *start.parents):
        if (folder / _PACKAGE / "__main__.py").is_file():
            return folder
    raise ConfigurationError(
        f"{start}: the demo is part of governor's repository ({_PACKAGE}), which is not here. Clone it and run `make demo` there."
    )
