"""`@governed`: a policy on the function that builds a graph, or on an `@entrypoint`."""

from __future__ import annotations

import functools
import inspect
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

from governor.errors import ConfigurationError
from governor_langgraph.governing import Governor, ready
from governor_langgraph.graph import govern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from os import PathLike

    from langchain_core.language_models import BaseChatModel
    from langgraph.typing import ContextT, InputT, OutputT, StateT

    from governor.policy.load import LoadedPolicy
    from governor.report import GovernorReport
    from governor.runtime import Runtime
    from governor.stores.contract import Store

__all__ = ["governed"]

P = ParamSpec("P")
GraphT = TypeVar("GraphT", bound=Pregel[Any, Any, Any, Any])


class _Governing(Protocol):
    """What `governed(policy)` is: a decorator that keeps the type of what it decorates."""

    @overload
    def __call__(self, target: GraphT, /) -> GraphT: ...
    @overload
    def __call__(self, target: Callable[P, GraphT], /) -> Callable[P, GraphT]: ...
    @overload
    def __call__(self, target: Callable[P, Awaitable[GraphT]], /) -> Callable[P, Awaitable[GraphT]]: ...
    @overload
    def __call__(
        self, target: Callable[P, AbstractContextManager[GraphT]], /
    ) -> Callable[P, AbstractContextManager[GraphT]]: ...
    @overload
    def __call__(
        self, target: Callable[P, AbstractAsyncContextManager[GraphT]], /
    ) -> Callable[P, AbstractAsyncContextManager[GraphT]]: ...
    @overload
    def __call__(
        self, target: Callable[P, StateGraph[StateT, ContextT, InputT, OutputT]], /
    ) -> Callable[P, CompiledStateGraph[StateT, ContextT, InputT, OutputT]]: ...


def governed(
    policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
    *,
    store: Store | str | None = None,
    runtime: Runtime | None = None,
    on_report: Callable[[GovernorReport], None] | None = None,
    clients: Mapping[str, BaseChatModel] | None = None,
) -> _Governing:
    """Govern what the decorated function builds; above `@entrypoint(...)`, the workflow itself.

    The function may be async, an object that can be called, or a factory under `@contextmanager` or `@asynccontextmanager`. A bare
    generator function raises ConfigurationError.

    Graphs built by one decorated function share a governor, and with it their ledgers. Arguments as for `govern`.
    """
    lock = threading.Lock()
    made: list[Governor] = []

    def apply(graph: Any) -> Any:
        if not isinstance(graph, (Pregel, StateGraph)):
            message = (
                f"@governed is on a function that returned {type(graph).__qualname__}, not a graph. Put it on the function that "
                "builds the graph, and above @entrypoint, not below it."
            )
            raise ConfigurationError(message)
        with lock:
            if not made:
                name = cast("Any", graph).get_name() if isinstance(graph, Pregel) else "graph"
                options = {"store": store, "runtime": runtime, "on_report": on_report, "clients": clients}
                made.append(ready(policy, name=name or "graph", **cast("Any", options)))
        return govern(cast("Any", graph), made[0])

    def decorate(target: Any) -> Any:
        if isinstance(target, (Pregel, StateGraph)):
            return apply(target)
        if not callable(target):
            message = f"@governed was given {type(target).__qualname__}: it goes on a function that builds a graph, or on a graph."
            raise ConfigurationError(message)
        return _building(target, apply)

    return cast("_Governing", decorate)


def _building(target: Callable[..., Any], apply: Callable[[Any], Any]) -> Callable[..., Any]:
    """`target` under its own name and signature, with what it makes governed. Raises ConfigurationError when it yields."""
    if _is(target, inspect.isgeneratorfunction) or _is(target, inspect.isasyncgenfunction):
        raise ConfigurationError(_yields(target))
    if _is(target, inspect.iscoroutinefunction):

        async def abuild(*args: Any, **kwargs: Any) -> Any:
            return _made(await target(*args, **kwargs), apply)

        return functools.wraps(target)(abuild)

    def build(*args: Any, **kwargs: Any) -> Any:
        return _made(target(*args, **kwargs), apply)

    return functools.wraps(target)(build)


def _made(thing: Any, apply: Callable[[Any], Any]) -> Any:
    """What a factory made, governed: a graph, or what gives one when it is awaited or entered, as LangGraph's server lets factories do."""
    if isinstance(thing, (Pregel, StateGraph)):
        return apply(cast("Any", thing))
    if hasattr(thing, "__aenter__"):
        return _aentered(thing, apply)
    if hasattr(thing, "__enter__"):
        return _entered(thing, apply)
    if inspect.isawaitable(thing):
        return _awaited(thing, apply)
    return apply(thing)  # which says what is wrong with it


async def _awaited(thing: Awaitable[Any], apply: Callable[[Any], Any]) -> Any:
    return _made(await thing, apply)


@contextmanager
def _entered(thing: AbstractContextManager[Any], apply: Callable[[Any], Any]) -> Iterator[Any]:
    with thing as graph:
        yield apply(graph)


@asynccontextmanager
async def _aentered(thing: AbstractAsyncContextManager[Any], apply: Callable[[Any], Any]) -> AsyncIterator[Any]:
    async with thing as graph:
        yield apply(graph)


def _is(target: Any, kind: Callable[[Any], bool]) -> bool:
    """Whether a function, or what is called when an object is called, is of a kind."""
    return kind(target) or (not isinstance(target, type) and kind(target.__call__))


def _yields(target: Any) -> str:
    name = getattr(target, "__qualname__", type(target).__qualname__)
    manager = "@asynccontextmanager" if _is(target, inspect.isasyncgenfunction) else "@contextmanager"
    return (
        f"@governed is on {name}, which yields. Put {manager} from contextlib between the two, or return the graph, so that it is clear "
        "when the graph is made and when what it needs is closed."
    )
