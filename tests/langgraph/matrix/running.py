"""Ways of running a graph. Each runs it to its end and gives how many runs that were."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, get_args

from langchain_core.runnables import RunnableLambda
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import StreamMode

Mode = Callable[[Any, Any], Awaitable[int]]
STREAM_MODES: tuple[str, ...] = get_args(StreamMode)


async def invoke(app: Any, given: Any) -> int:
    app.invoke(given)
    return 1


async def ainvoke(app: Any, given: Any) -> int:
    await app.ainvoke(given)
    return 1


async def stream(app: Any, given: Any, *, mode: str) -> int:
    for _ in app.stream(given, stream_mode=mode, subgraphs=True):
        pass
    return 1


async def astream(app: Any, given: Any, *, mode: str) -> int:
    async for _ in app.astream(given, stream_mode=mode, subgraphs=True):
        pass
    return 1


async def batch(app: Any, given: Any) -> int:
    app.batch([given, given])
    return 2


async def abatch(app: Any, given: Any) -> int:
    await app.abatch([given, given])
    return 2


async def events_v2(app: Any, given: Any) -> int:
    async for _ in app.astream_events(given, version="v2"):
        pass
    return 1


async def events_v3(app: Any, given: Any) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = await app.astream_events(given, version="v3")
        async for _ in opened:
            pass
    return 1


async def sync_events_v3(app: Any, given: Any) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in app.stream_events(given, version="v3"):
            pass
    return 1


async def with_config(app: Any, given: Any) -> int:
    app.with_config(tags=["tagged"]).invoke(given)
    return 1


async def awith_config(app: Any, given: Any) -> int:
    await app.with_config(tags=["tagged"]).ainvoke(given)
    return 1


async def pipe(app: Any, given: Any) -> int:
    (RunnableLambda(lambda x: x) | app | RunnableLambda(lambda x: x)).invoke(given)
    return 1


async def apipe(app: Any, given: Any) -> int:
    await (RunnableLambda(lambda x: x) | app).ainvoke(given)
    return 1


def _parent(app: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("inner", app)
    graph.set_entry_point("inner")
    return graph.compile()


async def ungoverned_parent(app: Any, given: Any) -> int:
    _parent(app).invoke(given)
    return 1


async def aungoverned_parent(app: Any, given: Any) -> int:
    await _parent(app).ainvoke(given)
    return 1


SYNC: dict[str, Mode] = {
    "invoke": invoke,
    **{f"stream {mode}": partial(stream, mode=mode) for mode in STREAM_MODES},
    "batch": batch,
    "stream_events v3": sync_events_v3,
    "with_config": with_config,
    "pipe": pipe,
    "ungoverned parent": ungoverned_parent,
}
ASYNC: dict[str, Mode] = {
    "ainvoke": ainvoke,
    **{f"astream {mode}": partial(astream, mode=mode) for mode in STREAM_MODES},
    "abatch": abatch,
    "astream_events v2": events_v2,
    "astream_events v3": events_v3,
    "with_config async": awith_config,
    "pipe async": apipe,
    "ungoverned parent async": aungoverned_parent,
}
"""Sync graphs run both ways; graphs with async nodes these ways alone."""
