"""Hooks on what a chat model class does at the provider (`_generate`, `_stream`), for calls that pass by the public methods.

Called by LangChain's own methods they are part of a call that the path has taken, and pass. Called directly, or by a class whose own
`generate` never asks LangChain, they are a call like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.outputs import LLMResult

from governor_langgraph import calling
from governor_langgraph.chat_hooks import client_method, model_step
from governor_langgraph.hearing import aheard, heard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult

    from governor_langgraph.model_path import Outgoing

__all__ = ["PROVIDER_METHODS"]


def _generate(original: Callable[..., ChatResult]) -> Callable[..., ChatResult]:
    def _generate(
        self: BaseChatModel, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        step = model_step(self)
        if step is None:
            return original(self, messages, stop, run_manager, **kwargs)

        latest: list[ChatResult] = []  # what the provider gave is handed back as it is

        def call(out: Outgoing) -> LLMResult:
            made = client_method(self, out.model, "_generate", original)
            latest[:] = [made(out.model, out.messages, stop, run_manager, **out.kwargs)]
            return _whole(latest[0])

        calling.generate(step, self, messages, kwargs, call)
        return latest[0]

    return _generate


def _agenerate(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _agenerate(
        self: BaseChatModel, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        step = model_step(self)
        if step is None:
            return await original(self, messages, stop, run_manager, **kwargs)

        latest: list[ChatResult] = []

        async def call(out: Outgoing) -> LLMResult:
            made = client_method(self, out.model, "_agenerate", original)
            latest[:] = [await made(out.model, out.messages, stop, run_manager, **out.kwargs)]
            return _whole(latest[0])

        await calling.agenerate(step, self, messages, kwargs, call)
        return latest[0]

    return _agenerate


def _stream(original: Callable[..., Iterator[ChatGenerationChunk]]) -> Callable[..., Iterator[Any]]:
    def _stream(
        self: BaseChatModel, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[Any]:
        step = model_step(self)
        if step is None:
            return heard(self, original(self, messages, stop, run_manager, **kwargs))

        def call(out: Outgoing) -> Iterator[Any]:
            made = client_method(self, out.model, "_stream", original)
            return made(out.model, out.messages, stop, run_manager, **out.kwargs)

        return calling.stream(step, self, messages, kwargs, call)

    return _stream


def _astream(original: Callable[..., AsyncIterator[ChatGenerationChunk]]) -> Callable[..., AsyncIterator[Any]]:
    def _astream(
        self: BaseChatModel, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        step = model_step(self)
        if step is None:
            return aheard(self, original(self, messages, stop, run_manager, **kwargs))

        def call(out: Outgoing) -> AsyncIterator[Any]:
            made = client_method(self, out.model, "_astream", original)
            return made(out.model, out.messages, stop, run_manager, **out.kwargs)

        return calling.astream(step, self, messages, kwargs, call)

    return _astream


def _whole(result: ChatResult) -> LLMResult:
    return LLMResult(generations=[cast("Any", result.generations)], llm_output=result.llm_output)


PROVIDER_METHODS: Mapping[str, Callable[[Any], Any]] = {
    "_generate": _generate,
    "_agenerate": _agenerate,
    "_stream": _stream,
    "_astream": _astream,
}
