"""`governor version`: what is installed, for bug reports."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import typer

from governor.cli.output import JsonOption, emit

__all__ = ["version"]

_SHOWN = (
    "langgraph-governor",
    "langgraph",
    "langchain",
    "langchain-core",
    "langchain-aws",
    "langchain-anthropic",
    "langchain-openai",
)


def version(*, as_json: JsonOption = False) -> None:
    """Versions of governor and of what it governs."""
    found = {name: _installed(name) for name in _SHOWN} | {"python": platform.python_version()}
    if as_json:
        emit(found)
        return
    for name, number in found.items():
        typer.echo(f"{name} {number or 'not installed'}")


def _installed(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None
