"""Provider streams under way: opened for one attempt, metered chunk by chunk, added up at the end."""

from __future__ import annotations

from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk

from governor.calls import ModelResponse
from governor.tokens import estimate
from governor_langgraph.model_path import AtProvider, response_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk, BaseMessage
    from opentelemetry.trace import Span

    from governor.effects import InvokeModel
    from governor_langgraph.model_path import Outgoing, Prepared

    Stream = Callable[[Outgoing], Iterator[AIMessageChunk]]
    AStream = Callable[[Outgoing], AsyncIterator[AIMessageChunk]]
    Answer = Callable[[], BaseMessage | None]

__all__ = ["AOpened", "Opened"]


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


class Opened(_Chunks):
    """A provider's stream under way."""

    def __init__(
        self,
        effect: InvokeModel,
        prepared: Prepared,
        span: Span,
        open_stream: Stream,
        answer: Answer | None,
    ) -> None:
        out = prepared.outgoing(effect.request)
        super().__init__(effect, out.model, answer)
        self.span = span
        self.attempts = prepared.attempts
        self._open = partial(open_stream, out)

    def __iter__(self) -> Iterator[AIMessageChunk]:
        self.attempts.pause()
        chunks, again = cast("Any", self._open()), self.attempts.again
        with closing(chunks):
            while True:
                with AtProvider(self.meter, self.model, self.span, again):
                    try:
                        chunk = next(chunks)
                    except StopIteration:
                        return
                again = None  # its reader has a part of this answer
                self.saw(chunk)
                yield chunk


class AOpened(_Chunks):
    """The async twin of `Opened`."""

    def __init__(
        self,
        effect: InvokeModel,
        prepared: Prepared,
        span: Span,
        open_stream: AStream,
        answer: Answer | None,
    ) -> None:
        out = prepared.outgoing(effect.request)
        super().__init__(effect, out.model, answer)
        self.span = span
        self.attempts = prepared.attempts
        self._open = partial(open_stream, out)

    async def __aiter__(self) -> AsyncIterator[AIMessageChunk]:
        await self.attempts.apause()
        chunks, again = cast("Any", self._open()), self.attempts.again
        async with aclosing(chunks):
            while True:
                with AtProvider(self.meter, self.model, self.span, again):
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
                again = None  # its reader has a part of this answer
                self.saw(chunk)
                yield chunk
