"""The path of one request: read, refuse or fail, look up the cache, generate, send, bill.

    authenticate -> parse -> fault -> plan the cache -> answer from the scenario -> (response begins: commit the cache)
    -> send, whole or chunk by chunk -> file the record

A record is filed before the last byte is sent, so a client that has its answer finds it on the bill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from governor_sandbox.anthropic import Anthropic
from governor_sandbox.bedrock import Bedrock
from governor_sandbox.cache import CachePlan, PromptCache
from governor_sandbox.catalogue import Catalogue
from governor_sandbox.dialect import Answered, Chunk, Dialect, Draft, Target
from governor_sandbox.errors import ClientGone, Rejection, ScenarioError
from governor_sandbox.faults import Fault, FaultLine
from governor_sandbox.meter import Meter, Outcome, Record, Usage
from governor_sandbox.openai import OpenAI
from governor_sandbox.output import Output, Reply, compose
from governor_sandbox.prompt import Provider, Request, compact_json
from governor_sandbox.scenario import Scenario

DIALECTS: Mapping[Provider, Dialect] = {"bedrock": Bedrock(), "openai": OpenAI(), "anthropic": Anthropic()}


class Line(Protocol):
    """The connection to one client. Every method may raise `ClientGone`."""

    def send(self, answer: Answered) -> None:
        """Send a whole answer."""
        ...

    def begin(self, content_type: str) -> None:
        """Begin a stream."""
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
class _Book:
    """The record of the request being served, filled in as it goes."""

    meter: Meter
    record: Record
    epoch: int

    def note(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)

    def file(self, **changes: Any) -> None:
        self.note(**changes)
        self.meter.file(self.record, self.epoch)


class Exchange:
    """Everything that requests share: models, scenario, cache, faults and the meter."""

    def __init__(self, scenario: Scenario, meter: Meter, now: Callable[[], float]) -> None:
        """``now`` reads the sandbox's clock, in seconds."""
        self.meter = meter
        self.cache = PromptCache()
        self.faults = FaultLine(scenario.faults, scenario.seed)
        self._scenario = scenario
        self._catalogue = Catalogue.standard().extended(scenario.models)
        self._now = now

    def reset(self) -> None:
        """Forget bills, cached prefixes and counters."""
        self.meter.reset()
        self.cache.clear()
        self.faults.reset()
        self._scenario.behaviour.reset()

    def serve(self, target: Target, headers: Mapping[str, str], body: Callable[[], Mapping[str, Any]], line: Line) -> None:
        """Serve one request from its headers to its record."""
        seq, label, epoch = self.meter.arrive()
        record = Record(
            seq=seq, provider=target.provider, model=target.model or "", operation=target.operation, label=label
        )
        book = _Book(self.meter, record, epoch)
        dialect = DIALECTS[target.provider]
        try:
            request, fault = self._accept(target, headers, body(), dialect, book)
            if target.operation == "count_tokens":
                book.file()
                line.send(_json(dialect.counted(request.prompt.tokens)))
            else:
                self._complete(request, fault, dialect, book, line)
        except Rejection as rejection:
            answer = dialect.error(rejection, seq)
            outcome: Outcome = "faulted" if book.record.outcome == "faulted" else "rejected"
            book.file(status=answer.status, outcome=outcome, error=rejection.message)
            line.send(answer)
        except ScenarioError as error:
            answer = dialect.error(Rejection("invalid", f"sandbox scenario: {error}"), seq)
            book.file(status=answer.status, outcome="rejected", error=str(error))
            line.send(answer)
        finally:
            self.meter.depart(epoch)

    def _accept(
        self, target: Target, headers: Mapping[str, str], body: Mapping[str, Any], dialect: Dialect, book: _Book
    ) -> tuple[Request, Fault | None]:
        dialect.authenticate(headers)
        if isinstance(body.get("model"), str):
            book.note(model=body["model"])
        request = dialect.parse(target, body, self._catalogue)
        book.note(model=request.model, stream=request.stream, step=request.conversation.step, metadata=request.metadata)
        fault = self.faults.draw(request.conversation) if target.operation == "complete" else None
        if fault is not None and (rejection := fault.rejection()):
            book.note(outcome="faulted")
            raise rejection
        return request, fault

    def _complete(self, request: Request, fault: Fault | None, dialect: Dialect, book: _Book, line: Line) -> None:
        plan = self.cache.plan(request.spec, request.prompt, self._now())
        answer = self._scenario.behaviour.answer(request.conversation)
        ids = f"{dialect.call_id_prefix}{book.record.seq:08d}"
        output = compose(answer.reply, limit=request.max_tokens, stops=request.stop, call_ids=ids)
        draft = Draft(request=request, output=output, usage=_usage(plan, output), seq=book.record.seq)
        book.note(rule=answer.rule)
        if request.stream:
            self._stream(draft, plan, answer.reply, fault, dialect, book, line)
        else:
            self._whole(draft, plan, answer.reply, fault, dialect, book, line)

    def _whole(
        self, draft: Draft, plan: CachePlan, reply: Reply, fault: Fault | None, dialect: Dialect, book: _Book, line: Line
    ) -> None:
        """The provider generates the whole answer, and bills it, whether or not anyone is left to read it."""
        billed: dict[str, Any] = {"usage": draft.usage, "nano_usd": _cost(draft, draft.usage)}
        try:
            self._delay(reply, fault, line)
            if fault is not None and fault.kind == "timeout":
                line.hold()
            self.cache.commit(plan, self._now())
            if fault is not None and fault.kind == "disconnect":
                book.file(**billed, outcome="faulted", error="disconnect")
                line.drop()
                return
            book.file(**billed)
            line.send(_json(dialect.whole(draft)))
        except ClientGone:
            self.cache.commit(plan, self._now())
            book.file(**billed, outcome="aborted")

    def _stream(
        self, draft: Draft, plan: CachePlan, reply: Reply, fault: Fault | None, dialect: Dialect, book: _Book, line: Line
    ) -> None:
        """What was generated until the client left, or until the stream broke, is billed."""
        sent = 0
        chunks = list(dialect.stream(draft))

        def bill(**changes: Any) -> None:
            usage = replace(draft.usage, output=min(sent, draft.output.tokens))
            book.file(usage=usage, nano_usd=_cost(draft, usage), **changes)

        try:
            self._delay(reply, fault, line)
            for i, chunk in enumerate(chunks):
                if fault is not None and self._breaks(fault, i, chunks, dialect, line, bill):
                    return
                if i == 0:
                    self.cache.commit(plan, self._now())
                    line.begin(dialect.stream_content_type)
                else:
                    line.wait((reply.chunk_delay_ms + (fault.delay_ms if fault else 0)) / 1000)
                sent += chunk.tokens
                if i == len(chunks) - 1:
                    bill()
                line.write(chunk.data)
            line.end()
        except ClientGone:
            bill(outcome="aborted")

    def _breaks(
        self, fault: Fault, i: int, chunks: list[Chunk], dialect: Dialect, line: Line, bill: Callable[..., None]
    ) -> bool:
        """Whether the stream ends here, before chunk ``i``; a held stream goes on."""
        if i != min(fault.after_chunks or 0, len(chunks) - 1):
            return False
        if fault.kind == "timeout":
            line.hold()
        elif fault.kind == "disconnect":
            bill(outcome="faulted", error="disconnect")
            line.drop()
            return True
        elif fault.kind == "stream_error":
            bill(outcome="faulted", error="stream_error")
            if i == 0:
                line.begin(dialect.stream_content_type)
            message = fault.message or "The model stream was interrupted."
            line.write(dialect.stream_error(Rejection("model_error", message)))
            line.end()
            return True
        return False

    def _delay(self, reply: Reply, fault: Fault | None, line: Line) -> None:
        line.wait((reply.latency_ms + (fault.delay_ms if fault is not None else 0)) / 1000)


def _usage(plan: CachePlan, output: Output) -> Usage:
    return Usage(
        uncached=plan.uncached,
        cache_read=plan.read,
        cache_write_5m=plan.written_5m,
        cache_write_1h=plan.written_1h,
        output=output.tokens,
        reasoning=output.reasoning,
    )


def _cost(draft: Draft, usage: Usage) -> int:
    """Nano-USD, at the price of the service tier that was asked for."""
    spec = draft.request.spec
    percent = spec.tier_percent.get(draft.request.service_tier or "", 100)
    return usage.cost(spec.price if percent == 100 else spec.price.scaled(percent))


def _json(data: Mapping[str, Any]) -> Answered:
    return Answered(status=200, body=compact_json(data).encode())
