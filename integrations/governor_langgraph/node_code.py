"""What node code mentions, read without running it: `Send`, `Command(goto=...)`, tasks, loops."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

from langchain_core.runnables import RunnableLambda, RunnableSequence
from langgraph.types import Command, Send

from governor_langgraph.langgraph_internals import RunnableCallable, RunnableSeq, TaskFunction

__all__ = ["Mentions", "functions_of", "mentions"]

_MOST = 200
"""Functions read for one node: its own and those that it names."""
_CALLS = {
    each + name
    for name in ("invoke", "stream", "batch", "generate", "predict", "call", "stream_events", "generate_prompt")
    for each in ("", "a", "_", "_a")
}
"""Ways of calling a model, its private ones included."""
_LIBRARIES = sys.stdlib_module_names | {
    "langchain",
    "langchain_core",
    "langgraph",
    "langgraph_supervisor",
    "langgraph_swarm",
    "pydantic",
}


@dataclass(slots=True)
class Mentions:
    """What was found in a node's code and in the code that it names."""

    sends: bool = False
    """`Send`: any number of branches."""
    alone: bool = False
    """The library sends each tool call by itself."""
    goto: bool = False
    """`Command(goto=...)` within the graph."""
    leaves: bool = False
    """The same, to the graph around it."""
    calls: bool = False
    """A name by which models are called: `invoke`, `stream` and the like."""
    sends_out: bool = False
    """`Send` to the graph around it."""
    tasks: int = 0
    """Places in which a task is named."""
    loops: bool = False
    """A loop in code that names a task: any number of them."""


def mentions(start: object) -> Mentions:
    """What the code of a runnable, a function or a tool mentions."""
    found, waiting, seen = Mentions(), list(functions_of(start)), set[int]()
    first = {id(each) for each in waiting}
    while waiting and len(seen) < _MOST:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        own = id(function) in first
        if own or not _is_library(function):
            _note(function, found)
            waiting += [each for value in _named(function) if not _is(value, type) for each in functions_of(value)]
    return found


def functions_of(thing: object) -> Iterator[FunctionType]:
    """The functions that run when this does."""
    if isinstance(thing, FunctionType):
        yield cast("FunctionType", getattr(thing, "__wrapped__", thing))
    elif isinstance(thing, MethodType):
        yield from functions_of(thing.__func__)
    elif isinstance(thing, partial):
        part = cast("partial[Any]", thing)
        yield from functions_of(part.func)
    elif isinstance(thing, (RunnableCallable, RunnableLambda, TaskFunction)):
        for name in ("func", "afunc"):
            inner = getattr(thing, name, None)
            if inner is not None:
                yield from functions_of(inner)
    elif isinstance(thing, (RunnableSequence, RunnableSeq)):
        for step in cast("Any", thing).steps:
            yield from functions_of(step)
    else:
        called = vars(type(thing)).get("__call__")
        if isinstance(called, FunctionType) and not _is_library(called):
            yield called


def _note(function: FunctionType, found: Mentions) -> None:
    code, library = function.__code__, _is_library(function)
    values = list(_named(function))
    names = {name for each in _codes(code) for name in each.co_names}
    if any(value is Send for value in values):
        found.sends = True
        found.alone = found.alone or (library and _one_call_each(function))
    if any(value is Command for value in values) and _says_goto(code):
        if "PARENT" in names:
            found.leaves = True
        elif not library:  # the library declares where its own nodes lead
            found.goto = True
    found.calls = found.calls or not names.isdisjoint(_CALLS)
    tasks = [value for value in values if isinstance(value, TaskFunction)]
    if tasks:
        found.tasks += _places(function)
        found.loops = found.loops or _has_loop(code)


def _one_call_each(function: FunctionType) -> bool:
    """`create_agent` always does; `create_react_agent` in its second version only."""
    free = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    return "version" not in free or free["version"].cell_contents != "v1"


def _says_goto(code: CodeType) -> bool:
    """Names of keyword arguments are constants of a call."""
    return any(
        constant == "goto" or (isinstance(constant, tuple) and "goto" in constant)
        for each in _codes(code)
        for constant in each.co_consts
    )


def _named(function: FunctionType) -> Iterator[object]:
    """What a function's code finds under the names that it uses: globals, what it closes over, defaults."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    known = function.__globals__
    yield from (known[name] for name in sorted(names) if name in known)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue  # a name that is not bound yet


def _places(function: FunctionType) -> int:
    """How often the code loads a task."""
    known, free = (
        function.__globals__,
        dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)),
    )
    count = 0
    for code in _codes(function.__code__):
        for step in dis.get_instructions(code):
            value = None
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                value = known.get(step.argval)
            elif step.opname == "LOAD_DEREF" and step.argval in free:
                value = _content(free[step.argval])
            count += isinstance(value, TaskFunction)
    return count


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _has_loop(code: CodeType) -> bool:
    """A jump back, or code inside of code (a comprehension, a function that may be called in turn)."""
    return any("JUMP_BACKWARD" in step.opname for each in _codes(code) for step in dis.get_instructions(each))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is(value: object, cls: type[Any]) -> bool:
    return issubclass(type(value), cls)


def _is_library(function: FunctionType) -> bool:
    return str(function.__module__ or "").partition(".")[0] in _LIBRARIES
