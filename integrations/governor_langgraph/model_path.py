"""The way of one model call: from what user code asked for, through the path of the core, to one call of the provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import BaseMessage, HumanMessage
from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN

from governor.calls import CachePlan, ModelCall
from governor.errors import ConfigurationError, Refused, RunStopped
from governor.values import cheap, maker
from governor_langgraph.answers import wait_asked
from governor_langgraph.attempts import Attempts, single_attempt
from governor_langgraph.context import current_span, model_taken, second_line
from governor_langgraph.foreign import made_elsewhere
from governor_langgraph.gateways import Heard, heard_var
from governor_langgraph.messages import convert, key_of, render, shown
from governor_langgraph.offer import offer_of
from governor_langgraph.stops import GovernorStop, stop
from governor_langgraph.toolspec import FORMATS, carry_over, without_tool_use
from governor_langgraph.vendors import vendor_of
from governor_langgraph.wire import wire_var

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from langchain_core.language_models import BaseChatModel
    from opentelemetry.trace import Span

    from governor.calls import History, Message, ModelRequest
    from governor.meter import Meter
    from governor.runs import Steady
    from governor_langgraph.context import GovernedStep
    from governor_langgraph.offer import Offer
    from governor_langgraph.vendors import Failure, Vendor
    from governor_langgraph.wire import Wire

    Judge = Callable[[BaseException, Failure, Meter], None]

__all__ = [
    "AtProvider",
    "GovernedCall",
    "Judge",
    "Outgoing",
    "Prepared",
    "prepare",
]

_call = maker(ModelCall)

NO_CACHE = CachePlan()
LONGEST_REST_S = 86_400.0
"""What a provider may ask for at most and be believed: a day."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What is sent: to which client, which messages, with which arguments."""

    model: BaseChatModel
    messages: list[BaseMessage]
    kwargs: dict[str, Any]
    heard: Heard = field(default_factory=Heard)
    """What a gateway says of the answer."""


_outgoing = maker(Outgoing)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A model call in the core's words, and what is needed to send what the path makes of it."""

    step: GovernedStep
    call: ModelCall
    model: BaseChatModel
    kwargs: dict[str, Any]
    offer: Offer
    rendered: Sequence[object]
    placed: dict[str, Any]
    """Messages with placeholders that were made before, by key."""
    attempts: Attempts

    def outgoing(self, request: ModelRequest) -> Outgoing:
        """The request as the chosen client takes it. User code's model, messages and arguments are not touched.

        Raises ConfigurationError when the tier's client cannot be built, CannotCarry when bound tools have no form there.
        """
        model, counts = self._client(request), self.step.run.governor.controls.budget.counts_models
        vendor = vendor_of(model)
        messages, kwargs = shown(request.view, self.rendered, self.placed), self.offer.arranged(self.kwargs)
        if request.tier is not None:
            kwargs = carry_over(kwargs, self.model, model)
        if self._switched(vendor, messages):
            messages = vendor.strip_foreign(messages)
        limit, own = request.max_output_tokens, self._own_maximum(request)
        if limit is not None and (counts or limit != own):
            if limit != own and not vendor.takes_limit(model) and self.step.run.governor.controls.budget.bounds_money:
                raise _unbounded(model)
            kwargs = vendor.with_max_output(model, kwargs, limit)
            model = vendor.limited(model, limit)
        if request.hosted_uses is not None:
            kwargs = vendor.with_hosted_uses(kwargs, request.hosted_uses)
        if request.final:
            kwargs = without_tool_use(kwargs, vendor.FAMILY)
        if request.cache != NO_CACHE:
            messages, kwargs = vendor.mark(model, messages, kwargs, request.cache)
        apart = vendor.FAMILY == "bedrock" and bool(messages) and messages[-1].type == "human"
        messages += [_told(note, apart=apart) for note in request.view.notes]
        return _outgoing(model=model, messages=messages, kwargs=kwargs, heard=self._heard(request))

    def _heard(self, request: ModelRequest) -> Heard:
        """Where the policy says that a gateway answers, what it says is believed."""
        tiers = self.step.run.governor.policy.policy.tiers
        return Heard(trusted=request.tier is not None and tiers[request.tier].gateway is not None)

    def _switched(self, vendor: Vendor, messages: Sequence[BaseMessage]) -> bool:
        """Whether what was said so far was not all said for a model of `vendor`: now, or on the way back from a tier of another one."""
        if vendor.FAMILY != vendor_of(self.model).FAMILY:
            return True
        return bool(self.step.run.governor.policy.policy.tiers) and made_elsewhere(messages, vendor.FAMILY)

    def _client(self, request: ModelRequest) -> BaseChatModel:
        """The client that answers; one that sends once where a budget counts its calls. User code's retries hold for tiers too."""
        governor = self.step.run.governor
        counts = governor.controls.budget.counts_models
        if request.tier is None:
            if not counts:
                return self.model
            model, self.attempts.allowed = single_attempt(self.model)
            return model
        client, retries = governor.client(request.tier), 0
        if counts:
            client, retries = single_attempt(client)
        self.attempts.allowed = max(retries, single_attempt(self.model)[1])
        return _dressed(client, self.model)

    def _own_maximum(self, request: ModelRequest) -> int | None:
        return self.call.max_output_tokens if request.tier is None else None


