"""The judge's call: a flow of its own beside the path, reserved, priced and traced like any call, and never routed itself.

A call waits for its rating no longer than the policy says; then the default stands, the judge's call goes on and is settled, and its
rating serves the next step like this one. Whatever keeps it from being of use leaves the step to the next estimator.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from governor.asides import Aside
from governor.beside import Came, asked_beside, held_beside
from governor.calls import ModelRequest
from governor.controls.rate import view_of
from governor.decisions import Decision, Reason, Verdict
from governor.effects import Calibration, Decided, Summarise, ask
from governor.ledger import Hold, Unit
from governor.meter import Meter
from governor.reserving import lease_key
from governor.routing.judge import DIMENSIONS, Rating, parsed
from governor.values import replace

if TYPE_CHECKING:
    from governor.beside import Facts
    from governor.calls import ModelCall, ModelResponse
    from governor.controls import Controls
    from governor.controls.rate import ToRate
    from governor.effects import Flow, Value
    from governor.ledger import Lease
    from governor.plans import Quote
    from governor.runs import RunState

__all__ = ["LEDGER", "with_rating"]

LEDGER = "judge"
"""What the ledger of a run's ratings begins with, and what stands for the budget in its alerts."""
_DAY_MS, _IDLE_DAYS = 86_400_000, 30


def with_rating(call: ModelCall, state: RunState, controls: Controls, now: int) -> Flow[None]:
    """Have the call rated, if somebody is to be asked, and wait for that as long as the policy says. Never raises for the judge's sake."""
    asked = controls.rate.asking(state, call)
    if asked is not None:
        yield from ask(Aside(partial(_rated, asked, state, controls, now), asked.wait_ms))


def _rated(asked: ToRate, state: RunState, controls: Controls, now: int) -> Flow[None]:
    """Ask once for each step like this one, however many calls wait for it."""
    ratings = controls.rate.ratings
    if not ratings.ask(asked.key):
        return
    found: Rating | str = "it was broken off"
    try:
        reserved = yield from _reserved(asked, state, controls, now)
        found = reserved if isinstance(reserved, str) else (yield from _answered(asked, reserved, controls, now))
    finally:
        ratings.answer(asked.key, found if isinstance(found, Rating) else None)
    if isinstance(found, str):
        yield from ask(Decided(asked.call.step, _unrated(asked, found)))


def _reserved(asked: ToRate, state: RunState, controls: Controls, now: int) -> Flow[tuple[Quote, Lease] | str]:
    """What the question may cost, held under a key of its own; the reason where it may not be asked. Nothing waits, nothing is refused."""
    step, model = asked.call.step, asked.routed.model
    if asked.max_cost is not None and asked.routed.rates is None:
        return f"nobody knows the price of {model}, and `max_cost` is money"
    ratio = yield from ask(Calibration(model))
    request = ModelRequest(
        call=asked.call, tier=asked.routed.tier, model=model, view=view_of(asked), max_output_tokens=asked.output
    )
    quote = controls.budget.quote(request, asked.routed, ratio, now)
    if isinstance(quote, Decision):
        return quote.reason.text if quote.reason else "it was refused"
    quote = controls.budget.keeping(
        controls.budget.with_grants(quote, state.grants), 0
    )  # ratings never take the last of it
    quote, escrow = controls.shares.added(quote, step, state, now), controls.shares.escrow(step, state)
    quote = replace(quote, holds=(*quote.holds, _own_line(asked, quote, now)))
    key = f"{lease_key(step, state, 1)}.judge"
    lease = yield from held_beside(key, quote, escrow, controls, now)
    return lease if isinstance(lease, str) else (quote, lease)


def _own_line(asked: ToRate, quote: Quote, now: int) -> Hold:
    """What the run's ratings cost, on a ledger of their own, under `max_cost` where there is one; for a month after the last."""
    run = asked.call.step.run
    return Hold(
        ledger=f"{LEDGER}/run={run.id}",
        unit=Unit.NANO_USD,
        amount=quote.cost,
        limit=asked.max_cost,
        budget=LEDGER,
        scope=f"run={run.id}",
        written=asked.written,
        expires_ms=(now // _DAY_MS + _IDLE_DAYS) * _DAY_MS,
    )


def _answered(asked: ToRate, reserved: tuple[Quote, Lease], controls: Controls, now: int) -> Flow[Rating | str]:
    """Ask. The rating, or why there is none."""
    asking = Summarise(reserved[0].request, Meter(), appended=False, form=asked.form)
    came = yield from asked_beside(
        asking, reserved, asked.routed, controls, now, purpose="judge", told=partial(_told, asked), call=asked.call
    )
    return parsed(came.response) if isinstance(came, Came) else came


def _told(asked: ToRate, facts: Facts, response: ModelResponse | None, took_ms: int) -> Facts:
    """The facts of the judge's call and its scores, as they are learned from: `governor.judge.key` names the step without its text."""
    found = "the call failed" if response is None else parsed(response)

    def told() -> dict[str, Value]:
        made: dict[str, Value] = {**facts(), "governor.judge": True, "governor.judge.key": asked.key.hex()[:32]}
        made["governor.judge.took_ms"] = took_ms
        made["governor.judge.in_time"] = took_ms <= asked.budget_ms
        if isinstance(found, str):
            made["governor.judge.unusable"] = found
        else:
            made |= {f"governor.judge.{name}": score for name, score in zip(DIMENSIONS, found.scores, strict=True)}
        return made

    return told


def _unrated(asked: ToRate, why: str) -> Decision:
    text = f"{asked.routed.tier} gave no rating of this step: {why}. The other estimators decide."
    return Decision(
        control="rate", verdict=Verdict.ALLOW, reason=Reason(code="route.unrated", rule="routing.estimator", text=text)
    )
