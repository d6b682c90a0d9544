"""Ways of running one cell of a probe, and the graph in which what is no root is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models.llms import BaseLLM
from langgraph.constants import START
from langgraph.graph import StateGraph

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langgraph.graph.state import CompiledStateGraph

__all__ = ["CANNOT_RUN", "HOST", "MODEL_CALLS", "RUNS", "STOPPED", "TOOL_CALLS", "Way", "host"]

HOST = "governor_probe"
"""The node that stands for node code of the user's."""
STOPPED = "probe.stopped"
"""Code of the reason for which the probe stops a run."""
CANNOT_RUN = "it has an async function only"


class Way:
    """One way of running something: a function, sync or async, of what is run and what it is given."""

    def __init__(
        self,
        sync: Callable[[Any, Any], object] | None = None,
        *,
        run_async: Callable[[Any, Any], Awaitable[object]] | None = None,
    ) -> None:
        """One of the two."""
        self.sync = sync
        self.run_async = run_async

    @property
    def asynchronous(self) -> bool:
        """Whether it needs an event loop."""
        return self.sync is None


async def _drained(chunks: Any) -> None:
    async for _ in chunks:
        pass


async def _events_v3(app: Any, given: Any) -> None:
    await _drained(await app.astream_events(given, version="v3"))


RUNS: dict[str, Way] = {
    "invoke": Way(lambda app, given: app.invoke(given)),
    "ainvoke": Way(run_async=lambda app, given: app.ainvoke(given)),
    "stream": Way(lambda app, given: list(app.stream(given))),
    "astream": Way(run_async=lambda app, given: _drained(app.astream(given))),
    "batch": Way(lambda app, given: app.batch([given, given])),
    "abatch": Way(run_async=lambda app, given: app.abatch([given, given])),
    "astream_events v2": Way(run_async=lambda app, given: _drained(app.astream_events(given, version="v2"))),
    "astream_events v3": Way(run_async=_events_v3),
    "stream_events v3": Way(lambda app, given: list(app.stream_events(given, version="v3"))),
}
"""Ways of running a graph."""
TOOL_CALLS: dict[str, Way] = {
    "tool.invoke": Way(lambda tool, given: tool.invoke(given)),
    "tool.ainvoke": Way(run_async=lambda tool, given: tool.ainvoke(given)),
    "tool.run": Way(lambda tool, given: tool.run(given)),
    "tool.arun": Way(run_async=lambda tool, given: tool.arun(given)),
}
"""Ways in which node code calls a tool."""
_CALLS: dict[str, Way] = {
    "invoke": Way(lambda model, given: model.invoke(given)),
    "ainvoke": Way(run_async=lambda model, given: model.ainvoke(given)),
    "stream": Way(lambda model, given: list(model.stream(given))),
    "astream": Way(run_async=lambda model, given: _drained(model.astream(given))),
    "batch": Way(lambda model, given: model.batch([given])),
    "abatch": Way(run_async=lambda model, given: model.abatch([given])),
    "generate": Way(lambda model, given: model.generate([given])),
    "agenerate": Way(run_async=lambda model, given: model.agenerate([given])),
}
MODEL_CALLS: dict[str, Way] = {
    **_CALLS,
    "_generate": Way(lambda model, given: model._generate(_prompts(model, given))),  # noqa: SLF001 - as node code might
    "_agenerate": Way(run_async=lambda model, given: model._agenerate(_prompts(model, given))),  # noqa: SLF001 - same
    "_stream": Way(lambda model, given: list(model._stream(given))),  # noqa: SLF001 - same
    "_astream": Way(run_async=lambda model, given: _drained(model._astream(given))),  # noqa: SLF001 - same
}
"""Ways in which node code calls a model, down to the methods that reach the provider."""


def _prompts(model: Any, given: Any) -> Any:
    """A completion model is given several prompts at once, a chat model one conversation."""
    return [given] if isinstance(model, BaseLLM) else given


def host(
    way: Way, thing: Any, given: Any, before: Callable[[], object], raised: Callable[[Exception], object]
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A graph with one node, in which `thing` is run; `before` comes first, and `raised` is told of what it raises."""

    def node(state: dict[str, Any]) -> dict[str, Any]:
        del state
        before()
        try:
            if way.sync is not None:
                way.sync(thing, given)
        except Exception as error:
            raised(error)
            raise
        return {}

    async def anode(state: dict[str, Any]) -> dict[str, Any]:
        del state
        before()
        try:
            if way.run_async is not None:
                await way.run_async(thing, given)
        except Exception as error:
            raised(error)
            raise
        return {}

    graph: Any = StateGraph(cast("Any", dict))
    graph.add_node(HOST, anode if way.asynchronous else node)
    graph.add_edge(START, HOST)
    return graph.compile(name=HOST)
