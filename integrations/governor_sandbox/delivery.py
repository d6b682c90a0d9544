"""Sends one generated answer, whole or chunk by chunk, and files what it cost.

A record is filed before the last byte is sent, so a client that has its answer finds it on the bill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from governor_sandbox.cache import CachePlan, PromptCache
from governor_sandbox.dialect import Answered, Chunk, Dialect, Draft, answered
from governor_sandbox.errors import ClientGone, Rejection
from governor_sandbox.faults import Fault, FaultKind
from governor_sandbox.gateways.front import Way
from governor_sandbox.meter import Meter, Record, Usage
from governor_sandbox.output import Reply


class Line(Protocol):
    """The connection to one client. Every method may raise `ClientGone`."""

    def send(self, answer: Answered) -> None:
        """Send a whole answer."""
        ...

    def begin(self, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Begin a stream, with more headers of its own."""
        ...

    def write(self, data: bytes) -> None:
        """Send a chunk, unless the client has hung up."""
        ...

    def end(self) -> None:
        """Complete the stream."""
        ...

    def drop(self) -> None:
        """Cut the connection."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def hold(self) -> None:
        """Wait until held requests are released."""
        ...


@dataclass(slots=True)
class Book:
    """The record of the request being served, filled in as it goes."""

    meter: Meter
    record: Record
    epoch: int
    way: Way | None = None
    """How the request came, where that was by a gateway."""

    def note(self, **changes: Any) -> None:
        """Change the record, without filing it."""
        self.record = replace(self.record, **changes)

    def file(self, **changes: Any) -> None:
        """Change the record and put it on the bill."""
        self.note(**changes)
        self.meter.file(self.record, self.epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One answer on its way. The cached prefix becomes readable when the response begins."""

    draft: Draft
    plan: CachePlan
    reply: Reply
    fault: Fault | None
    dialect: Dialect
    cache: PromptCache
    now: Callable[[], float]
    book: Book
    line: Line
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    """Headers of a gateway on the way."""
    free: bool = False
    """Whether a gateway's cache answers: the provider is not asked and bills nothing."""

    def whole(self) -> None:
        """Send it in one piece: generated and billed whole, whether or not anyone is left to read it."""
        try:
            self._delay()
            if self._kind == "timeout":
                self.line.hold()
            self._begin()
            if self._kind == "disconnect":
                self._bill(self.draft.usage, outcome="faulted", error="disconnect")
                self.line.drop()
                return
            self._bill(self.draft.usage)
            answer = answered(self.dialect.whole(self.draft))
            self.line.send(replace(answer, headers={**answer.headers, **self.told}) if self.told else answer)
        except ClientGone:
            self._begin()
            self._bill(self.draft.usage, outcome="aborted")

    def stream(self) -> None:
        """Send it chunk by chunk: what was generated until the client left, or until the stream broke, is billed.

        That is the rule of OpenAI, Anthropic and Bedrock for streams: a closed connection ends the generation. With ``finishes_unread`` the
        provider goes on without a reader and bills the whole answer. An answer in one piece is always billed whole.
        """
        sent = 0
        chunks = list(self.dialect.stream(self.draft))
        try:
            self._delay()
            for i, chunk in enumerate(chunks):
                if self._breaks(i, chunks, sent):
                    return
                if i == 0:
                    self._begin()
                    self.line.begin(self.dialect.stream_content_type, self.told)
                else:
                    self.line.wait((self.reply.chunk_delay_ms + self._fault_delay_ms) / 1000)
                sent += chunk.tokens
                if i == len(chunks) - 1:
                    self._bill(self._so_far(sent))
                self.line.write(chunk.data)
            self.line.end()
        except ClientGone:
            whole = self.reply.finishes_unread
            self._bill(self.draft.usage if whole else self._so_far(sent), outcome="aborted")

    @property
    def _kind(self) -> FaultKind | None:
        return None if self.fault is None else self.fault.kind

    @property
    def _fault_delay_ms(self) -> int:
        return 0 if self.fault is None else self.fault.delay_ms

    def _delay(self) -> None:
        self.line.wait((self.reply.latency_ms + self._fault_delay_ms) / 1000)

    def _begin(self) -> None:
        if not self.free:
            self.cache.commit(self.plan, self.now())

    def _breaks(self, i: int, chunks: list[Chunk], sent: int) -> bool:
        """Whether the stream ends here, before chunk ``i``; a held stream goes on."""
        if self.fault is None or i != min(self.fault.after_chunks or 0, len(chunks) - 1):
            return False
        if self.fault.kind == "timeout":
            self.line.hold()
        if self.fault.kind not in ("disconnect", "stream_error"):
            return False
        self._bill(self._so_far(sent), outcome="faulted", error=self.fault.kind)
        if self.fault.kind == "disconnect":
            self.line.drop()
            return True
        if i == 0:
            self.line.begin(self.dialect.stream_content_type, self.told)
        message = self.fault.message or "The model stream was interrupted."
        self.line.write(self.dialect.stream_error(Rejection("model_error", message)))
        self.line.end()
        return True

    def _so_far(self, sent: int) -> Usage:
        """What was generated by now: the reasoning, which comes first and is not shown, and what was sent."""
        whole = self.draft.usage
        return replace(whole, output=min(whole.reasoning + sent, whole.output))

    def _bill(self, usage: Usage, **changes: Any) -> None:
        """At the price of the service tier that was asked for."""
        if self.free:
            self.book.file(usage=Usage(), nano_usd=0, ideal_tokens=0, **changes)
            return
        request = self.draft.request
        percent = request.spec.tier_percent.get(request.service_tier or "", 100)
        price = request.spec.price if percent == 100 else request.spec.price.scaled(percent)
        self.book.file(usage=usage, nano_usd=usage.cost(price), **changes)
