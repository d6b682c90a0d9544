"""The root: opens the run, keeps its context around each step of the stream, and turns a stop into what the policy says.

A governed graph is an instance of a subclass of its own class with that class's name, so `isinstance`, drawings and reprs see no
difference. Everything LangGraph runs goes through `stream` and `astream`: invoke, batch, events v2 and v3, remote streams.
"""

from __future__ import annotations

import functools
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, cast

from governor_langgraph.context import Active
from governor_langgraph.opened import aclear, aend, aopen_run, clear, end, held, open_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["governed_class"]


def _stream(base: type[Any]) -> Callable[..., Iterator[Any]]:
    """`base.stream` inside a governed run."""

    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - Pregel's name
        opened = open_run(self, input, config)
        if opened is None:
            yield from base.stream(self, input, config, **kwargs)
            return
        error: BaseException | None = None
        active = Active(opened.run)
        try:
            clear(self, opened)
            with closing(base.stream(self, opened.given, config, **held(opened, kwargs))) as plain:
                while True:
                    with active:
                        try:
                            chunk = next(plain)
                        except StopIteration:
                            break
                    opened.saw(chunk, kwargs)
                    yield chunk
        except BaseException as raised:  # noqa: BLE001 - `verdict` raises again what is not governor's
            error = raised
        try:
            yield from end(self, opened, error, kwargs)
        finally:
            opened.leave()
            opened.close(error)
            opened.run.governor.report(opened.run)

    return functools.wraps(base.stream)(stream)


def _astream(base: type[Any]) -> Callable[..., AsyncIterator[Any]]:
    """The async twin of `_stream`."""

    async def astream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002 - same
        opened = await aopen_run(self, input, config)
        if opened is None:
            async with aclosing(base.astream(self, input, config, **kwargs)) as plain:
                async for chunk in plain:
                    yield chunk
            return
        error: BaseException | None = None
        active = Active(opened.run)
        try:
            await aclear(self, opened)
            async with aclosing(base.astream(self, opened.given, config, **held(opened, kwargs))) as plain:
                while True:
                    with active:
                        try:
                            chunk = await anext(plain)
                        except StopAsyncIteration:
                            break
                    opened.saw(chunk, kwargs)
                    yield chunk
        except BaseException as raised:  # noqa: BLE001 - as in stream
            error = raised
        try:
            async with aclosing(cast("Any", aend(self, opened, error, kwargs))) as last:
                async for chunk in last:
                    yield chunk
        finally:
            await opened.aleave()
            opened.close(error)
            await opened.run.governor.areport(opened.run)

    return functools.wraps(base.astream)(astream)


@functools.cache
def governed_class(base: type[Any]) -> type[Any]:
    """The subclass that governs graphs of class `base`; one per class, with the same name, module and signatures.

    It has the one base and no attributes of its own, or Python would not let an instance change over to it.
    """
    if getattr(base, "_governs", False):
        return base
    members = {"__module__": base.__module__, "__doc__": base.__doc__, "_governs": True}
    cls = type(base.__name__, (base,), {**members, "stream": _stream(base), "astream": _astream(base)})
    cls.__qualname__ = base.__qualname__
    return cls
