"""Finds a graph by `MODULE:NAME`, as the command line names it: an object, or a function without arguments that builds it."""

from __future__ import annotations

import asyncio
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any, cast

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from governor.errors import ConfigurationError

__all__ = ["load_graph"]


def load_graph(target: str, *, files: bool = False) -> Any:
    """The graph that `MODULE:NAME` names; modules are looked for in the current folder first.

    Code of the module runs, as on any import. Raises ConfigurationError that says what is wrong and what to write instead.

    `files`: whether `./file.py:NAME`, as `langgraph.json` writes it, will do. Such a file is no module of a package.
    """
    module, separator, name = target.partition(":")
    if not separator or not module or not name:
        raise ConfigurationError(f"{target!r} names no graph. Write MODULE:NAME, as in `app:graph`.")
    is_file = "/" in module or module.endswith(".py")
    if is_file and not (files and module.endswith(".py")):
        raise ConfigurationError(f"{target!r} is a path. {_by_module(module, name)}")
    thing = _attribute(_run(Path(module)) if is_file else _imported(module), name, target)
    graph = _built(thing, target)
    if not isinstance(graph, (Pregel, StateGraph)):
        raise ConfigurationError(
            f"{target} is no graph but of type {type(graph).__qualname__}. Name a StateGraph, a compiled graph, an @entrypoint, or a "
            "function without arguments that returns one."
        )
    return cast("Any", graph)


def _by_module(path: str, name: str) -> str:
    """How to name what is in a file: by its module, from the current folder or one above the file."""
    here = Path.cwd()
    file = Path(os.path.normpath(here / path.removesuffix(".py")))
    if file.is_relative_to(here) and file != here:
        return f"Write the module's name: `{'.'.join(file.relative_to(here).parts)}:{name}`."
    return f"Change to its folder, `cd {file.parent}`, and write the module's name: `{file.name}:{name}`."


def _run(path: Path) -> object:
    """The module that a file makes. What is beside it can be imported from it, as in a server that reads `langgraph.json`."""
    file = Path.cwd() / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigurationError(f"there is no file {path} in {Path.cwd()}.")
    for folder in (str(file.parent), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # classes of it are looked up by their module's name when hints are read
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module


def _imported(module: str) -> object:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise ConfigurationError(f"there is no module {module} in {folder} or among what is installed.") from error
        raise ConfigurationError(f"{module} cannot be imported: {error}. Install what it needs.") from error
    except Exception as error:
        raise ConfigurationError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error


def _attribute(module: object, name: str, target: str) -> object:
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            graphs = [key for key, value in vars(module).items() if isinstance(value, (Pregel, StateGraph))]
            close = difflib.get_close_matches(name, [key for key in vars(module) if not key.startswith("_")], n=1)
            known = (
                f" Graphs in it: {', '.join(graphs)}." if graphs else f" Did you mean `{close[0]}`?" if close else ""
            )
            raise ConfigurationError(f"{target}: the module has no `{part}`.{known}")
        found = getattr(found, part)
    return found


def _built(thing: object, target: str) -> object:
    """What a factory returns; anything else as it is."""
    if isinstance(thing, (Pregel, StateGraph, type)) or not callable(thing):
        return cast("object", thing)
    try:
        inspect.signature(thing).bind()
    except TypeError as error:
        raise ConfigurationError(f"{target} needs arguments ({error}). Name a function that needs none.") from error
    try:
        made: object = thing()
        return asyncio.run(_awaited(made)) if inspect.isawaitable(made) else made
    except Exception as error:
        raise ConfigurationError(f"{target} could not build its graph: {type(error).__name__}: {error}") from error


async def _awaited(made: Any) -> object:
    return await made
