"""The root: opens the run, keeps its context around each step of the stream, and turns a stop into what the policy says.

A governed graph is an instance of a subclass of its own class with that class's name, so `isinstance`, drawings and reprs see no
difference. Everything LangGraph runs goes through `stream` and `astream`: invoke, batch, events v2 and v3, remote streams.
"""

from __future__ import annotations

import functools
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langgraph._internal._config import ensure_config
from langgraph.errors import GraphBubbleUp, GraphDrained
from langgraph.pregel import Pregel
from langgraph.types import Command

from governor.errors import RunStopped
from governor_langgraph.context import Active, current_step, run_var, within
from governor_langgraph.nodes import GovernedPregelNode
from governor_langgraph.stops import GovernorStop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from governor.decisions import Reason
    from governor_langgraph.context import GovernedRun
    from governor_langgraph.governing import Governor

__all__ = ["governed_class", "governor_of"]


def governor_of(graph: Pregel[Any, Any, Any, Any]) -> Governor | None:
    """The governor of a graph. Kept on its nodes, which `copy`, `with_config` and LangGraph's servers carry along."""
    return next((node.governor for node in graph.nodes.values() if isinstance(node, GovernedPregelNode)), None)


@dataclass(slots=True, kw_only=True)
class _Opened:
    """A run that this invocation began, and what is needed to end it."""

    run: GovernedRun
    graph: Pregel[Any, Any, Any, Any]
    config: Any
    nested: bool
    watches: bool
    """Whether a stop needs the values that passed: its exception carries them, and no checkpoint holds them."""
    values: object = None
    """The state's latest values as streamed, for a partial result without a checkpointer."""

    def saw(self, chunk: object, kwargs: Mapping[str, Any]) -> None:
        """Remember the values that pass, whatever shape the caller's stream arguments give the chunks."""
        if not self.watches:
            return
        modes = kwargs.get("stream_mode") or self.graph.stream_mode
        if isinstance(chunk, dict) and kwargs.get("version") == "v2":
            part = cast("dict[str, Any]", chunk)
            if part.get("type") == "values" and not part.get("ns"):
                self.values = part.get("data")
            return
        ns: object = ()
        if kwargs.get("subgraphs") and isinstance(chunk, tuple):
            ns, *rest = cast("tuple[Any, ...]", chunk)
            chunk = tuple(rest) if len(rest) > 1 else rest[0]
        if not isinstance(modes, str) and isinstance(chunk, tuple):
            modes, chunk = cast("tuple[str, Any]", chunk)
        if modes == "values" and not ns:
            self.values = chunk

    def verdict(self, error: BaseException | None) -> RunStopped | None:
        """What the caller gets for how the stream ended: None swallows a stop, an exception replaces it.

        Raises `error` again when it is not this run's to decide.
        """
        reason = self._mine(error)
        if reason is None and self.run.passing is not None and (error is None or isinstance(error, GraphDrained)):
            raise self.run.passing
        if reason is None or self.nested:
            if isinstance(error, GraphDrained) and reason is not None:
                raise GovernorStop(reason, self.run) from error  # whoever is around it cannot tell whose drain it was
            if error is not None:
                raise error
            return None
        if self.run.governor.policy.policy.on_exhausted == "stop":
            return RunStopped(reason, policy_hash=self.run.ref.policy_hash)
        return None

    def _mine(self, error: BaseException | None) -> Reason | None:
        if isinstance(error, GovernorStop):
            return error.reason if error.run is self.run else None
        if error is None or isinstance(error, GraphDrained):
            return self.run.stopped  # a drain that governor did not ask for passes unchanged
        return None

    def close(self, error: BaseException | None) -> None:
        """End the run's span."""
        self.run.governor.runtime.telemetry.end(
            self.run.span, error, expected=isinstance(error, (GraphBubbleUp, GeneratorExit))
        )


def _open(graph: Pregel[Any, Any, Any, Any], given: Any, config: Any) -> _Opened | None:
    """Begin a run, unless this graph runs inside one that its governor covers already."""
    governor = governor_of(graph)
    current = run_var.get()
    if governor is None or (current is not None and current.covers(governor)):
        return None
    merged = cast("Mapping[str, Any]", ensure_config(graph.config, config))
    conf = within(merged)
    nested = "__pregel_task_id" in conf
    resume = given is None or (isinstance(given, Command) and cast("Any", given).resume is not None)
    resume = resume or bool(conf.get("__pregel_resuming"))
    run = governor.open(merged, resume=resume, nested=nested, outer=current_step())
    stateless = not cast("Any", graph).checkpointer or within(config).get("thread_id") is None
    watches = stateless and governor.policy.policy.on_exhausted == "stop"
    return _Opened(run=run, graph=graph, config=config, nested=nested, watches=watches)


def _stream(base: type[Any]) -> Callable[..., Iterator[Any]]:
    """`base.stream` inside a governed run."""

    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - Pregel's name
        plain = base.stream(self, input, config, **kwargs)
        opened = _open(self, input, config)
        if opened is None:
            yield from plain
            return
        error: BaseException | None = None
        active = Active(opened.run)
        try:
            with closing(plain):
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
            refused = opened.verdict(error)
            if refused is not None:
                refused.partial = opened.values if opened.watches else self.get_state(config).values
                raise refused
        finally:
            opened.close(error)
            opened.run.governor.report(opened.run)

    return functools.wraps(base.stream)(stream)


def _astream(base: type[Any]) -> Callable[..., AsyncIterator[Any]]:
    """The async twin of `_stream`."""

    async def astream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002 - same
        plain = base.astream(self, input, config, **kwargs)
        opened = _open(self, input, config)
        if opened is None:
            async with aclosing(plain):
                async for chunk in plain:
                    yield chunk
            return
        error: BaseException | None = None
        active = Active(opened.run)
        try:
            async with aclosing(plain):
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
            refused = opened.verdict(error)
            if refused is not None:
                refused.partial = opened.values if opened.watches else (await self.aget_state(config)).values
                raise refused
        finally:
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
