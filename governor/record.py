"""What the path writes down: changes of the run's state, and the facts of a call for the trace (numbers, never content)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from governor.effects import Decided, Flow, Learn, Measured, Remember, ask
from governor.runs import Lane, PromptSums, RunState
from governor.tokens import estimate_answer
from governor.usage import NO_USAGE, Usage
from governor.values import cheap, copier, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.calls import ModelRequest, ModelResponse, ToolCall, ToolResult
    from governor.controls import Controls
    from governor.controls.prefix import Compared
    from governor.effects import Value
    from governor.ledger import Lease
    from governor.plans import Judgement, Quote, Routed, Rung, ToolQuote, Viewed
    from governor.runs import Sent, Steady

__all__ = [
    "LANES",
    "Finished",
    "after_failed_tool",
    "after_model",
    "after_tool",
    "answered_facts",
    "begin_model",
    "begin_tool",
    "failed_facts",
    "lane_after",
    "latest_steady",
    "learned",
    "record_failed_model",
    "record_failed_tool",
    "record_model",
    "record_tool",
]

_changed, _left, _added = copier(RunState), copier(Lane), copier(PromptSums)


LANES = 64
"""Lanes that a run's state remembers. Every branch of a fan-out is a lane and a thread's next run takes them over, so without a bound
the state of a long thread would grow for ever. The one used longest ago goes; its history is then shown whole again."""


def begin_model(state: RunState) -> tuple[RunState, RunState]:
    """Count the call and take the waiting nudge; answers the state as it was, with the new count."""
    counted = _changed(state, model_calls=state.model_calls + 1)
    waiting = state.loop.note is not None or state.loop.cut
    taken = replace(counted, loop=replace(state.loop, note=None, cut=False)) if waiting else counted
    return taken, counted


def begin_tool(state: RunState) -> tuple[RunState, RunState]:
    """Count the attempt; answers the state with the new count."""
    counted = _changed(state, tool_calls=state.tool_calls + 1)
    return counted, counted


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What came of a model call."""

    usage: Usage
    response: ModelResponse
    judged: Judgement
    chanted: bool = False
    """Whether the answer said the same over and over."""
    compared: Compared | None = None
    """Its prompt beside the one before it; None for an answer that no provider gave."""


def after_model(
    controls: Controls,
    reserved: tuple[Quote, Lease, Rung],
    routed: Routed,
    viewed: Viewed,
    finished: Finished,
    now: int,
) -> Callable[[RunState], tuple[RunState, RunState | None]]:
    """The change that a finished model call makes: loop state, routing signals, its rung, and the lane with what is cached now.

    It answers the state; None comes of a store that is lost.
    """
    quote, lease, rung = reserved
    request, usage, response, compared = quote.request, finished.usage, finished.response, finished.compared
    cut = viewed.decision.reason is not None and viewed.decision.reason.code == "context.cut"
    sent = compared.sent if compared else viewed.lane.sent
    lane = lane_after(viewed.lane, request, usage, now, cut=cut and not viewed.decision.observed, sent=sent)

    def apply(state: RunState) -> tuple[RunState, RunState | None]:
        billed = 0 if response.cached else usage.total
        state = controls.loop.observe_model(state, request.call, response, now, billed, chanted=finished.chanted)
        block = state.route.tier
        state = controls.route.observe_model(state, request, finished.judged, routed)
        raised = request.tier is not None and request.tier in (block, state.route.tier)
        state = controls.ladder.observe(state, request.call, rung, lease, quote, response)
        lanes = {key: kept for key, kept in state.lanes.items() if key != request.call.lane}
        steady = latest_steady(state.lanes.get(request.call.lane), request.call.steady)
        lanes[request.call.lane] = _left(lane, steady=steady, escalated=raised)
        if len(lanes) > LANES:
            del lanes[next(iter(lanes))]
        prompts = state.prompts if compared is None else _summed(state.prompts, compared)
        state = _changed(state, lanes=lanes, prompts=prompts)
        return state, state

    return apply


