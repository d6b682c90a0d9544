"""Hooks on LangChain's chat models: each public way of calling one, taken through the path when a governed step is the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel

from governor_langgraph import calling
from governor_langgraph.context import current_step, model_taken, model_vouched
from governor_langgraph.langgraph_internals import messages_given, starter, streams
from governor_langgraph.wrapper_marker import governs_itself

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from langchain_core.messages import AIMessageChunk, BaseMessage
    from langchain_core.outputs import LLMResult

    from governor_langgraph.context import GovernedStep
    from governor_langgraph.model_path import Outgoing

__all__ = ["ENTRY_POINTS", "EVENTS", "client_method", "model_step"]


def model_step(model: BaseChatModel) -> GovernedStep | None:
    """The step whose policy a call of `model` made right here goes through; None when there is none, or the call is taken already."""
    if model_taken.get() or governs_itself(model):
        return None
    return current_step()


def client_method(asked: object, client: object, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """How `client` does what `asked` was asked for: a tier's client of another class has its own way."""
    return original if type(client) is type(asked) else getattr(type(client), name)


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
        step = model_step(self)
        if step is None or not messages:
            return original(self, messages, stop, callbacks, run_id=run_id, **kwargs)
        about, arguments = _split(kwargs)
        streaming = calling.streams_to_a_reader(self, callbacks, arguments)

        def one(each: Sequence[BaseMessage], position: int) -> LLMResult:
            def call(out: Outgoing) -> LLMResult:
                identity = run_id if position == 0 else None
                made = client_method(self, out.model, "generate", original)
                return made(out.model, [out.messages], stop, callbacks, run_id=identity, **about, **out.kwargs)

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
        step = model_step(self)
        if step is None or not messages:
            return await original(self, messages, stop, callbacks, run_id=run_id, **kwargs)
        about, arguments = _split(kwargs)
        streaming = calling.streams_to_a_reader(self, callbacks, arguments)

        async def one(each: Sequence[BaseMessage], position: int) -> LLMResult:
            async def call(out: Outgoing) -> LLMResult:
                identity = run_id if position == 0 else None
                made = client_method(self, out.model, "agenerate", original)
                return await made(out.model, [out.messages], stop, callbacks, run_id=identity, **about, **out.kwargs)

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
        step = model_step(self)
        if step is None or not streams(self, kwargs, asynchronous=False):
            return original(
                self, input, config, stop=stop, **kwargs
            )  # without streaming it falls into generate, governed there

        def call(out: Outgoing) -> Iterator[AIMessageChunk]:
            made = client_method(self, out.model, "stream", original)
            return made(out.model, out.messages, config, stop=stop, **out.kwargs)

        return calling.stream(step, self, messages_given(self, input), kwargs, call)

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
        step = model_step(self)
        if step is None or not streams(self, kwargs, asynchronous=True):
            return original(self, input, config, stop=stop, **kwargs)

        def call(out: Outgoing) -> AsyncIterator[AIMessageChunk]:
            made = client_method(self, out.model, "astream", original)
            return made(out.model, out.messages, config, stop=stop, **out.kwargs)

        return calling.astream(step, self, messages_given(self, input), kwargs, call)

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
        step = model_step(self)
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
        step = model_step(self)
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
        start = starter(opened)

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
        start = starter(opened)

        async def vouched() -> None:
            token = model_vouched.set(True)
            try:
                await start()
            finally:
                model_vouched.reset(token)

        opened.set_start(vouched)
        return opened

    return _achat_model_stream_v3


_ABOUT = ("tags", "metadata", "run_name")
"""Arguments of `generate` about the trace; all others go to the provider."""


def _split(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    about = {name: value for name, value in kwargs.items() if name in _ABOUT}
    return about, {name: value for name, value in kwargs.items() if name not in _ABOUT}


ENTRY_POINTS: Mapping[str, Callable[[Any], Any]] = {
    "generate": _generate,
    "agenerate": _agenerate,
    "stream": _stream,
    "astream": _astream,
}
"""Public methods by which every call of a chat model goes. A subclass may have its own."""
EVENTS: Mapping[str, Callable[[Any], Any]] = {
    "_iter_v2_events": _events,
    "_aiter_v2_events": _aevents,
    "_chat_model_stream_v3": _stream_v3,
    "_achat_model_stream_v3": _astream_v3,
}
"""The event protocol of LangChain's third version. Older releases do not have it."""
