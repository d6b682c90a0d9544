"""Class-level hooks on LangChain's chat models and tools: how calls inside node code are reached.

Inert outside of governed runs: the first thing each does is to look at a context variable. Installed by the first `govern`; other
instrumentations of the same methods may come before or after.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from governor_langgraph import calling, tool_path
from governor_langgraph.context import current_step, model_taken
from governor_langgraph.wrapper_marker import governs_itself

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from langchain_core.messages import AIMessageChunk, BaseMessage
    from langchain_core.outputs import LLMResult

    from governor_langgraph.context import GovernedStep
    from governor_langgraph.model_path import Outgoing

__all__ = ["install", "installed", "uninstall"]

_lock = threading.Lock()
_installed: dict[tuple[type[Any], str], tuple[Callable[..., Any], Callable[..., Any]]] = {}
"""(class, method) to the original and to what replaced it."""


def install() -> None:
    """Put the hooks in place. Does nothing when they are."""
    with _lock:
        if _installed:
            return
        for cls, name, hook in _HOOKS:
            original = getattr(cls, name)
            replacement = functools.wraps(original)(hook(original))
            _installed[cls, name] = (original, replacement)
            setattr(cls, name, replacement)


def uninstall() -> None:
    """Take the hooks out again. One that another instrumentation has wrapped meanwhile stays, inert, where it is."""
    with _lock:
        for (cls, name), (original, replacement) in _installed.items():
            if cls.__dict__.get(name) is replacement:
                setattr(cls, name, original)
        _installed.clear()


def installed() -> bool:
    """Whether the hooks are in place."""
    return bool(_installed)


def _model_step(model: BaseChatModel) -> GovernedStep | None:
    """The step whose policy a call of `model` made right here goes through; None to call as ever."""
    if model_taken.get() or governs_itself(model):
        return None
    return current_step()


def _generate(original: Callable[..., LLMResult]) -> Callable[..., LLMResult]:
    def generate(
        self: BaseChatModel,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        run_id: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        step = _model_step(self)
        if step is None or not messages:
            return original(self, messages, stop, callbacks, run_id=run_id, **kwargs)
        about, arguments = _split(kwargs)
        streaming = calling.streams_to_a_reader(self, callbacks, arguments)

        def one(each: Sequence[BaseMessage], position: int) -> LLMResult:
            def call(out: Outgoing) -> LLMResult:
                identity = run_id if position == 0 else None
                return original(out.model, [out.messages], stop, callbacks, run_id=identity, **about, **out.kwargs)

            return calling.generate(step, self, each, arguments, call, streaming=streaming)

        return calling.generate_all(messages, one, self)

    return generate


def _agenerate(original: Callable[..., Any]) -> Callable[..., Any]:
    async def agenerate(
        self: BaseChatModel,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        run_id: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        step = _model_step(self)
        if step is None or not messages:
            return await original(self, messages, stop, callbacks, run_id=run_id, **kwargs)
        about, arguments = _split(kwargs)
        streaming = calling.streams_to_a_reader(self, callbacks, arguments)

        async def one(each: Sequence[BaseMessage], position: int) -> LLMResult:
            async def call(out: Outgoing) -> LLMResult:
                identity = run_id if position == 0 else None
                return await original(
                    out.model, [out.messages], stop, callbacks, run_id=identity, **about, **out.kwargs
                )

            return await calling.agenerate(step, self, each, arguments, call, streaming=streaming)

        if len(messages) == 1:
            return await one(messages[0], 0)
        return await calling.agenerate_all(messages, one, self)

    return agenerate


def _stream(original: Callable[..., Iterator[AIMessageChunk]]) -> Callable[..., Iterator[AIMessageChunk]]:
    def stream(
        self: BaseChatModel,
        input: Any,
        config: Any = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,  # noqa: A002 - LangChain's name
    ) -> Iterator[AIMessageChunk]:
        step = _model_step(self)
        if step is None or not _streams(self, kwargs, asynchronous=False):
            return original(
                self, input, config, stop=stop, **kwargs
            )  # without streaming it falls into generate, governed there

        def call(out: Outgoing) -> Iterator[AIMessageChunk]:
            return original(out.model, out.messages, config, stop=stop, **out.kwargs)

        return calling.stream(step, self, _messages(self, input), kwargs, call)

    return stream


def _astream(original: Callable[..., AsyncIterator[AIMessageChunk]]) -> Callable[..., AsyncIterator[AIMessageChunk]]:
    def astream(
        self: BaseChatModel,
        input: Any,
        config: Any = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,  # noqa: A002 - same
    ) -> AsyncIterator[AIMessageChunk]:
        step = _model_step(self)
        if step is None or not _streams(self, kwargs, asynchronous=True):
            return original(self, input, config, stop=stop, **kwargs)

        def call(out: Outgoing) -> AsyncIterator[AIMessageChunk]:
            return original(out.model, out.messages, config, stop=stop, **out.kwargs)

        return calling.astream(step, self, _messages(self, input), kwargs, call)

    return astream


def _run(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: BaseTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        return tool_path.run(self, tool_input, args, kwargs, original)

    return run


def _arun(original: Callable[..., Any]) -> Callable[..., Any]:
    async def arun(self: BaseTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        return await tool_path.arun(self, tool_input, args, kwargs, original)

    return arun


_HOOKS: tuple[tuple[type[Any], str, Callable[[Any], Any]], ...] = (
    (BaseChatModel, "generate", _generate),
    (BaseChatModel, "agenerate", _agenerate),
    (BaseChatModel, "stream", _stream),
    (BaseChatModel, "astream", _astream),
    (BaseTool, "run", _run),
    (BaseTool, "arun", _arun),
)

_ABOUT = ("tags", "metadata", "run_name")
"""Arguments of `generate` about the trace; all others go to the provider."""


def _split(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    about = {name: value for name, value in kwargs.items() if name in _ABOUT}
    return about, {name: value for name, value in kwargs.items() if name not in _ABOUT}


def _streams(model: BaseChatModel, kwargs: dict[str, Any], *, asynchronous: bool) -> bool:
    return cast("Any", model)._should_stream(async_api=asynchronous, **{**kwargs, "stream": True})  # noqa: SLF001 - as `stream` asks


def _messages(model: BaseChatModel, given: Any) -> list[BaseMessage]:
    return cast("Any", model)._convert_input(given).to_messages()  # noqa: SLF001 - as `stream` converts
