"""The way of one model call: from what user code asked for, through the path of the core, to one call of the provider."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

from langchain_core.globals import get_llm_cache
from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN

from governor.calls import CachePlan, ModelCall, ModelResponse
from governor.errors import ConfigurationError, Refused, RunStopped
from governor.usage import Usage
from governor.values import cheap, maker
from governor_langgraph.answers import wait_asked
from governor_langgraph.attempts import Attempts, single_attempt
from governor_langgraph.context import current_span, model_taken, second_line
from governor_langgraph.foreign import made_elsewhere
from governor_langgraph.messages import convert, key_of, render, shown, text_of, tool_uses_of
from governor_langgraph.offer import offer_of
from governor_langgraph.stops import GovernorStop, stop
from governor_langgraph.toolspec import FORMATS, carry_over, without_tool_use
from governor_langgraph.usage import served_in, usage_of
from governor_langgraph.vendors import vendor_of
from governor_langgraph.wire import wire_var

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from langchain_core.language_models import BaseChatModel
    from langchain_core.outputs import LLMResult
    from opentelemetry.trace import Span

    from governor.calls import History, Message, ModelRequest
    from governor.controls import Controls
    from governor.meter import Meter
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
    "completion_response",
    "prepare",
    "response_of",
]

_call, _response = maker(ModelCall), maker(ModelResponse)

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
        return _outgoing(model=model, messages=messages, kwargs=kwargs)

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
    history, elided, rendered, placed = _history(step, lane, messages, recall=offer.recall)
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
) -> tuple[History, tuple[tuple[str, str], ...], Sequence[object], dict[str, Any]]:
    show = partial(_shown, step.run.governor.controls, leading=_leading(messages), recall=recall)
    with step.run.lock:
        memo = step.run.memo(lane, render)
        history, elided = memo.extend(messages, convert, show)
        return (
            history,
            elided,
            memo.rendered,
            memo.placed,
        )  # the list only grows, or is replaced: it stays in step with this history


def _leading(messages: Sequence[BaseMessage]) -> frozenset[int]:
    """Identities of the system messages that a prompt begins with and that are text."""
    leading = takewhile(lambda message: message.type == "system", messages)
    return frozenset(id(message) for message in leading if isinstance(message.content, str))


def _shown(
    controls: Controls, message: Message, *, leading: frozenset[int], recall: bool
) -> tuple[Message, str | None]:
    if id(message.source) in leading:
        return controls.order.steady(message), None
    return controls.compact.show(message, recall=recall)


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

    __slots__ = ("_judge", "_line", "_span", "_taken", "_wired", "meter", "model", "span", "wire")

    def __init__(
        self, meter: Meter, model: BaseChatModel, span: Span, judge: Judge | None, wire: Wire | None = None
    ) -> None:
        """`span` becomes the current one, for the spans of the client inside. `judge` says what follows a failure; None where nothing does.

        `wire` takes what a streamed answer is made of.
        """
        self.wire = wire
        self._judge = judge
        self.meter = meter
        self.model = model
        self.span = span

    def __enter__(self) -> None:
        """The request is about to leave."""
        self._taken = model_taken.set(True)
        self._wired = wire_var.set(self.wire)
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
                failure = vendor_of(self.model).classify(error)
                self.meter.rejected = failure.rejected
                self.meter.outage = failure.transient or failure.exhausted
                self.meter.answered = failure.rejected and not self.meter.outage
                self.meter.again, self.meter.asked_ms = False, _asked_ms(error) if self.meter.outage else None
                if self._judge is not None:
                    self._judge(error, failure, self.meter)
        if self._span is not None:
            otel_context.detach(self._span)
        second_line.reset(self._line)
        wire_var.reset(self._wired)
        model_taken.reset(self._taken)


def _asked_ms(error: BaseException) -> int | None:
    asked_s = wait_asked(error, LONGEST_REST_S)
    return None if asked_s is None else round(asked_s * 1_000)


def response_of(message: BaseMessage, model: BaseChatModel, source: object, *, provider: str) -> ModelResponse:
    """What an answer of `provider`'s says, in the core's words. `source` is handed back to user code untouched."""
    vendor = vendor_of(model)
    uses = tool_uses_of(message)
    metadata = cast("Mapping[str, Any]", message.response_metadata)
    answered = metadata.get("model_name") or metadata.get("model") or metadata.get("model_id")
    return _response(
        text=text_of(message),
        tool_uses=uses,
        usage=usage_of(message, provider),
        hosted_uses=vendor.hosted_uses(message),
        finish=vendor.finish(message),
        model=str(answered) if answered else None,
        served=served_in(metadata),
        cached=_from_cache(message, model),
        invalid=any(use.args is None for use in uses),
        source=source,
    )


def completion_response(result: LLMResult) -> ModelResponse:
    """What a completion model's answer says. Its tokens are in `llm_output`, where its client reports any."""
    output: Mapping[str, Any] = result.llm_output or {}
    counts: Mapping[str, Any] = output.get("token_usage") or {}
    usage = None
    if counts.get("prompt_tokens") is not None and counts.get("completion_tokens") is not None:
        usage = Usage(input=int(counts["prompt_tokens"]), output=int(counts["completion_tokens"]))
    texts = [generation.text for several in result.generations for generation in several]
    return ModelResponse(text="\n".join(texts), usage=usage, source=result)


def _from_cache(message: BaseMessage, model: BaseChatModel) -> bool:
    """Whether LangChain's own LLM cache answered: it alone writes a total cost of 0 into the usage."""
    if model.cache is False or (model.cache is None and get_llm_cache() is None) or not isinstance(message, AIMessage):
        return False
    usage = cast("Mapping[str, Any]", message.usage_metadata or {})
    return usage.get("total_cost") == 0