def _told(note: str, *, apart: bool) -> HumanMessage:
    """A note of governor's. `apart`: as a block, because Bedrock's client makes one text of two of a user, and a cached one would move."""
    return HumanMessage(content=[{"type": "text", "text": note}] if apart else note)


def _unbounded(model: BaseChatModel) -> ConfigurationError:
    message = (
        f"{type(model).__name__} takes no output limit that governor knows, so nothing bounds what a call of it costs: "
        "let a tier answer in its place, or set no limit in money on its runs"
    )
    return ConfigurationError(message)


_prepared = maker(Prepared)


def prepare(
    step: GovernedStep,
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    *,
    streaming: bool,
) -> Prepared:
    """Read a model call. Only messages that the lane has not seen before are converted."""
    vendor = vendor_of(model)
    offer = offer_of(step, model, kwargs)
    lane = _lane(step, messages, recall=offer.recall)
    history, elided, rendered, placed, steady = _history(step, lane, messages, recall=offer.recall)
    call = _call(
        step=step.ref,
        ordinal=next(step.calls),
        history=history,
        model=vendor.model_ref(model),
        tools=offer.tools,
        choice=offer.choice,
        form=offer.form,
        hosted=offer.hosted,
        max_output_tokens=vendor.max_output(model, kwargs),
        streaming=streaming,
        lane=lane,
        steady=steady,
        recall=offer.recall,
        elided=elided,
        price_percents=offer.price_percents,
        structured=not FORMATS.isdisjoint(kwargs),
        locked=bool(kwargs.get("previous_response_id")) or not offer.carried or isinstance(model, BaseLLM),
    )
    return _prepared(
        step=step,
        call=call,
        model=model,
        kwargs=offer.arguments(kwargs),
        offer=offer,
        rendered=rendered,
        placed=placed,
        attempts=Attempts(),
    )


def _history(
    step: GovernedStep, lane: str, messages: Sequence[BaseMessage], *, recall: bool
) -> tuple[History, tuple[tuple[str, str], ...], Sequence[object], dict[str, Any], tuple[Steady, ...]]:
    run = step.run
    with run.lock:
        memo, seen = run.memo(lane, render), list(run.steady.get(lane, ()))
        show = partial(_shown, step, leading=_leading(messages), seen=seen, new=not seen, recall=recall)
        history, elided = memo.extend(messages, convert, show)
        steady = tuple(seen)
        if steady:
            run.saw(lane, steady)
        # the list only grows, or is replaced: it stays in step with this history
        return history, elided, memo.rendered, memo.placed, steady


def _leading(messages: Sequence[BaseMessage]) -> dict[int, int]:
    """Identities of the system messages that a prompt begins with and that are text, to their places among these."""
    leading = takewhile(lambda message: message.type == "system", messages)
    texts = [id(message) for message in leading if isinstance(message.content, str)]
    return {text: place for place, text in enumerate(texts)}


