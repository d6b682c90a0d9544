"""The four ways of calling a chat model, each governed: `generate` and `stream`, blocking and async.

Each takes the original function, so that LangChain's own method runs once per provider call, with its callbacks, its cache and its
streaming, on whatever client, messages and arguments the path decided for.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk, LLMResult, RunInfo
from langchain_core.tracers._streaming import _StreamingCallbackHandler, _V2StreamingCallbackHandler

from governor.calls import ModelResponse
from governor.drive import drive_stream, drive_stream_async
from governor.effects import InvokeModel
from governor.pipeline import model_call
from governor.tokens import estimate
from governor_langgraph.model_path import AtProvider, GovernedCall, Outgoing, prepare, response_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from opentelemetry.trace import Span

    from governor_langgraph.context import GovernedStep

    Generate = Callable[[Outgoing], LLMResult]
    AGenerate = Callable[[Outgoing], Awaitable[LLMResult]]
    Stream = Callable[[Outgoing], Iterator[AIMessageChunk]]
    AStream = Callable[[Outgoing], AsyncIterator[AIMessageChunk]]
    Answer = Callable[[], BaseMessage | None]

__all__ = [
    "afinished_first",
    "agenerate",
    "agenerate_all",
    "astream",
    "finished_first",
    "generate",
    "generate_all",
    "merged",
    "stream",
    "streams_to_a_reader",
]


def generate(
    step: GovernedStep,
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    call: Generate,
    *,
    streaming: bool = False,
) -> LLMResult:
    """One governed call. In a run inside another governor's run, what is sent goes through the outer policy as well."""
    prepared = prepare(step, model, messages, kwargs, streaming=streaming)
    outer = step.outer

    def through(outer: GovernedStep, out: Outgoing, call: Generate) -> LLMResult:
        return generate(outer, out.model, out.messages, out.kwargs, call, streaming=streaming)

    with GovernedCall(prepared) as span:

        def invoke(effect: InvokeModel) -> ModelResponse:
            out = prepared.outgoing(effect.request)
            with AtProvider(effect.meter, out.model, span):
                result = call(out) if outer is None else through(outer, out, call)
            return _response(result, out.model, effect.request.model.provider)

        governor = step.run.governor
        response = governor.drive(model_call(prepared.call, governor.controls), span, invoke)
    return cast("LLMResult", response.source)


async def agenerate(
    step: GovernedStep,
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    call: AGenerate,
    *,
    streaming: bool = False,
) -> LLMResult:
    """The async twin of `generate`."""
    prepared = prepare(step, model, messages, kwargs, streaming=streaming)
    outer = step.outer

    def through(outer: GovernedStep, out: Outgoing, call: AGenerate) -> Awaitable[LLMResult]:
        return agenerate(outer, out.model, out.messages, out.kwargs, call, streaming=streaming)

    with GovernedCall(prepared) as span:

        async def invoke(effect: InvokeModel) -> ModelResponse:
            out = prepared.outgoing(effect.request)
            with AtProvider(effect.meter, out.model, span):
                result = await (call(out) if outer is None else through(outer, out, call))
            return _response(result, out.model, effect.request.model.provider)

        governor = step.run.governor
        response = await governor.drive_async(model_call(prepared.call, governor.controls), span, invoke)
    return cast("LLMResult", response.source)


def generate_all(
    messages: Sequence[Sequence[BaseMessage]],
    one: Callable[[Sequence[BaseMessage], int], LLMResult],
    model: BaseChatModel,
) -> LLMResult:
    """Each message list is a call of its own, with its own reservation; the results become one, as LangChain's would."""
    return merged([one(each, position) for position, each in enumerate(messages)], model)


async def agenerate_all(
    messages: Sequence[Sequence[BaseMessage]],
    one: Callable[[Sequence[BaseMessage], int], Awaitable[LLMResult]],
    model: BaseChatModel,
) -> LLMResult:
    """The async twin of `generate_all`: side by side, and the first error is raised once all have ended, as LangChain does."""
    tasks = [asyncio.ensure_future(one(each, position)) for position, each in enumerate(messages)]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    return merged([task.result() for task in tasks], model)


def merged(results: Sequence[LLMResult], model: BaseChatModel) -> LLMResult:
    """Several results as one."""
    if len(results) == 1:
        return results[0]
    outputs = [result.llm_output for result in results]
    runs: list[RunInfo] = [run for result in results for run in (result.run or ())]
    return LLMResult(
        generations=[generation for result in results for generation in result.generations],
        llm_output=model._combine_llm_outputs(outputs),  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as its own generate does
        run=runs or None,
    )


FINISH = "message-finish"
"""Last event of a message in LangChain's streaming protocol."""


class _Chunks:
    """What a stream yielded: counted as it passes, added up once at the end."""

    def __init__(self, effect: InvokeModel, model: BaseChatModel, answer: Answer | None) -> None:
        self.meter = effect.meter
        self.provider = effect.request.model.provider
        self.model = model
        self.answer = answer
        self.seen: list[AIMessageChunk] = []

    def saw(self, chunk: Any) -> None:
        if self.answer is not None:  # events: the caller's own accumulator adds them up
            self.meter.output_tokens += estimate("".join(_written(cast("Mapping[str, Any]", chunk))))
            return
        message = cast("AIMessageChunk", chunk.message) if isinstance(chunk, ChatGenerationChunk) else chunk
        self.seen.append(message)
        written = str(message.text) + "".join(
            part.get("args") or "" for part in getattr(message, "tool_call_chunks", ())
        )
        if written:
            self.meter.output_tokens += estimate(written)

    def response(self) -> ModelResponse:
        whole = self.answer() if self.answer is not None else self._whole()
        if whole is None:
            return ModelResponse()
        response = response_of(whole, self.model, whole, provider=self.provider)
        self.meter.usage = response.usage
        return response

    def _whole(self) -> BaseMessage | None:
        if not self.seen:
            return None
        first, *rest = self.seen
        return add_ai_message_chunks(first, *rest) if rest else first


