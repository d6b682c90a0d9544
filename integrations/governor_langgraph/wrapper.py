"""`wrap_model`: a chat model that puts its calls through a policy, for code outside of graphs.

It hands down to the inner model's own `_generate` and `_stream` with its own run manager, so that a call is one run in the trace and each
token is streamed once. Code that asks for the inner model's class (LangChain's provider-specific middlewares) does not see it: inside
graphs use `govern`, which leaves models as they are.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables.config import ensure_config
from pydantic import ConfigDict

from governor_langgraph import calling
from governor_langgraph.context import current_step
from governor_langgraph.governing import Governor, ready
from governor_langgraph.langgraph_internals import streams
from governor_langgraph.nodes import begin
from governor_langgraph.wrapper_marker import SelfGoverned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from os import PathLike

    from langchain_core.messages import BaseMessage

    from governor.policy.load import LoadedPolicy
    from governor.runtime import Runtime
    from governor.stores.contract import Store
    from governor_langgraph.context import GovernedStep
    from governor_langgraph.model_path import Outgoing

__all__ = ["GovernedChatModel", "wrap_model"]


class GovernedChatModel(BaseChatModel, SelfGoverned):
    """What `wrap_model` returns."""

    inner: BaseChatModel
    governor: Any
    """A `Governor`; pydantic need not look inside."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @property
    def _llm_type(self) -> str:
        return self.inner._llm_type  # noqa: SLF001

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return dict(self.inner._identifying_params)  # noqa: SLF001

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return self.inner._get_ls_params(stop=stop, **kwargs)  # noqa: SLF001

    def _should_stream(self, **kwargs: Any) -> bool:
        return cast("Any", self.inner)._should_stream(**kwargs)  # noqa: SLF001

    def _should_use_protocol_streaming(self, **kwargs: Any) -> bool:
        return cast("Any", self.inner)._should_use_protocol_streaming(**kwargs)  # noqa: SLF001

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Bind tools in the inner model's own format, to this model: binding the inner one would escape the policy."""
        bound = cast("Any", self.inner.bind_tools(tools, **kwargs))
        return self.bind(**bound.kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        def call(out: Outgoing) -> LLMResult:
            options = _options(out.model._generate, run_manager)  # noqa: SLF001
            return _as_llm_result(out.model._generate(out.messages, stop=stop, **options, **out.kwargs))  # noqa: SLF001

        with_reader = calling.streams_to_a_reader(self.inner, None, kwargs)
        return _as_chat_result(
            calling.generate(self._step(run_manager), self.inner, messages, kwargs, call, streaming=with_reader)
        )

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        async def call(out: Outgoing) -> LLMResult:
            options = _options(out.model._agenerate, run_manager)  # noqa: SLF001
            return _as_llm_result(await out.model._agenerate(out.messages, stop=stop, **options, **out.kwargs))  # noqa: SLF001

        with_reader = calling.streams_to_a_reader(self.inner, None, kwargs)
        result = await calling.agenerate(
            self._step(run_manager), self.inner, messages, kwargs, call, streaming=with_reader
        )
        return _as_chat_result(result)

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        def call(out: Outgoing) -> Iterator[Any]:
            if not _streams(out, asynchronous=False):
                yield from _chunks_of(out.model._generate(out.messages, stop=stop, **out.kwargs))  # noqa: SLF001
                return
            options = _options(out.model._stream, run_manager)  # noqa: SLF001
            yield from out.model._stream(out.messages, stop=stop, **options, **out.kwargs)  # noqa: SLF001

        yield from cast("Any", calling.stream(self._step(run_manager), self.inner, messages, kwargs, call))

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async def call(out: Outgoing) -> AsyncIterator[Any]:
            if not _streams(out, asynchronous=True):
                for chunk in _chunks_of(await out.model._agenerate(out.messages, stop=stop, **out.kwargs)):  # noqa: SLF001
                    yield chunk
                return
            options = _options(out.model._astream, run_manager)  # noqa: SLF001
            async for chunk in out.model._astream(out.messages, stop=stop, **options, **out.kwargs):  # noqa: SLF001
                yield chunk

        async for chunk in calling.astream(self._step(run_manager), self.inner, messages, kwargs, call):
            yield cast("Any", chunk)

    def _step(self, run_manager: Any) -> GovernedStep:
        """The step to count this call to: the one it is made in, or one of this model's own run.

        A call's config reaches a model as metadata only, so that is where the thread and the scopes are read.
        """
        step = current_step()
        if step is not None and step.run.covers(self.governor):
            return step
        config = ensure_config()
        metadata: dict[str, Any] = {
            **(config.get("metadata") or {}),
            **cast("dict[str, Any]", getattr(run_manager, "metadata", None) or {}),
        }
        given: dict[str, Any] = {"thread_id": metadata["thread_id"]} if "thread_id" in metadata else {}
        return begin(self.governor, {"metadata": metadata, "configurable": {**given, **config.get("configurable", {})}})


def wrap_model(
    model: BaseChatModel,
    policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
    *,
    store: Store | str | None = None,
    runtime: Runtime | None = None,
    clients: Mapping[str, BaseChatModel] | None = None,
    name: str = "model",
) -> GovernedChatModel:
    """A chat model whose calls go through the policy.

    All its calls are one run; a `thread_id` in a call's metadata makes one run per thread, and scopes are read there as well. A stop
    raises `governor.RunStopped`, a denied call `governor.CallDenied`.
    """
    governor = ready(policy, store=store, runtime=runtime, name=name, clients=clients)
    return GovernedChatModel(
        inner=model,
        governor=governor,
        cache=model.cache,
        rate_limiter=model.rate_limiter,
        disable_streaming=model.disable_streaming,
        output_version=model.output_version,
        profile=model.profile,
        callbacks=model.callbacks,
        tags=model.tags,
        metadata=model.metadata,
        custom_get_token_ids=model.custom_get_token_ids,
    )


def _streams(out: Outgoing, *, asynchronous: bool) -> bool:
    """Whether the client streams, asked as LangChain asks."""
    return streams(out.model, out.kwargs, asynchronous=asynchronous)


def _options(method: Any, run_manager: Any) -> dict[str, Any]:
    return {"run_manager": run_manager} if "run_manager" in inspect.signature(method).parameters else {}


def _as_llm_result(result: ChatResult) -> LLMResult:
    return LLMResult(generations=cast("Any", [result.generations]), llm_output=result.llm_output)


def _as_chat_result(result: LLMResult) -> ChatResult:
    return ChatResult(generations=cast("Any", result.generations[0]), llm_output=result.llm_output)


def _chunks_of(result: ChatResult) -> Iterator[ChatGenerationChunk]:
    """A whole answer as one chunk, for a tier that does not stream."""
    for generation in result.generations:
        fields = {**generation.message.model_dump(exclude={"type"}), "chunk_position": "last"}
        yield ChatGenerationChunk(
            message=AIMessageChunk(**cast("Any", fields)), generation_info=generation.generation_info
        )