def _shown(
    step: GovernedStep, message: Message, *, leading: dict[int, int], seen: list[Steady], new: bool, recall: bool
) -> tuple[Message, str | None]:
    """A message as it is shown. `seen` is brought up to date; `new`: of a lane that nobody knows of."""
    runtime = step.run.governor.runtime
    order, place = runtime.controls.order, leading.get(id(message.source))
    if place is None or not order.steadies:
        return runtime.controls.compact.show(message, recall=recall)
    known = seen[place] if place < len(seen) else None
    if known is None and new:
        known = runtime.texts.begin(f"{step.run.governor.name}/{step.ref.path}", message.text)
    message, now = order.steady(message, known)
    if now is not None:
        seen[place : place + 1] = [now]
    return message, None


def _lane(step: GovernedStep, messages: Sequence[BaseMessage], *, recall: bool) -> str:
    first = next((message for message in messages if message.type != "system"), None)
    key = key_of(first) if first is not None else ""
    return f"{step.ref.path}#{key}" + ("" if recall else "#whole")


def _dressed(client: BaseChatModel, model: BaseChatModel) -> BaseChatModel:
    """A tier's client with the tags, metadata and callbacks that user code put on its own model (`nostream` is one)."""
    if not (model.tags or model.metadata or model.callbacks):
        return client
    return client.model_copy(update={"tags": model.tags, "metadata": model.metadata, "callbacks": model.callbacks})


# --- around the provider's call ---------------------------------------------------------------------------------------


class GovernedCall:
    """The span of a model call, for the length of a `with` block; a stop of the path leaves it as a bubble-up."""

    __slots__ = ("prepared", "span")

    def __init__(self, prepared: Prepared) -> None:
        """Nothing is started before the block is entered."""
        self.prepared = prepared
        self.span: Span = INVALID_SPAN

    def __enter__(self) -> Span:
        """Start the span, if anything is traced."""
        step = self.prepared.step
        if step.otel is not None:
            self.span = step.run.governor.runtime.telemetry.model(self.prepared.call, step.otel)
        return self.span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the span."""
        step = self.prepared.step
        expected = isinstance(error, (Refused, GeneratorExit))
        step.run.governor.runtime.telemetry.end(self.span, error, expected=expected)
        if isinstance(error, RunStopped) and not isinstance(error, GovernorStop):
            stop(step, error.reason)


class AtProvider:
    """Marks the call as taken while the provider works, and notes in `meter` whether a failure can have been billed.

    Never held across a `yield` of user code's stream: each `next` has its own.
    """

    __slots__ = ("_before", "_judge", "_line", "_span", "_taken", "_wired", "heard", "meter", "model", "span", "wire")

    def __init__(self, meter: Meter, out: Outgoing, span: Span, judge: Judge | None, wire: Wire | None = None) -> None:
        """`span` becomes the current one, for the spans of the client inside. `judge` says what follows a failure; None where nothing does.

        `wire` takes what a streamed answer is made of.
        """
        self.wire = wire
        self._judge = judge
        self.meter = meter
        self.model = out.model
        self.heard = out.heard
        self.span = span

    def __enter__(self) -> None:
        """The request is about to leave."""
        self._taken = model_taken.set(True)
        self._wired = wire_var.set(self.wire)
        self._before = heard_var.get()
        heard_var.set(self.heard)
        self._line = second_line.set(None)  # it would let every call pass until the block is left
        self._span = current_span(self.span)
        self.meter.dispatched = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note what a failure means for the bill. Another governor's refusal means that the request never left."""
        if error is not None and not isinstance(error, (StopIteration, StopAsyncIteration)):
            if isinstance(error, Refused):
                self.meter.rejected = True
            elif isinstance(error, Exception):
                failure = self.heard.judged(vendor_of(self.model).classify(error), error)
                self.meter.rejected = failure.rejected
                self.meter.outage = failure.transient or failure.exhausted
                self.meter.answered = failure.rejected and not self.meter.outage
                self.meter.again, self.meter.asked_ms = False, _asked_ms(error) if self.meter.outage else None
                if self._judge is not None:
                    self._judge(error, failure, self.meter)
        if self._span is not None:
            otel_context.detach(self._span)
        second_line.reset(self._line)
        heard_var.set(self._before)
        if self._before is not None:
            self.heard.pass_on(self._before)
        wire_var.reset(self._wired)
        model_taken.reset(self._taken)


def _asked_ms(error: BaseException) -> int | None:
    asked_s = wait_asked(error, LONGEST_REST_S)
    return None if asked_s is None else round(asked_s * 1_000)
