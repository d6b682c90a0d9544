"""Provider streams under way: opened for one attempt, metered chunk by chunk, added up at the end."""

from __future__ import annotations

from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk

from governor.calls import ModelResponse
from governor.controls.budget.evidence import OBSERVED_MARGIN
from governor.drive import shielded
from governor.tokens import LEAST_RATIO, estimate
from governor.usage import Usage
from governor.values import replace
from governor_langgraph.answers import causes
from governor_langgraph.arrived import arrived, cache_asked
from governor_langgraph.model_path import AtProvider
from governor_langgraph.responding import response_of
from governor_langgraph.vendors import vendor_of
from governor_langgraph.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from opentelemetry.trace import Span

    from governor.effects import InvokeModel
    from governor_langgraph.model_path import Judge, Outgoing, Prepared

    Stream = Callable[[Outgoing], Iterator[AIMessageChunk]]
    AStream = Callable[[Outgoing], AsyncIterator[AIMessageChunk]]
    Answer = Callable[[], BaseMessage | None]

__all__ = ["AOpened", "Opened", "last_piece"]


CUT = {"anthropic": {"stop_reason": "max_tokens"}, "bedrock": {"stopReason": "max_tokens"}}
"""How a provider says that an answer was as long as it was allowed to be; all others say it as OpenAI does."""


def last_piece(model: BaseChatModel) -> AIMessageChunk:
    """The last piece of an answer that was cut: it says `length`, in the words of the model's provider."""
    words = CUT.get(vendor_of(model).FAMILY, {"finish_reason": "length"})
    return AIMessageChunk(content="", response_metadata=dict(words), chunk_position="last")


class _Chunks:
    """What a stream yielded: counted as it passes, added up once at the end."""

    def __init__(
        self, effect: InvokeModel, out: Outgoing, prepared: Prepared, span: Span, answer: Answer | None
    ) -> None:
        self.meter = effect.meter
        self.request = effect.request
        self.provider = effect.request.model.provider
        self.out = out
        self.model = out.model
        self.attempts = prepared.attempts
        self.span = span
        self.answer = answer
        self.seen: list[AIMessageChunk] = []
        self.wire = Wire()
        self.over: Usage | None = None
        """What is owed for a stream that was cut at the clamp."""

    def at_provider(self, judge: Judge | None) -> AtProvider:
        return AtProvider(self.meter, self.out, self.span, judge, self.wire)

    def passed_the_clamp(self) -> bool:
        """Whether more was written than the limit that was sent allows: a provider that ignores it is left.

        Half of what is estimated is certain (`LEAST_RATIO`), so that no answer within its limit is ever cut. Events cannot be cut: their
        readers wait for the last one.
        """
        clamp = self.request.max_output_tokens
        certain = self.meter.output_tokens * LEAST_RATIO // 1_000
        return clamp is not None and certain > clamp and self.answer is None

    def goes_on_and_on(self) -> bool:
        """Whether it says the same over and over, and the policy wants that cut. Events cannot be cut, as above."""
        chant = self.meter.chant
        return chant is not None and chant.heard and chant.cuts and self.answer is None

    def cut(self, chunk: Any) -> Any:
        """The last piece of a stream that was cut: it says `length`, in the provider's words. What was written is owed in full."""
        come = arrived(self.wire.kept, framed=self.wire.framed)
        owed = max(come.tokens, 0 if self.wire.whole else self.meter.output_tokens)
        times, per = OBSERVED_MARGIN
        prompt = come.usage or Usage(input=self.request.input_tokens)
        self.over = replace(prompt, output=-(-owed * times // per), estimated=True)
        last = last_piece(self.model)
        self.seen.append(last)
        return ChatGenerationChunk(message=last) if isinstance(chunk, ChatGenerationChunk) else last

    def left(self, error: BaseException) -> None:
        """Note what had arrived when the stream broke, if that is evidence of what is billed.

        After a timeout the provider may not know that nobody listens, and a gateway may read on for its cache and its log.
        """
        told = self.out.heard.told()
        if told is not None and told.cached:  # the provider was never asked
            self.meter.rejected = True
            return
        kinds = {base.__name__ for cause in causes(error) for base in type(cause).__mro__}
        if self.meter.rejected or any("Timeout" in name for name in kinds) or not self.wire.whole:
            return
        come = arrived(self.wire.kept, framed=self.wire.framed)
        self.meter.usage, self.meter.final = come.usage, come.final
        if told is not None or self.out.heard.trusted:
            return
        if come.events and vendor_of(self.model).writes_openly(self.model, self.out.kwargs):
            self.meter.observed, self.meter.output_tokens, self.meter.largest = True, come.tokens, come.largest
            self.meter.cache_ttl = cache_asked(self.out.messages, self.out.kwargs, self.model)

    def saw(self, chunk: Any) -> None:
        if self.answer is not None:  # events: the caller's own accumulator adds them up
            self.meter.output_tokens += estimate("".join(_written(cast("Mapping[str, Any]", chunk))))
            return
        message = cast("AIMessageChunk", chunk.message) if isinstance(chunk, ChatGenerationChunk) else chunk
        self.seen.append(message)
        said = str(message.text)
        if said and self.meter.chant is not None:
            self.meter.chant.add(said)
        written = said + "".join(part.get("args") or "" for part in getattr(message, "tool_call_chunks", ()))
        if written:
            self.meter.output_tokens += estimate(written)

    def response(self) -> ModelResponse:
        whole = self.answer() if self.answer is not None else self._whole()
        if whole is None:
            return ModelResponse()
        response = response_of(whole, self.out, whole, provider=self.provider)
        if self.over is not None:
            return replace(response, usage=self.over, finish="length")
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
        super().__init__(effect, out, prepared, span, answer)
        self._open = partial(open_stream, out)

    def __iter__(self) -> Iterator[AIMessageChunk]:
        self.attempts.pause()
        judge = self.attempts.judged
        with self.at_provider(
            judge
        ):  # a client of another class has a hook of its own, which would take the call once more
            chunks = cast("Any", self._open())
        with closing(chunks):
            try:
                while True:
                    with self.at_provider(judge):
                        try:
                            chunk = next(chunks)
                        except StopIteration:
                            return
                    judge = None  # its reader has a part of this answer
                    self.saw(chunk)
                    yield chunk
                    if self.passed_the_clamp() or self.goes_on_and_on():
                        self.wire.leave()
                        yield self.cut(chunk)
                        return
            except BaseException as error:
                self.wire.leave()
                self.left(error)
                raise


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
        super().__init__(effect, out, prepared, span, answer)
        self._open = partial(open_stream, out)

    async def __aiter__(self) -> AsyncIterator[AIMessageChunk]:
        await self.attempts.apause()
        judge = self.attempts.judged
        with self.at_provider(
            judge
        ):  # a client of another class has a hook of its own, which would take the call once more
            chunks = cast("Any", self._open())
        async with aclosing(chunks):
            try:
                while True:
                    with self.at_provider(judge):
                        try:
                            chunk = await anext(chunks)
                        except StopAsyncIteration:
                            return
                    judge = None  # its reader has a part of this answer
                    self.saw(chunk)
                    yield chunk
                    if self.passed_the_clamp() or self.goes_on_and_on():
                        await shielded(self.wire.aleave())
                        yield self.cut(chunk)
                        return
            except BaseException as error:
                await shielded(self.wire.aleave())
                self.left(error)
                raise
