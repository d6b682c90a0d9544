"""Answers that LangChain's `generate` streams within itself, since somebody listens: heard as they pass, cut when they go on and on.

Nobody but the provider's own method sees their chunks (`_stream`, `_astream`), so that is where they are heard.
"""

from __future__ import annotations

from contextlib import aclosing, closing, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from langchain_core.outputs import ChatGenerationChunk

from governor_langgraph.arrived import arrived
from governor_langgraph.chunks import last_piece
from governor_langgraph.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
    from contextvars import Token
    from types import TracebackType

    from langchain_core.language_models import BaseChatModel

    from governor.meter import Meter

__all__ = ["Ear", "aheard", "heard"]


class Ear:
    """Listens to one attempt at a call, wherever in it the provider's chunks first appear."""

    __slots__ = ("_meter", "_token", "wire")

    def __init__(self, meter: Meter, *, streaming: bool) -> None:
        """Deaf where nothing streams, or nothing would be cut."""
        chant = meter.chant
        self._meter = meter if streaming and chant is not None and chant.cuts else None
        self.wire = None if self._meter is None else Wire()
        self._token: Token[Ear | None] | None = None

    def __enter__(self) -> None:
        """The request is about to leave."""
        self._token = _ear.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The answer is there."""
        if self._token is not None:
            _ear.reset(self._token)

    def taken(self) -> Meter | None:
        """What to hear for, once: a method of the provider's may call another one."""
        meter, self._meter = self._meter, None
        return meter

    def cut(self, meter: Meter, model: BaseChatModel) -> ChatGenerationChunk:
        """The last piece of an answer that is cut. What was written until then is owed, whether it was read or not."""
        if self.wire is not None:
            come = arrived(self.wire.kept, framed=self.wire.framed)
            meter.output_tokens = max(meter.output_tokens, come.tokens)
        return ChatGenerationChunk(message=last_piece(model))


_ear: ContextVar[Ear | None] = ContextVar("governor_ear", default=None)


def heard(model: BaseChatModel, chunks: Iterator[ChatGenerationChunk]) -> Iterator[ChatGenerationChunk]:
    """The chunks of a provider's stream: all of them, or up to where they go on and on."""
    ear = _ear.get()
    meter = ear.taken() if ear is not None else None
    return chunks if ear is None or meter is None else _heard(ear, meter, model, chunks)


def aheard(model: BaseChatModel, chunks: AsyncIterator[ChatGenerationChunk]) -> AsyncIterator[ChatGenerationChunk]:
    """The async twin of `heard`."""
    ear = _ear.get()
    meter = ear.taken() if ear is not None else None
    return chunks if ear is None or meter is None else _aheard(ear, meter, model, chunks)


def _heard(
    ear: Ear, meter: Meter, model: BaseChatModel, chunks: Iterator[ChatGenerationChunk]
) -> Generator[ChatGenerationChunk]:
    with (
        closing(cast("Any", chunks)) if hasattr(chunks, "close") else nullcontext()
    ):  # a plain iterator has nothing to close
        for chunk in chunks:
            yield chunk
            if _chants(meter, chunk):
                break
        else:
            return
    yield ear.cut(meter, model)  # once it is closed: what was under way counts too


async def _aheard(
    ear: Ear, meter: Meter, model: BaseChatModel, chunks: AsyncIterator[ChatGenerationChunk]
) -> AsyncGenerator[ChatGenerationChunk]:
    async with aclosing(cast("Any", chunks)) if hasattr(chunks, "aclose") else nullcontext():
        async for chunk in chunks:
            yield chunk
            if _chants(meter, chunk):
                break
        else:
            return
    yield ear.cut(meter, model)  # once it is closed: what was under way counts too


def _chants(meter: Meter, chunk: ChatGenerationChunk) -> bool:
    said = str(chunk.message.text)
    return bool(said) and meter.chant is not None and meter.chant.add(said)