def lane_after(
    before: Lane, request: ModelRequest, usage: Usage, now: int, *, cut: bool = False, sent: Sent | None = None
) -> Lane:
    """The lane with what is cached once a request was answered. `before` counts it already; `cut`: it was cut for this request."""
    model, messages = str(request.model), request.call.history.messages
    return _left(
        before,
        last_at_ms=now,
        model=model,
        tier=request.tier,
        prefix_tokens=usage.prompt,
        output_tokens=usage.output,
        others=before.beside(model, cut=cut),
        since=before.since if before.model == model else before.calls,
        previous_last=messages[-1].key if messages else None,
        sent=sent,
    )


def latest_steady(kept: Lane | None, seen: tuple[Steady, ...]) -> tuple[Steady, ...]:
    """What was seen of a lane's system texts, by whichever of two calls side by side saw more of it."""
    others = kept.steady if kept is not None else ()
    if others is seen or not others:
        return seen
    both = [mine if mine.changes >= other.changes else other for mine, other in zip(seen, others, strict=False)]
    return (*both, *seen[len(both) :], *others[len(both) :])


def _summed(sums: PromptSums, compared: Compared) -> PromptSums:
    move, more = compared.move, compared.sums
    moves = sums.moves
    if move is not None:
        moves = {**moves, move.cause: moves.get(move.cause, 0) + 1}
    if more is None:
        return sums if move is None else _added(sums, moves=moves)
    return _added(
        sums,
        tokens=sums.tokens + more.tokens,
        ideal=sums.ideal + more.ideal,
        read=sums.read + more.read,
        cost=sums.cost + more.cost,
        cached=sums.cached + more.cached,
        uncached=sums.uncached + more.uncached,
        moves=moves,
    )


def after_tool(
    controls: Controls, call: ToolCall, result: ToolResult, now: int
) -> Callable[[RunState], tuple[RunState, None]]:
    """The change that a finished tool call makes: loop state, routing signals, the names that sequence rules read."""

    def apply(state: RunState) -> tuple[RunState, None]:
        state = controls.loop.observe_tool(state, call, result, now)
        state = controls.route.observe_tool(state, call, result)
        if call.name not in state.tools_used:
            state = replace(state, tools_used=(*state.tools_used, call.name))
        return state, None

    return apply


def after_failed_tool(
    controls: Controls, call: ToolCall, failure: ToolResult, now: int
) -> Callable[[RunState], tuple[RunState, None]]:
    """The change that a tool call which raised makes: the loop control sees it as the model will, whoever words the answer."""
    return lambda state: (controls.loop.observe_tool(state, call, failure, now), None)


def record_model(
    quote: Quote, routed: Routed, viewed: Viewed, finished: Finished, controls: Controls, now: int
) -> Flow[Finished]:
    """Emit the facts of a model call that was sent at `now`, and teach the estimator what the provider counted.

    Answers what came of the call, with its prompt beside the one before it in its lane.
    """
    request, usage, response, judged = quote.request, finished.usage, finished.response, finished.judged
    yield from learned(quote, routed, usage, response, answer=request.call.streaming)
    if judged.decision.reason is not None:
        yield from ask(Decided(request.call.step, judged.decision))
    if not response.cached:
        finished = replace(finished, compared=(yield from _compared(quote, viewed, usage, controls, now)))
    sums = finished.compared.sums if finished.compared else None
    yield from ask(Measured(partial(answered_facts, quote, routed, viewed, usage, response, sums)))
    return finished


def learned(quote: Quote, routed: Routed, usage: Usage, response: ModelResponse, *, answer: bool = False) -> Flow[None]:
    """Teach the estimator what the provider counted; of the `answer` too, for calls whose answer may have to be counted, streams.

    Nothing is learned where several models may have answered, since each counts tokens in its own way, and nothing about the density of
    text from a prompt with pictures.
    """
    several = response.fell_back or (routed.rates is not None and routed.rates.answering)
    if several or not usage.prompt or usage.estimated or response.cached:
        return
    model = quote.request.model
    if not quote.media:
        yield from ask(Learn(model, quote.estimated, usage.prompt))
    if answer:
        written = estimate_answer(response.text, response.tool_uses)
        yield from ask(Learn(model, written, usage.output - usage.reasoning, output=True))


def _compared(quote: Quote, viewed: Viewed, usage: Usage, controls: Controls, now: int) -> Flow[Compared]:
    """Hold an answered prompt beside the one before it; where it does not extend that one, the trace says why."""
    request = quote.request
    call, remembered = request.call, controls.prefix.remember(request)
    before = yield from ask(Remember(call.step.run, call.lane, remembered))
    compared = controls.prefix.compare(request, viewed, usage, quote.rates, now, remembered=remembered, before=before)
    if compared.move is not None:
        yield from ask(Decided(call.step, controls.prefix.told(compared.move)))
    return compared


