"""The path of one request, from its headers to its record.

authenticate -> parse -> draw a fault -> plan the cache -> answer from the scenario -> generate -> deliver and bill
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from governor_sandbox.anthropic import Anthropic
from governor_sandbox.bedrock import Bedrock
from governor_sandbox.cache import CachePlan, PromptCache
from governor_sandbox.catalogue import Catalogue, Finds
from governor_sandbox.delivery import Book, Delivery, Line
from governor_sandbox.dialect import Dialect, Draft, Target, answered
from governor_sandbox.errors import Rejection, ScenarioError
from governor_sandbox.faults import Fault, FaultLine
from governor_sandbox.gateways import Cloudflare, Front, LiteLLM, Portkey, Turned
from governor_sandbox.gateways.front import Resold, Way
from governor_sandbox.meter import Meter, Outcome, Record, Usage
from governor_sandbox.openai import OpenAI
from governor_sandbox.output import Output, compose
from governor_sandbox.prompt import Provider, Request
from governor_sandbox.scenario import Scenario

DIALECTS: Mapping[Provider, Dialect] = {"bedrock": Bedrock(), "openai": OpenAI(), "anthropic": Anthropic()}


class Exchange:
    """What all requests share: models, scenario, cache, faults and the meter."""

    def __init__(self, scenario: Scenario, meter: Meter, now: Callable[[], float]) -> None:
        """``now`` reads the sandbox's clock, in seconds."""
        self.meter = meter
        self.cache = PromptCache()
        self.faults = FaultLine(scenario.faults, scenario.seed)
        self._behaviour = scenario.behaviour
        self._catalogue = Catalogue.standard().extended(scenario.models)
        self._now = now
        self.cloudflare, self.litellm, self.portkey = Cloudflare(), LiteLLM(), Portkey()
        self.fronts: Mapping[str, Front] = {
            front.name: front for front in (self.cloudflare, self.litellm, self.portkey)
        }

    def reset(self) -> None:
        """Forget bills, cached prefixes and counters."""
        self.meter.reset()
        self.cache.clear()
        self.faults.reset()
        self._behaviour.reset()
        for front in self.fronts.values():
            front.reset()

    def serve(
        self, target: Target, headers: Mapping[str, str], body: Callable[[], Mapping[str, Any]], line: Line
    ) -> None:
        """Serve one request; ``body`` is read late, so that even an unreadable one is on record."""
        seq, label, epoch = self.meter.arrive()
        record = Record(
            seq=seq, provider=target.provider, model=target.model or "", operation=target.operation, label=label
        )
        book = Book(self.meter, record, epoch)
        dialect = DIALECTS[target.provider]
        try:
            if target.gateway is not None:
                self._through(self.fronts[target.gateway], target, headers, body(), book, line)
            else:
                dialect.authenticate(headers)
                self._serve(self._read(target, body(), dialect, book, self._catalogue), dialect, book, line)
        except Turned as turned:
            book.file(status=turned.answer.status, outcome="rejected", error=turned.name)
            line.send(turned.answer)
        except Rejection as rejection:
            self._refuse(rejection, rejection.message, dialect, book, line)
        except ScenarioError as error:
            self._refuse(Rejection("invalid", f"sandbox scenario: {error}"), str(error), dialect, book, line)
        finally:
            self.meter.depart(epoch)

    def _through(
        self,
        front: Front,
        target: Target,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        book: Book,
        line: Line,
    ) -> None:
        """Serve a request that came by a gateway: it may answer from its own cache, or refuse before the provider is asked."""
        front.admit(headers)
        crossing = front.cross(target, headers, body)
        dialect = DIALECTS[target.provider]
        dialect.authenticate(front.forwarded(headers))
        request = self._read(target, body, dialect, book, Resold(self._catalogue, crossing))
        request = replace(request, model=crossing.named)
        book.note(gateway=front.name)
        book.way = Way(front=front, crossing=crossing)
        self._serve(request, dialect, book, line)

    def _read(self, target: Target, body: Mapping[str, Any], dialect: Dialect, book: Book, catalogue: Finds) -> Request:
        if isinstance(body.get("model"), str):
            book.note(model=body["model"])
        request = dialect.parse(target, body, catalogue)
        step = request.conversation.step
        book.note(model=request.model, stream=request.stream, step=step, metadata=dict(request.metadata))
        return request

    def _serve(self, request: Request, dialect: Dialect, book: Book, line: Line) -> None:
        if request.operation == "count_tokens":
            book.file()
            line.send(answered(dialect.counted(request.prompt.tokens)))
            return
        kept = book.way.kept if book.way is not None else None
        fault = self.faults.draw(request.conversation, stream=request.stream) if kept is None else None
        if fault is not None and (rejection := fault.rejection()):
            book.note(outcome="faulted")
            raise rejection
        delivery = self._generate(request, fault, dialect, book, line)
        if kept is not None:
            delivery = replace(delivery, draft=replace(kept, request=request, seq=book.record.seq), free=True)
        if book.way is not None:
            delivery = replace(delivery, told=book.way.answered(delivery.draft, hit=kept is not None))
        if request.stream:
            delivery.stream()
        else:
            delivery.whole()

    def _generate(self, request: Request, fault: Fault | None, dialect: Dialect, book: Book, line: Line) -> Delivery:
        plan = self.cache.plan(request.spec, request.prompt, self._now())
        answer = self._behaviour.answer(request.conversation)
        book.note(rule=answer.rule, ideal_tokens=plan.ideal)
        ids = f"{dialect.call_id_prefix}{book.record.seq:08d}"
        limit = request.spec.max_output if answer.reply.ignores_limit else request.max_tokens
        output = compose(answer.reply, limit=limit, stops=request.stop, call_ids=ids)
        return Delivery(
            draft=Draft(request=request, output=output, usage=_usage(plan, output), seq=book.record.seq),
            plan=plan,
            reply=answer.reply,
            fault=fault,
            dialect=dialect,
            cache=self.cache,
            now=self._now,
            book=book,
            line=line,
        )

    def _refuse(self, rejection: Rejection, error: str, dialect: Dialect, book: Book, line: Line) -> None:
        answer = dialect.error(rejection, book.record.seq)
        if book.way is not None:
            answer = replace(answer, headers={**answer.headers, **book.way.front.marks()})
        outcome: Outcome = "faulted" if book.record.outcome == "faulted" else "rejected"
        book.file(status=answer.status, outcome=outcome, error=error)
        line.send(answer)


def _usage(plan: CachePlan, output: Output) -> Usage:
    return Usage(
        uncached=plan.uncached,
        cache_read=plan.read,
        cache_write_5m=plan.written_5m,
        cache_write_1h=plan.written_1h,
        output=output.tokens,
        reasoning=output.reasoning,
    )
