"""Hooks on LangChain's tools, for calls that no ToolNode makes."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from governor_langgraph import tool_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.tools import BaseTool

__all__ = ["ENTRY_POINTS", "OVERRIDDEN"]

_taken: ContextVar[BaseTool | None] = ContextVar("governor_own_run", default=None)
"""The tool whose class has a `run` of its own, while that runs: what it then asks of its base class is the same call."""


def _run(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: BaseTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        if _taken.get() is self:
            return original(self, tool_input, *args, **kwargs)
        return tool_path.run(self, tool_input, args, kwargs, original)

    return run


def _arun(original: Callable[..., Any]) -> Callable[..., Any]:
    async def arun(self: BaseTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        if _taken.get() is self:
            return await original(self, tool_input, *args, **kwargs)
        return await tool_path.arun(self, tool_input, args, kwargs, original)

    return arun


def _own_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def once(tool: BaseTool, *args: Any, **kwargs: Any) -> Any:
        token = _taken.set(tool)
        try:
            return original(tool, *args, **kwargs)
        finally:
            _taken.reset(token)

    def run(self: BaseTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        return tool_path.run(self, tool_input, args, kwargs, once)

    return run


def _own_arun(original: Callable[..., Any]) -> Callable[..., Any]:
    async def once(tool: BaseTool, *args: Any, **kwargs: Any) -> Any:
        token = _taken.set(tool)
        try:
            return await original(tool, *args, **kwargs)
        finally:
            _taken.reset(token)

    async def arun(self: BaseTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        return await tool_path.arun(self, tool_input, args, kwargs, once)

    return arun


ENTRY_POINTS: Mapping[str, Callable[[Any], Any]] = {"run": _run, "arun": _arun}
"""Methods of the base class by which every tool is run."""
OVERRIDDEN: Mapping[str, Callable[[Any], Any]] = {"run": _own_run, "arun": _own_arun}
"""The same in a class that has its own."""
