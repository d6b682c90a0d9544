"""The ways of running a graph, each giving the results in a comparable form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.messages import BaseMessage


def plain(value: Any) -> Any:
    """A result without ids, which differ from run to run."""
    if isinstance(value, BaseMessage):
        return (value.type, value.content, getattr(value, "tool_calls", None), getattr(value, "usage_metadata", None))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


async def invoke(app: Any, given: Any, config: Any) -> Any:
    return [plain(app.invoke(given, config))]


async def stream(app: Any, given: Any, config: Any) -> Any:
    return [plain(chunk) for chunk in app.stream(given, config, stream_mode=["values", "updates"])]


async def batch(app: Any, given: Any, config: Any) -> Any:
    return plain(app.batch([given, given], config))


async def ainvoke(app: Any, given: Any, config: Any) -> Any:
    return [plain(await app.ainvoke(given, config))]


async def astream(app: Any, given: Any, config: Any) -> Any:
    return [plain(chunk) async for chunk in app.astream(given, config, stream_mode=["values", "updates"])]


async def abatch(app: Any, given: Any, config: Any) -> Any:
    return plain(await app.abatch([given, given], config))


Mode = Callable[[Any, Any, Any], Awaitable[Any]]
SYNC_MODES: dict[str, Mode] = {mode.__name__: mode for mode in (invoke, stream, batch)}
ASYNC_MODES: dict[str, Mode] = {mode.__name__: mode for mode in (ainvoke, astream, abatch)}
ALL_MODES: dict[str, Mode] = {**SYNC_MODES, **ASYNC_MODES}
