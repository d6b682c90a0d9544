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
from langchain_core.tracers.context import register_configure_hook

from governor_langgraph import calling, tool_path
from governor_langgraph.context import current_step, model_taken, model_vouched, second_line
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
_registered: list[object] = []
"""LangChain has no way to take a configure hook back; once is enough, since it does nothing while its variable is unset."""


def install() -> None:
    """Put the hooks in place. Does nothing when they are."""
    with _lock:
        if _installed:
            return
        if not _registered:
            register_configure_hook(second_line, inheritable=False)
            _registered.append(second_line)
        for cls, name, hook in _HOOKS:
            original = getattr(cls, name, None)
            if original is None:
                continue  # older releases have no events of the third version
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
    """The step whose policy a call of `model` made right here goes through; None when there is none, or the call is taken already."""
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
        input: Any,  # noqa: A002 - LangChain's name
        config: Any = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
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
        input: Any,  # noqa: A002 - LangChain's name
        config: Any = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        step = _model_step(self)
        if step is None or not _streams(self, kwargs, asynchronous=True):
            return original(self, input, config, stop=stop, **kwargs)

        def call(out: Outgoing) -> AsyncIterator[AIMessageChunk]:
            return original(out.model, out.messages, config, stop=stop, **out.kwargs)

        return calling.astream(step, self, _messages(self, input), kwargs, call)

    return astream


def _events(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def _iter_v2_events(
        self: BaseChatModel,
        messages: list[BaseMessage],
        *,
        run_manager: Any,
        stream: Any,
        stop: Any = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        step = _model_step(self)
        if step is None:
            return original(self, messages, run_manager=run_manager, stream=stream, stop=stop, **kwargs)

        def call(out: Outgoing) -> Iterator[Any]:
            return original(out.model, out.messages, run_manager=run_manager, stream=stream, stop=stop, **out.kwargs)

        return calling.finished_first(
            calling.stream(step, self, messages, kwargs, call, answer=lambda: stream.output_message)
        )

    return _iter_v2_events


def _aevents(original: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    def _aiter_v2_events(
        self: BaseChatModel,
        messages: list[BaseMessage],
        *,
        run_manager: Any,
        stream: Any,
        stop: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        step = _model_step(self)
        if step is None:
            return original(self, messages, run_manager=run_manager, stream=stream, stop=stop, **kwargs)

        own = calling.accumulator(stream)

        def call(out: Outgoing) -> AsyncIterator[Any]:
            return original(out.model, out.messages, run_manager=run_manager, stream=own, stop=stop, **out.kwargs)

        events = calling.astream(step, self, messages, kwargs, call, answer=lambda: own.output_message)
        return calling.afinished_first(events, stream)

    return _aiter_v2_events


def _stream_v3(original: Callable[..., Any]) -> Callable[..., Any]:
    """Events of the third version: the call itself is governed in `_iter_v2_events`, so its start may pass the second line."""

    def _chat_model_stream_v3(self: BaseChatModel, *args: Any, **kwargs: Any) -> Any:
        opened = original(self, *args, **kwargs)
        start = opened._ensure_started  # noqa: SLF001 - set by `set_start`, which has no getter

        def vouched() -> None:
            token = model_vouched.set(True)
            try:
                start()
            finally:
                model_vouched.reset(token)

        opened.set_start(vouched)
        return opened

    return _chat_model_stream_v3


def _astream_v3(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _achat_model_stream_v3(self: BaseChatModel, *args: Any, **kwargs: Any) -> Any:
        opened = await original(self, *args, **kwargs)
        start = opened._ensure_started  # noqa: SLF001 - same

        async def vouched() -> None:
            token = model_vouched.set(True)
            try:
                await start()
            finally:
                model_vouched.reset(token)

        opened.set_start(vouched)
        return opened

    return _achat_model_stream_v3


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
    (BaseChatModel, "_iter_v2_events", _events),
    (BaseChatModel, "_aiter_v2_events", _aevents),
    (BaseChatModel, "_chat_model_stream_v3", _stream_v3),
    (BaseChatModel, "_achat_model_stream_v3", _astream_v3),
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
