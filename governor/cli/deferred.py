"""Commands of integrations, imported when they are run: `governor --help` and `governor version` pay for no graph library.

An entry point of the group `governor.cli` is one command: its name, and a function or typer app that is loaded when the command runs or
its own help is asked for. The line in the list of commands is the first of its docstring, read from the source file, which is not run.
"""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from governor.cli.output import errors

__all__ = ["CommandGroup", "Deferred"]

GROUP = "governor.cli"


class CommandGroup(TyperGroup):
    """The core's commands and, after them, those of integrations. A name that the core has is the core's."""

    def __init__(self, **settings: Any) -> None:
        """Takes what typer gives to a group."""
        super().__init__(**settings)
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            if entry.name not in self.commands:
                self.add_command(Deferred(entry))


class Deferred(TyperCommand):
    """Stands for a command until it is needed."""

    def __init__(self, entry: EntryPoint) -> None:
        """Imports nothing."""
        super().__init__(name=entry.name, callback=None, help=described(entry))
        self._entry = entry

    def load(self) -> Any:
        """The command itself. Raises ImportError when it cannot be imported, say for a missing extra."""
        target: Any = self._entry.load()
        app, name = typer.Typer(add_completion=False), self._entry.name
        if not isinstance(target, typer.Typer):
            app.command(name)(target)
            return get_command(app)
        app.add_typer(target, name=name)
        whole: Any = get_command(app)
        return whole.commands[name]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The real command's context: whatever is then parsed, invoked or explained is its own."""
        with errors(as_json="--json" in args):
            command = self.load()
        return command.make_context(info_name, args, parent, **extra)


def described(entry: EntryPoint) -> str:
    """The first paragraph of a command's docstring; for an app, its module's; else which module adds it."""
    try:
        tree = ast.parse(_source(entry.module).read_text(encoding="utf-8"))
    except (ImportError, OSError, SyntaxError, ValueError):
        return f"Added by {entry.module}."
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry.attr]
    text = ast.get_docstring(functions[0] if functions else tree) or ""
    return text.partition("\n\n")[0] or f"Added by {entry.module}."


def _source(module: str) -> Path:
    """The file of a module of a package. Only the package's own spec is asked for: to ask for a submodule's imports what is around it."""
    package, *names = module.split(".")
    spec = find_spec(package)
    places = spec and spec.submodule_search_locations
    if not places or not names:
        raise ImportError(module)
    return Path(places[0], *names).with_suffix(".py")