def record_failed_model(
    quote: Quote, routed: Routed, viewed: Viewed, seen: Usage | None, *, billed: bool
) -> Flow[None]:
    """Emit the facts of a model call that failed or was broken off.

    They are what there is evidence of; without any, its worst case if it may have been billed, else nothing.
    """
    yield from ask(Measured(partial(failed_facts, quote, routed, viewed, seen, billed=billed)))


def answered_facts(
    quote: Quote,
    routed: Routed,
    viewed: Viewed,
    usage: Usage,
    response: ModelResponse,
    sums: PromptSums | None = None,
) -> dict[str, Value]:
    """What the trace says of a model call that was answered. `sums`: what its prompt came to and would have otherwise, if known."""
    cost = quote.rates.cost(usage) if quote.rates and not response.cached else 0
    attributes = _facts(quote, routed, viewed, usage, cost + usage.fees)
    attributes["governor.cached_response"] = response.cached
    if sums is not None:
        attributes["governor.cache.ideal_tokens"] = sums.ideal
        attributes["governor.cache.read_of_ideal_tokens"] = sums.read
        attributes["governor.context.cost_nano_usd"] = sums.cost
        attributes["governor.context.cached_nano_usd"] = sums.cached
        attributes["governor.context.uncached_nano_usd"] = sums.uncached
    attributes["gen_ai.response.model"] = response.model or quote.request.model.model
    attributes["gen_ai.response.finish_reasons"] = (response.finish,)
    if response.gateway:
        attributes |= {f"governor.gateway.{name}": value for name, value in response.gateway.items()}
    return attributes


def failed_facts(quote: Quote, routed: Routed, viewed: Viewed, seen: Usage | None, *, billed: bool) -> dict[str, Value]:
    """What the trace says of one that failed: what there is evidence of (`seen`), else its worst case if it may have been `billed`."""
    request = quote.request
    if seen is not None:
        cost = (quote.rates.cost(seen) if quote.rates else 0) + seen.fees
        return {**_facts(quote, routed, viewed, seen, cost), "governor.failed": True}
    usage = (
        Usage(input=request.input_tokens, output=request.max_output_tokens or 0, estimated=True) if billed else NO_USAGE
    )
    attributes = _facts(quote, routed, viewed, usage, quote.cost if billed else 0)
    attributes["governor.failed"] = True
    return attributes


def _facts(quote: Quote, routed: Routed, viewed: Viewed, usage: Usage, cost: int) -> dict[str, Value]:
    """What the trace says of any model call that was sent. `cost` is what the ledgers were charged, nano-USD."""
    request = quote.request
    attributes: dict[str, Value] = {
        "governor.tier": request.tier or "",
        "governor.route.reason": routed.decision.reason.code if routed.decision.reason else "",
        "governor.context.tokens_before": request.call.history.uncapped,
        "governor.context.tokens_after": viewed.view.tokens,
        "governor.budget.reserved_nano_usd": quote.cost,
        "governor.cost_nano_usd": cost,
        "governor.usage.estimated": usage.estimated,
        "gen_ai.provider.name": request.model.provider,
        "gen_ai.request.model": request.model.model,
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }
    if request.max_output_tokens is not None:
        attributes["gen_ai.request.max_tokens"] = request.max_output_tokens
    return attributes


def record_tool(call: ToolCall, result: ToolResult, quote: ToolQuote) -> Flow[None]:
    """Emit the facts of a tool call."""
    yield from ask(Measured(partial(_tool_facts, call, quote.fee, failed=result.failed)))


def record_failed_tool(call: ToolCall, quote: ToolQuote, *, billed: bool) -> Flow[None]:
    """Emit the facts of a tool call that raised: its fee is due unless the graph was interrupted before the tool did its work."""
    yield from ask(Measured(partial(_tool_facts, call, quote.fee if billed else 0, failed=True)))


def _tool_facts(call: ToolCall, cost: int, *, failed: bool) -> dict[str, Value]:
    return {
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
        "governor.tool.failed": failed,
        "governor.cost_nano_usd": cost,
    }
