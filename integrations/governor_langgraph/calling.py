"""The four ways of calling a chat model, each governed: `generate` and `stream`, blocking and async.

Each takes the original function, so that LangChain's own method runs once per provider call, with its callbacks, its cache and its
streaming, on whatever client, messages and arguments the path decided for.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.language_models.chat_model_stream import ChatModelStream
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import LLMResult, RunInfo

from governor.calls import ModelResponse
from governor.drive import drive_stream, drive_stream_async
from governor.effects import InvokeModel, Sample, Summarise
from governor.pipeline import model_call
from governor_langgraph.beside import abeside, beside
from governor_langgraph.chunks import AOpened, Opened
from governor_langgraph.hearing import Ear
from governor_langgraph.langgraph_internals import (
    EventStreamingHandler,
    StreamingHandler,
    combined_outputs,
    share_generation_info,
)
from governor_langgraph.model_path import AtProvider, GovernedCall, Outgoing, prepare
from governor_langgraph.responding import result_response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from governor_langgraph.beside import AThrough, Through
    from governor_langgraph.context import GovernedStep

    Generate = Callable[[Outgoing], LLMResult]
    AGenerate = Callable[[Outgoing], Awaitable[LLMResult]]
    Stream = Callable[[Outgoing], Iterator[AIMessageChunk]]
    AStream = Callable[[Outgoing], AsyncIterator[AIMessageChunk]]
    Answer = Callable[[], BaseMessage | None]

__all__ = [
    "accumulator",
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
    outer, judge = step.outer, partial(prepared.attempts.judged, read=streaming)

    def through(outer: GovernedStep, out: Outgoing, call: Generate) -> LLMResult:
        return generate(outer, out.model, out.messages, out.kwargs, call, streaming=streaming)

    with GovernedCall(prepared) as span:

        def invoke(effect: InvokeModel | Summarise | Sample) -> ModelResponse:
            if isinstance(effect, (Summarise, Sample)):
                return beside(prepared, effect, span, _around(outer))
            out = prepared.outgoing(effect.request)
            prepared.attempts.pause()
            ear = Ear(effect.meter, streaming=streaming)
            with AtProvider(effect.meter, out, span, judge, ear.wire), ear:
                result = call(out) if outer is None else through(outer, out, call)
            return result_response(result, out, effect.request.model.provider)

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
    outer, judge = step.outer, partial(prepared.attempts.judged, read=streaming)

    def through(outer: GovernedStep, out: Outgoing, call: AGenerate) -> Awaitable[LLMResult]:
        return agenerate(outer, out.model, out.messages, out.kwargs, call, streaming=streaming)

    with GovernedCall(prepared) as span:

        async def invoke(effect: InvokeModel | Summarise | Sample) -> ModelResponse:
            if isinstance(effect, (Summarise, Sample)):
                return await abeside(prepared, effect, span, _aaround(outer))
            out = prepared.outgoing(effect.request)
            await prepared.attempts.apause()
            ear = Ear(effect.meter, streaming=streaming)
            with AtProvider(effect.meter, out, span, judge, ear.wire), ear:
                result = await (call(out) if outer is None else through(outer, out, call))
            return result_response(result, out, effect.request.model.provider)

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
        llm_output=combined_outputs(model, outputs),
        run=runs or None,
    )


FINISH = "message-finish"
"""Last event of a message in LangChain's streaming protocol."""


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

        def open_stream(effect: InvokeModel) -> Opened:
            return Opened(effect, prepared, span, send, answer)

        def summarise(effect: object) -> ModelResponse:
            return beside(prepared, _summary(effect), span, _around(outer))

        perform = partial(governor.runtime.perform, span=span, invoke=summarise)
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

        def open_stream(effect: InvokeModel) -> AOpened:
            return AOpened(effect, prepared, span, send, answer)

        async def summarise(effect: object) -> ModelResponse:
            return await abeside(prepared, _summary(effect), span, _aaround(outer))

        perform = partial(governor.runtime.perform_async, span=span, invoke=summarise)
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


async def afinished_first(events: AsyncIterator[Any], reader: ChatModelStream) -> AsyncIterator[Any]:
    """The async twin of `finished_first`, which also hands each event to its reader.

    LangChain tells the reader of a message's end before it takes the next step: whoever awaits that end is woken while callbacks run
    (in threads), goes on, and finds a call that is not settled yet. So the call is made on an `accumulator` of its own.
    """
    async for event in events:
        rest = [each async for each in events] if event.get("event") == FINISH else []
        for each in (event, *rest):
            reader.dispatch(each)
            yield each


def accumulator(reader: ChatModelStream) -> ChatModelStream:
    """What a governed call adds its events up in, so that its reader need not see the last one before the call is settled."""
    own = ChatModelStream(message_id=reader.message_id)
    share_generation_info(reader, own)
    return own


def streams_to_a_reader(model: BaseChatModel, callbacks: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether `generate` will stream because someone listens (`stream_mode="messages"`, `astream_events`).

    Such an answer is with its reader before it can be judged, so it is not asked for again from another tier.
    """
    if kwargs.get("stream") or (_may_stream(type(model)) and getattr(model, "streaming", False)):
        return True
    handlers = cast("list[Any]", callbacks if isinstance(callbacks, list) else [])
    if isinstance(callbacks, BaseCallbackManager):
        handlers = [*callbacks.handlers, *callbacks.inheritable_handlers]
    return any(map(_listens, map(type, handlers)))


@functools.cache
def _may_stream(client: type[BaseChatModel]) -> bool:
    """Whether clients of this class have a switch for streaming. Asking pydantic for a field that is not there is slow."""
    return "streaming" in client.model_fields or hasattr(client, "streaming")


@functools.cache
def _listens(handler: type[Any]) -> bool:
    """Whether handlers of this class take tokens. Remembered by class: checking a protocol is slow."""
    return issubclass(handler, (StreamingHandler, EventStreamingHandler))


def _around(outer: GovernedStep | None) -> Through | None:
    """The way of a call that governor makes itself through the policy around it; None where there is none."""
    if outer is None:
        return None
    return lambda out, call: generate(outer, out.model, out.messages, out.kwargs, call)


def _aaround(outer: GovernedStep | None) -> AThrough | None:
    """The async twin of `_around`."""
    if outer is None:
        return None
    return lambda out, call: agenerate(outer, out.model, out.messages, out.kwargs, call)


def _summary(effect: object) -> Summarise:
    """What a stream's path asks for beside its stream."""
    if isinstance(effect, Summarise):
        return effect
    message = f"a stream's path yielded {type(effect).__name__}"
    raise TypeError(message)
