"""`@governed`: a policy on the function that builds a graph, or on an `@entrypoint`."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

from governor.errors import ConfigurationError
from governor_langgraph.governing import Governor, ready
from governor_langgraph.graph import govern

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from os import PathLike

    from langchain_core.language_models import BaseChatModel
    from langgraph.typing import ContextT, InputT, OutputT, StateT

    from governor.policy.load import LoadedPolicy
    from governor.runtime import Runtime
    from governor.stores.contract import Store
    from governor_langgraph.stops import RunReport

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
        self, target: Callable[P, StateGraph[StateT, ContextT, InputT, OutputT]], /
    ) -> Callable[P, CompiledStateGraph[StateT, ContextT, InputT, OutputT]]: ...


def governed(
    policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
    *,
    store: Store | None = None,
    runtime: Runtime | None = None,
    on_report: Callable[[RunReport], None] | None = None,
    clients: Mapping[str, BaseChatModel] | None = None,
) -> _Governing:
    """Govern what the decorated function builds; above `@entrypoint(...)`, the workflow itself.

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
        if inspect.iscoroutinefunction(target):

            async def abuild(*args: Any, **kwargs: Any) -> Any:
                return apply(await target(*args, **kwargs))

            return functools.wraps(target)(abuild)

        def build(*args: Any, **kwargs: Any) -> Any:
            return apply(target(*args, **kwargs))

        return functools.wraps(target)(build)

    return cast("_Governing", decorate)