def _written(event: Mapping[str, Any]) -> Iterator[str]:
    """The text that an event of LangChain's streaming protocol adds."""
    delta = event.get("delta") if event.get("event") == "content-block-delta" else None
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", delta) if isinstance(delta, dict) else {}
    yield from (value for key, value in fields.items() if key != "type" and isinstance(value, str))


class _Opened(_Chunks):
    """A provider's stream under way."""

    def __init__(
        self, effect: InvokeModel, out: Outgoing, span: Span, open_stream: Stream, answer: Answer | None
    ) -> None:
        super().__init__(effect, out.model, answer)
        self.span = span
        self._open = partial(open_stream, out)

    def __iter__(self) -> Iterator[AIMessageChunk]:
        chunks = cast("Any", self._open())
        with closing(chunks):
            while True:
                with AtProvider(self.meter, self.model, self.span):
                    try:
                        chunk = next(chunks)
                    except StopIteration:
                        return
                self.saw(chunk)
                yield chunk


class _AOpened(_Chunks):
    """The async twin of `_Opened`."""

    def __init__(
        self, effect: InvokeModel, out: Outgoing, span: Span, open_stream: AStream, answer: Answer | None
    ) -> None:
        super().__init__(effect, out.model, answer)
        self.span = span
        self._open = partial(open_stream, out)

    async def __aiter__(self) -> AsyncIterator[AIMessageChunk]:
        chunks = cast("Any", self._open())
        async with aclosing(chunks):
            while True:
                with AtProvider(self.meter, self.model, self.span):
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
                self.saw(chunk)
                yield chunk


def stream(
    step: GovernedStep,
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    call: Stream,
    *,
    answer: Answer | None = None,
) -> Iterator[AIMessageChunk]:
    """One governed stream; chunks pass as they come and the settlement follows the last one, or the break.

    `answer` gives the whole message where chunks are events that add up elsewhere.
    """
    prepared = prepare(step, model, messages, kwargs, streaming=True)
    outer = step.outer

    def send(out: Outgoing) -> Iterator[AIMessageChunk]:
        return call(out) if outer is None else stream(outer, out.model, out.messages, out.kwargs, call, answer=answer)

    with GovernedCall(prepared) as span:
        governor = step.run.governor

        def open_stream(effect: InvokeModel) -> _Opened:
            return _Opened(effect, prepared.outgoing(effect.request), span, send, answer)

        perform = partial(governor.runtime.perform, span=span, invoke=_never)
        yield from drive_stream(model_call(prepared.call, governor.controls), perform, open_stream)


async def astream(
    step: GovernedStep,
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    call: AStream,
    *,
    answer: Answer | None = None,
) -> AsyncIterator[AIMessageChunk]:
    """The async twin of `stream`."""
    prepared = prepare(step, model, messages, kwargs, streaming=True)
    outer = step.outer

    def send(out: Outgoing) -> AsyncIterator[AIMessageChunk]:
        return call(out) if outer is None else astream(outer, out.model, out.messages, out.kwargs, call, answer=answer)

    with GovernedCall(prepared) as span:
        governor = step.run.governor

        def open_stream(effect: InvokeModel) -> _AOpened:
            return _AOpened(effect, prepared.outgoing(effect.request), span, send, answer)

        perform = partial(governor.runtime.perform_async, span=span, invoke=_never)
        flow = model_call(prepared.call, governor.controls)
        chunks: AsyncGenerator[AIMessageChunk, None] = drive_stream_async(flow, perform, cast("Any", open_stream))
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


def finished_first(events: Iterator[Any]) -> Iterator[Any]:
    """End the governed call before its last event is handed on: whoever reads events stops at the one that says so."""
    for event in events:
        rest = list(events) if event.get("event") == FINISH else []
        yield event
        yield from rest


async def afinished_first(events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The async twin of `finished_first`."""
    async for event in events:
        rest = [each async for each in events] if event.get("event") == FINISH else []
        yield event
        for each in rest:
            yield each


def streams_to_a_reader(model: BaseChatModel, callbacks: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether `generate` will stream because someone listens (`stream_mode="messages"`, `astream_events`).

    Such an answer is with its reader before it can be judged, so it is not asked for again from another tier.
    """
    if kwargs.get("stream") or getattr(model, "streaming", False):
        return True
    manager = callbacks if isinstance(callbacks, BaseCallbackManager) else None
    given = cast("list[Any]", callbacks if isinstance(callbacks, list) else [])
    handlers: list[Any] = [*manager.handlers, *manager.inheritable_handlers] if manager else given
    return any(map(_listens, map(type, handlers)))


@functools.cache
def _listens(handler: type[Any]) -> bool:
    """Whether handlers of this class take tokens. Remembered by class: checking a protocol is slow."""
    return issubclass(handler, (_StreamingCallbackHandler, _V2StreamingCallbackHandler))


def _response(result: LLMResult, model: BaseChatModel, provider: str) -> ModelResponse:
    generations = result.generations[0] if result.generations else []
    message = getattr(generations[0], "message", None) if generations else None
    if message is None:
        return ModelResponse(source=result)
    return response_of(message, model, result, provider=provider)


def _never(effect: object) -> Any:
    message = f"a stream's path yielded {type(effect).__name__}"
    raise TypeError(message)
