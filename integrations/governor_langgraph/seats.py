"""Whose node is being run by this thread or task, whatever the context says: for code that runs in an empty context."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from governor_langgraph.context import GovernedStep

__all__ = ["found", "seat"]

_threads: dict[int, GovernedStep] = {}
"""By thread, while it runs a node. A dictionary, since agents run each tool in a new thread, and a `threading.local` is set up in each."""
_tasks: WeakKeyDictionary[asyncio.Task[Any], GovernedStep] = WeakKeyDictionary()
"""The same for tasks of an event loop, many of which share a thread."""


def _task() -> asyncio.Task[Any] | None:
    return asyncio.current_task() if asyncio._get_running_loop() is not None else None  # noqa: SLF001 - made for frameworks, does not raise


def found() -> GovernedStep | None:
    """The step whose node is being run right here."""
    task = _task()
    return _threads.get(get_ident()) if task is None else _tasks.get(task)


def seat(step: GovernedStep | None) -> GovernedStep | None:
    """Make `step` the one whose node is run here; answers the one before."""
    task = _task()
    before = _threads.pop(get_ident(), None) if task is None else _tasks.pop(task, None)
    if step is None:
        return before
    if task is None:
        _threads[get_ident()] = step
    else:
        _tasks[task] = step
    return before
