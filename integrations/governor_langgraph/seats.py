"""Whose node is being run by this thread or task, whatever the context says: for code that runs in an empty context."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from governor_langgraph.context import GovernedStep

__all__ = ["found", "seat"]

_threads = threading.local()
"""`step`: the step whose node this thread is running, for code that runs in an empty context."""
_tasks: WeakKeyDictionary[asyncio.Task[Any], GovernedStep] = WeakKeyDictionary()
"""The same for tasks of an event loop, many of which share a thread."""


def _task() -> asyncio.Task[Any] | None:
    return asyncio.current_task() if asyncio._get_running_loop() is not None else None  # noqa: SLF001 - made for frameworks, does not raise


def found() -> GovernedStep | None:
    """The step whose node is being run right here, whatever the context says."""
    task = _task()
    return getattr(_threads, "step", None) if task is None else _tasks.get(task)


def seat(step: GovernedStep | None) -> GovernedStep | None:
    """Make `step` the one whose node is run here; answers the one before."""
    task = _task()
    if task is None:
        before = getattr(_threads, "step", None)
        _threads.step = step
        return before
    before = _tasks.pop(task, None)
    if step is not None:
        _tasks[task] = step
    return before
