"""One call beside the path's own: held, asked, charged by what came of it, learned from, recorded.

A summary, a rating, a sample, another tier's answer: who makes one says what it is for, and does with the answer what it wants.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from governor.controls.budget.answering import as_answered
from governor.effects import NOW, Counted, Decided, MeasuredBeside, Reserve, Sample, Summarise, ask
from governor.errors import RunStopped
from governor.ledger import Halted, Shortfall
from governor.plans import Viewed
from governor.record import answered_facts, failed_facts, learned
from governor.reserving import behind, release_or_settle, settle
from governor.runs import Lane
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.calls import ModelCall, ModelResponse
    from governor.controls import Controls
    from governor.effects import Flow, Value
    from governor.ledger import Lease
    from governor.plans import Quote, Routed
    from governor.usage import Usage

__all__ = ["Came", "Facts", "asked_beside", "held_beside", "without_what_is_left_out"]

Facts: TypeAlias = "Callable[[], dict[str, Value]]"


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of such a call."""

    response: ModelResponse
    quote: Quote
    """At the prices of the model that answered."""
    usage: Usage
    ended: int
    """When, milliseconds since the epoch."""


def held_beside(key: str, quote: Quote, escrow: str, controls: Controls, now: int) -> Flow[Lease | str]:
    """Hold what such a call may cost, under a key of its own; the reason where it may not be made.

    Nothing waits and nothing is refused: where others of this process wait for a rate, or a budget has no room, it is not made.
    """
    step = quote.request.call.step
    lease = (yield from behind(quote, controls, now)) or (
        yield from ask(Reserve(step.run, key, quote.holds, controls.budget.lease_ttl_ms, now, step.path, escrow))
    )
    if isinstance(lease, Halted):
        return "an operator halted the run"  # the next call's own reservation stops it
    if isinstance(lease, Shortfall):
        reason = controls.budget.refusal(lease).reason
        return reason.text if reason else "a budget has no room for it"
    for passed in lease.passed:
        yield from ask(Decided(step, controls.budget.alert(passed)))
    return lease


def asked_beside(
    effect: Summarise | Sample,
    reserved: tuple[Quote, Lease],
    routed: Routed,
    controls: Controls,
    now: int,
    *,
    purpose: str,
    told: Callable[[Facts, ModelResponse | None, int], Facts],
    call: ModelCall | None = None,
    first: Callable[[ModelResponse], Flow[None]] | None = None,
) -> Flow[Came | str]:
    """Make the call and settle it; in words what failed, where the provider did. `call`: whose it is in the trace, where not the quote's.

    `told` makes what the trace says of facts, the answer (None: it failed) and the milliseconds that it took. `first` is done between the
    answer and its payment. Raises what is no failure of the call: a run that has to stop, a cancellation; both are settled.
    """
    (quote, lease), step, meter = reserved, reserved[0].request.call.step, effect.meter
    call = call or quote.request.call
    shown = Viewed(view=quote.request.view, lane=Lane())
    try:
        response = yield from ask(effect)
    except BaseException as error:
        ended, ratios = (yield from ask(NOW)), (yield from ask(Counted(quote.request.model)))
        charged = controls.budget.broken(quote, meter, ratios, ended - now)
        yield from release_or_settle(step, lease, charged, ended)
        seen = controls.budget.broken_usage(quote, meter, ratios)
        failed = partial(failed_facts, quote, routed, shown, seen, billed=charged is not None)
        yield from ask(MeasuredBeside(call, now, told(failed, None, ended - now), purpose))
        if not isinstance(error, Exception) or isinstance(error, RunStopped):
            raise
        return f"the call failed with {type(error).__name__}"
    ended = yield from ask(NOW)
    quote = as_answered(quote, response, controls.budget.prices)
    usage = controls.budget.usage(quote, response, meter)
    if first is not None:
        yield from first(response)
    yield from settle(step, lease, controls.budget.amounts(quote, usage, ended - now), ended, free=response.cached)
    yield from learned(quote, routed, usage, response)
    facts = partial(answered_facts, quote, routed, shown, usage, response)
    yield from ask(MeasuredBeside(call, now, told(facts, response, ended - now), purpose))
    return Came(response=response, quote=quote, usage=usage, ended=ended)


def without_what_is_left_out(facts: Facts, response: ModelResponse | None, took_ms: int) -> Facts:
    """The facts of a call without what its view leaves out: that is counted with the call beside which it was made."""
    del response, took_ms

    def made() -> dict[str, Value]:
        found = facts()
        return {**found, "governor.context.tokens_before": found["governor.context.tokens_after"]}

    return made
