"""Judging an answer, and asking the same tier again to see whether it agrees with itself: a sub-flow of the path.

Each further answer is a call of its own: reserved, settled and traced beside the one under way. It never takes what that one has left to
pay for a better tier's answer refused: whatever keeps it from being made, no room in a budget or a failing provider, leaves the comparison
with the answers that there are.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from governor.decisions import Decision
from governor.effects import NOW, Calibration, Counted, Learn, MeasuredBeside, Reserve, Sample, ask
from governor.errors import RunStopped
from governor.ledger import Lease
from governor.meter import Meter
from governor.plans import Viewed
from governor.record import answered_facts, failed_facts
from governor.reserving import lease_key, release_or_settle, settle
from governor.runs import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.calls import ModelRequest, ModelResponse
    from governor.controls import Controls
    from governor.effects import Flow, Value
    from governor.plans import Judgement, Quote, Routed
    from governor.runs import RunState

__all__ = ["judge", "normalised"]

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_WORDS = re.compile(r"\w+")


def judge(
    answered: tuple[Quote, ModelResponse],
    routed: Routed,
    state: RunState,
    controls: Controls,
    *,
    attempt: int,
    now: int,
) -> Flow[Judgement]:
    """What an answer was worth: by the gates, and where the policy asks for it by whether the same tier says the same again."""
    quote, response = answered
    call, request = quote.request.call, quote.request
    failed = controls.loop.fails_again(state, call, response) if response.tool_uses else None
    judged = controls.route.judge(state, request, response, routed, failed=failed)
    wanted = controls.route.samples(state, request, routed, judged)
    if not wanted or response.cached:
        return judged
    first, agreed, made = normalised(response), 1, 1
    for number in range(wanted):
        key = f"{lease_key(call.step, state, attempt)}.sample{number + 1}"
        other = yield from _sampled(request, routed, state, controls, key=key, now=now)
        if other is None:
            break
        made += 1
        agreed += normalised(other) == first
    if made == 1 or controls.route.agree(agreed, made):
        return judged
    return controls.route.disagreed(state, request, routed, agreed, made)


def _sampled(
    request: ModelRequest, routed: Routed, state: RunState, controls: Controls, *, key: str, now: int
) -> Flow[ModelResponse | None]:
    """One further answer, held, paid for and recorded; None where there is none to be had. Nothing waits and nothing is refused."""
    step = request.call.step
    ratio = yield from ask(Calibration(request.model))
    quote = controls.budget.quote(request, routed, ratio, now)
    if isinstance(quote, Decision):
        return None
    quote = controls.budget.with_grants(quote, state.grants)
    if controls.ladder.keeps:
        quote = controls.budget.keeping(quote, controls.ladder.final_output)
    quote, escrow = controls.shares.added(quote, step, state, now), controls.shares.escrow(step, state)
    lease = yield from ask(Reserve(step.run, key, quote.holds, controls.budget.lease_ttl_ms, now, step.path, escrow))
    if not isinstance(lease, Lease):
        return None
    return (yield from _asked(quote, lease, routed, controls, now))


def _asked(quote: Quote, lease: Lease, routed: Routed, controls: Controls, now: int) -> Flow[ModelResponse | None]:
    """Ask, and settle by what came of it. Raises what is no failure of the call: a run that has to stop, a cancellation."""
    call, meter = quote.request.call, Meter()
    shown = Viewed(view=quote.request.view, lane=Lane())
    try:
        response = yield from ask(Sample(quote.request, meter))
    except BaseException as error:
        ended, ratios = (yield from ask(NOW)), (yield from ask(Counted(quote.request.model)))
        charged = controls.budget.broken(quote, meter, ratios, ended - now)
        yield from release_or_settle(call.step, lease, charged, ended)
        seen = controls.budget.broken_usage(quote, meter, ratios)
        lost = partial(failed_facts, quote, routed, shown, seen, billed=charged is not None)
        yield from ask(MeasuredBeside(call, now, _beside(lost)))
        if not isinstance(error, Exception) or isinstance(error, RunStopped):
            raise
        return None
    ended = yield from ask(NOW)
    usage = controls.budget.usage(quote, response, meter)
    amounts = controls.budget.amounts(quote, usage, ended - now)
    yield from settle(call.step, lease, amounts, ended, free=response.cached)
    if usage.prompt and not usage.estimated and not response.cached and not quote.media:
        yield from ask(Learn(quote.request.model, quote.estimated, usage.prompt))
    facts = partial(answered_facts, quote, routed, shown, usage, response)
    yield from ask(MeasuredBeside(call, now, _beside(facts)))
    return response


def _beside(facts: Callable[[], dict[str, Value]]) -> Callable[[], dict[str, Value]]:
    """The facts of the call without what it left out: that is counted with the call beside which it was made."""

    def told() -> dict[str, Value]:
        made = facts()
        return {**made, "governor.context.tokens_before": made["governor.context.tokens_after"]}

    return told


def normalised(response: ModelResponse) -> str:
    """What an answer comes to, to compare it with others.

    Its tool calls; else JSON with its keys in order; else its last number; else its words, without case and punctuation.

    The last number is what self-consistency votes on in the literature: the way there is said differently each time.
    """
    if response.tool_uses:
        calls = sorted(f"{use.name} {_canonical(use.args)}" for use in response.tool_uses)
        return "\n".join(calls)
    text = response.text.strip()
    try:
        return _canonical(json.loads(text))
    except (ValueError, RecursionError):
        pass
    numbers = _NUMBER.findall(text)
    if numbers:
        plain = str(numbers[-1]).replace(",", "").lstrip("+")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return " ".join(_WORDS.findall(text.casefold()))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
