"""Threads and tasks that start without a context: the governed step goes with them.

`threading.Thread`, `ThreadPoolExecutor.submit` (and with it `run_in_executor`) and tasks with a context of their own start from nothing, so
that a model call in them would belong to nobody. Only governor's variables are carried over: user code sees the context that it would
see without governor. OpenTelemetry's threading instrumentation replaces the same methods for the same reason.
"""

from __future__ import annotations

import _thread
import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as pool
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from governor_langgraph.context import Held, held, run_var, seated
from governor_langgraph.seats import seat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor_langgraph.context import GovernedStep

__all__ = ["hooks"]


def hooks() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    """What is hooked, and by what."""
    yield threading.Thread, "start", _start
    yield ThreadPoolExecutor, "submit", _submit
    yield _thread, "start_new_thread", _start_new_thread
    yield asyncio.BaseEventLoop, "create_task", _create_task


def _start(original: Callable[..., None]) -> Callable[..., None]:
    def start(self: threading.Thread) -> None:
        if not _serves_many(self) and (current := held()) is not None:
            self.run = partial(_run, self, current, self.run)
        original(self)

    return start


def _serves_many(thread: threading.Thread) -> bool:
    """Whether it is the worker of a pool: that lives on, and what it is given brings its own step."""
    return getattr(thread, "_target", None) is getattr(pool, "_worker", None)


def _run(thread: threading.Thread, current: Held, run: Callable[[], None]) -> None:
    del thread.run  # the instance's own attribute, which would keep the thread alive
    with current:
        run()


def _submit(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if _brings_context(fn):
            step = seated()
            return (
                original(self, fn, *args, **kwargs) if step is None else original(self, _at, step, fn, *args, **kwargs)
            )
        current = held()
        return (
            original(self, fn, *args, **kwargs)
            if current is None
            else original(self, _within, current, fn, *args, **kwargs)
        )

    return submit


def _brings_context(fn: Any) -> bool:
    """Whether a call runs in a copied context, as LangGraph, LangChain and `asyncio.to_thread` do: governor's variables are in it."""
    if isinstance(fn, partial):
        fn = fn.func
    return isinstance(getattr(fn, "__self__", None), Context)


def _within(current: Held, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    with current:
        return fn(*args, **kwargs)


def _at(step: GovernedStep, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The context is the caller's already; code in it that starts an empty one is found by its thread."""
    before = seat(step)
    try:
        return fn(*args, **kwargs)
    finally:
        seat(before)


def _start_new_thread(original: Callable[..., int]) -> Callable[..., int]:
    def start_new_thread(function: Callable[..., Any], args: Any, kwargs: Any = None, /) -> int:
        current = held()
        if current is None:
            return original(function, args, kwargs or {})
        return original(partial(_within, current, function), args, kwargs or {})

    return start_new_thread


def _create_task(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_task(self: Any, coro: Any, **kwargs: Any) -> Any:
        own: Context | None = kwargs.get("context")
        if own is not None and own.get(run_var) is None and (current := held()) is not None:
            try:
                own.run(current.settle_in)
            except RuntimeError:  # it is the one that this very code runs in, and so cannot be entered
                current.settle_in()
        return original(self, coro, **kwargs)

    return create_task
