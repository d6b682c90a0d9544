"""The budget control: what a call may cost at most, on which ledgers that is held, and what it did cost.

The reservation is an upper bound of the bill: the input estimate times a learned ratio, every prompt token at its dearest class, and
an output length that is *set on the request*. Without that clamp a reservation bounds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from governor.calls import ModelRequest
from governor.controls.budget.amounts import MONEY, as_held, by_unit, prompt_estimate, with_amounts
from governor.controls.budget.blanks import Blank, Blanks
from governor.controls.budget.evidence import arrived, observed
from governor.controls.budget.grants import granted, raised
from governor.controls.budget.hosted import HostedFees, with_fees, with_worst_fees
from governor.controls.budget.lines import TOOL_UNITS, MissingScope, ledgers_of, lines
from governor.controls.budget.rates import Rates
from governor.controls.budget.texts import (
    alerted,
    exhausted,
    missing_scope,
    rate_full,
    share_used_up,
    stopped_by_operator,
    unknown_price,
)
from governor.decisions import Decision
from governor.ledger import Hold, Unit
from governor.media_tokens import audio_tokens, media_tokens
from governor.models import facts
from governor.plans import Quote, ToolQuote
from governor.policy.matchers import matches_glob
from governor.policy.pricing import refuse_unpriced
from governor.policy.scalars import MAX_AMOUNT, ScalarError
from governor.prices import ORDINARY
from governor.tokens import estimate_message
from governor.usage import Usage
from governor.values import copier, maker, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.calls import ModelResponse, RunRef, StepRef, ToolCall
    from governor.controls.budget.lines import Line
    from governor.ledger import Halted, Shortfall
    from governor.meter import Meter
    from governor.plans import Routed
    from governor.policy.pricing import ErrorAt
    from governor.policy.rates import WhenFull
    from governor.policy.schema import Policy
    from governor.prices import PriceBook

__all__ = ["BudgetControl"]

Q = TypeVar("Q", Quote, ToolQuote)
_quote, _tool_quote = maker(Quote), maker(ToolQuote)
_clamped, _of = copier(ModelRequest), copier(Hold)

MIN_OUTPUT = 256
"""Shortest answer, in tokens, worth asking for when the budget is short."""
USEFUL_OUTPUT = 1_024
"""An answer of this length is given whole, if it fits; of what fits beyond, a quarter, so that parallel calls fit beside it."""
LEASE_TTL_MS = 15 * 60_000
"""Longer than any provider's own timeout of a model call. Past it a lease is charged at its worst case until its call reports."""


class BudgetControl:
    """Quotes, shrinks, refuses and settles calls against the budgets of one policy."""

    def __init__(self, policy: Policy, prices: PriceBook, error_at: ErrorAt | None = None) -> None:
        """Read the budgets. Raises PolicyError, made by `error_at`, when a limit in money meets a tier without a known price."""
        every = lines(policy)
        self.lease_ttl_ms = LEASE_TTL_MS
        self.prices = prices
        self._lines = every
        self._budgets = {budget.id: budget for budget in policy.budgets}
        self._for_models = tuple(line for line in every if line.for_models)
        self._blanks = Blanks(self._for_models)
        self._tool_blanks = Blanks([line for line in every if line.unit in TOOL_UNITS], self._counts_tool)
        self._rates = Rates(policy)
        self._hosted = HostedFees(self._for_models)
        self._fees = tuple(budget for budget in policy.budgets if budget.fee is not None)
        self._clamps = any(line.counts_output for line in self._for_models)
        self.counts_models = any(line.limit is not None for line in self._for_models) or (
            policy.mode == "enforce" and bool(self._for_models)
        )
        """Whether each attempt at a model call has to be one call of the path: some budget that is not a mere observation counts them."""
        self.bounds_money = any(line.limit is not None and line.unit is Unit.NANO_USD for line in self._for_models)
        """Whether a limit in money must not be passed: then only models may answer that take an output limit."""
        # With `cache: off` the graph's own cache markers stay, and those may ask for the dearer hour.
        self._ttl: Literal["5m", "1h"] = "5m" if policy.context.cache.ttl == "5m" else "1h"
        self._observes = policy.broken_streams == "observed"
        refuse_unpriced(policy, prices, error_at)

    def quote(self, request: ModelRequest, routed: Routed, ratio: int, now: int) -> Quote | Decision:
        """The holds of a model call at its upper bound, and the request with its clamp. `ratio`: real tokens per 1,000 estimated.

        A Decision when a budget needs a scope that the run does not name, or a price that nobody knows.
        """
        estimated = prompt_estimate(request)
        shown, media = request.view.media, 0
        if shown:
            estimated -= sum([each.counted for each in shown])
            media = media_tokens(request.model, shown)
        bound = -(-estimated * ratio // 1_000) + media
        clamp, output = self._output(request, routed, bound)
        percent = request.call.price_percents.get(request.tier, 100)
        rates = routed.rates.scaled(percent) if routed.rates else None
        if rates is not None and rates.audio and shown:
            rates = rates.hearing(min(media, audio_tokens(shown)))
        hosted = self._hosted.held(request)
        if isinstance(hosted, Decision):
            return hosted
        cost = hosted.fees + (rates.worst(bound, output, ttl=self._ttl) if rates else 0)
        blank = self._blanks.of(request.call.step, now) if rates is not None else self._unpriced(request, now)
        if isinstance(blank, Decision):
            return blank
        rated = self._rates.of(request.call.step, routed.tier, routed.model, now)
        if isinstance(rated, Decision):
            return rated
        blank = blank.with_more(rated)
        return _quote(
            request=_clamped(request, max_output_tokens=clamp, input_tokens=bound, hosted_uses=hosted.uses),
            holds=with_amounts(blank.holds, blank.weighings, bound, output, cost, hosted.fees),
            cost=cost,
            rates=rates,
            estimated=estimated,
            media=media,
            weighings=blank.weighings,
            fees=hosted.fees,
        )

    def shrink(self, quote: Quote, shortfall: Shortfall) -> Quote | None:
        """The same call with a shorter answer that fits what is left, or None when that is too short to be worth asking for.

        It does not take all that is left: a long answer that nobody asked for must not keep parallel branches from theirs.
        """
        if shortfall.hold.per_ms:
            return None
        request = quote.request
        current, bound = request.max_output_tokens, request.input_tokens
        most = self._affordable(quote, shortfall)
        if current is None or most is None or not min(MIN_OUTPUT, current) <= most < current:
            return None
        fits = min(most, max(USEFUL_OUTPUT, most // 4))
        cost = quote.fees + (quote.rates.worst(bound, fits, ttl=self._ttl) if quote.rates else 0)
        holds = with_amounts(quote.holds, quote.weighings, bound, fits, cost, quote.fees)
        return replace(quote, request=replace(request, max_output_tokens=fits), holds=holds, cost=cost)

    @staticmethod
    def with_grants(quote: Q, grants: Mapping[str, int]) -> Q:
        """The quote under limits that a person raised for this run."""
        return replace(quote, holds=raised(quote.holds, grants)) if grants else quote

    def keeping(self, quote: Q, final_output: int) -> Q:
        """The quote, under limits that keep something for a last answer.

        That is 5% of the limit, or the worst case of such an answer on half as much history again as this call has, if that is more;
        never more than half.
        """
        request = quote.request if isinstance(quote, Quote) else None
        needed: dict[Unit, int] = {}
        bound, weighings = 0, quote.weighings if isinstance(quote, Quote) else ()
        if request is not None and isinstance(quote, Quote):
            bound = request.input_tokens * 3 // 2
            cost = quote.fees + (quote.rates.worst(bound, final_output, ttl=self._ttl) if quote.rates else 0)
            needed = by_unit(bound, final_output, cost, quote.fees)
        holds = list(quote.holds)
        for position, hold in enumerate(holds):
            if hold.limit is not None and not hold.per_ms and hold.unit is not Unit.TOOL_CALLS:
                weighing = weighings[position] if weighings else None
                last = weighing.held(bound, final_output) if weighing else needed.get(hold.unit, 1)
                holds[position] = _of(hold, kept=min(hold.limit // 2, max(hold.limit // 20, last)))
        return replace(quote, holds=tuple(holds))

    def escrowed(self, step: StepRef, now: int, grants: Mapping[str, int], *, keeps: bool) -> tuple[Hold, ...]:
        """What branches have slices of: holds of nothing, with the limit of each hard budget with `split: escrow`.

        `keeps`: without what the ladder keeps for the last answer of the run.
        """
        found: list[Hold] = []
        for line in self._lines:
            if line.budget.split == "escrow" and line.limit is not None:
                try:
                    found.append(line.hold(step, 0, now))
                except MissingScope:  # a call's refusal says so; a tool's own budget is no branch's
                    continue
        quote = self.with_grants(_tool_quote(holds=tuple(found), fee=0), grants)
        return (self.keeping(quote, 0) if keeps else quote).holds

    def more(self, rule: str, ledger: str, answer: object) -> dict[str, int]:
        """What a person's answer adds to the limits of budget `rule`, by ledger. Raises ScalarError when it grants nothing."""
        budget = self._budgets.get(rule)
        if budget is None:
            raise ScalarError(f"the policy has no budget {rule} any more", "Resume without an answer.")
        return granted(answer, budget, ledger)

    def answers(self, rule: str) -> dict[str, str]:
        """The units in which budget `rule` can be given more, with their limits as written."""
        budget = self._budgets.get(rule)
        return {line.field: line.written for line in self._lines if line.budget is budget}

    def ledgers(self, run: RunRef, now: int) -> tuple[str, ...]:
        """Keys of the ledgers that a run counts on, or what they begin with."""
        found = (ledgers_of(line, run, now) for line in self._lines)
        return tuple(dict.fromkeys(key for key in found if key is not None))

    def refusal(self, shortfall: Shortfall) -> Decision:
        """What a reservation that did not fit becomes: a stop where a budget is used up, a denial where a share or a rate is."""
        if shortfall.hold.share:
            return share_used_up(shortfall)
        return rate_full(shortfall, self.when_full(shortfall)) if shortfall.hold.per_ms else exhausted(shortfall)

    def when_full(self, shortfall: Shortfall) -> WhenFull:
        """What the policy says of a call for which a rate has no room."""
        return self._rates.when_full(shortfall)

    def halt(self, halted: Halted) -> Decision:
        """The stop of a call whose run, tenant or fleet an operator halted."""
        return stopped_by_operator(halted)

    def alert(self, passed: Shortfall) -> Decision:
        """What is reported when a reservation passes a soft or observed limit: nobody is stopped."""
        return alerted(passed)

    def usage(self, quote: Quote, response: ModelResponse, meter: Meter) -> Usage:
        """What the provider reported, else governor's own count, marked as estimated and on the high side. Fees included."""
        reported = response.usage or meter.usage
        if reported is not None and reported.possible:
            if (
                response.served == ORDINARY and not reported.tier
            ):  # asked for as a dearer class, answered as an ordinary call
                reported = replace(reported, tier=ORDINARY)
            return with_fees(reported, quote, response)
        counted = max(meter.output_tokens, estimate_message(response.text, response.tool_uses))
        return with_fees(observed(quote, counted), quote, response)

    def amounts(self, quote: Quote, usage: Usage, elapsed_ms: int = 1) -> tuple[int, ...]:
        """What each hold of `quote` is settled at, in their order."""
        prompt, output = usage.prompt, usage.output
        cost = (quote.rates.cost(usage) if quote.rates else 0) + usage.fees
        counted = by_unit(prompt, output, cost, usage.fees)
        counted[Unit.MILLISECONDS] = max(1, elapsed_ms)
        amounts = [counted.get(hold.unit, 1) for hold in quote.holds]
        for position, weighing in enumerate(quote.weighings):
            if weighing is not None:
                amounts[position] = weighing.used(usage)
        return tuple([min(amount, MAX_AMOUNT) for amount in amounts])

    def broken(
        self, quote: Quote, meter: Meter, ratios: tuple[int, int], elapsed_ms: int = 1
    ) -> tuple[int, ...] | None:
        """What a call that failed or was broken off is settled at, by evidence; None when nothing can have been billed.

        `ratios`: real tokens per 1,000 estimated ones, of prompts and of answers.

        A provider's last word on usage counts as it is. What arrived of a stream counts where it is known to be all there was
        (`Meter.observed`). Anything else is charged at its worst case: what a *reader* saw is no measure, since a provider is ahead of its
        reader, reasons unseen, and may go on after the reader has left.
        """
        usage = self.broken_usage(quote, meter, ratios)
        if usage is not None:
            return self.amounts(quote, usage, elapsed_ms)
        if not meter.dispatched or meter.rejected:
            return None
        return tuple(as_held(hold, elapsed_ms) for hold in quote.holds)

    def broken_usage(self, quote: Quote, meter: Meter, ratios: tuple[int, int]) -> Usage | None:
        """Usage of a call that broke off, as far as there is evidence; None where there is none."""
        if not meter.dispatched or meter.rejected:
            return None
        if meter.final and meter.usage is not None and meter.usage.possible:
            return with_worst_fees(meter.usage, quote)
        seen = arrived(quote, meter, ratios) if meter.observed and self._observes else None
        return with_worst_fees(seen, quote)

    def quote_tool(self, call: ToolCall, now: int) -> ToolQuote | Decision:
        """Holds of a tool call: its count, its fee, its time. A Decision when a budget needs a scope that the run does not name."""
        blank = self._tool_blanks.of(call.step, now, call.name)
        if isinstance(blank, Decision):
            return blank
        holds, fee = blank.holds, self._fee(call.name)
        if fee:
            holds = tuple(replace(each, amount=fee) if each.unit in MONEY else each for each in holds)
        return _tool_quote(holds=holds, fee=fee)

    def tool_amounts(self, quote: ToolQuote, elapsed_ms: int) -> tuple[int, ...]:
        """What each hold of a tool call is settled at: the fee and the count as held, the time that passed."""
        return tuple([as_held(hold, elapsed_ms) for hold in quote.holds])

    def _output(self, request: ModelRequest, routed: Routed, bound: int) -> tuple[int | None, int]:
        """The clamp to set on the request, and the output tokens to reserve.

        The shortest that anybody asked for; else the model's own maximum, as far as the window has room for it beside the prompt. That
        default is set on the request only when a budget would otherwise not hold: an unlimited policy changes no request.
        """
        limits = (request.call.max_output_tokens, request.max_output_tokens, routed.max_output_tokens)
        if limits != (None, None, None):
            shortest = min(tokens for tokens in limits if tokens is not None)
            return shortest, shortest
        known = facts(request.model)
        room = known.context_window - bound
        longest = min(known.max_output_tokens, room) if room >= MIN_OUTPUT else known.max_output_tokens
        return (longest if self._clamps else None), longest

    def _affordable(self, quote: Quote, shortfall: Shortfall) -> int | None:
        """Output tokens for which the hold that fell short fits what is left of its ledger; None when output is not what it counts."""
        unit, left, bound = shortfall.hold.unit, shortfall.remaining, quote.request.input_tokens
        if unit is Unit.NANO_USD and quote.rates is not None:
            return quote.rates.affordable_output(left - quote.fees, bound, ttl=self._ttl)
        for hold, weighing in zip(quote.holds, quote.weighings, strict=False):
            if weighing is not None and hold.ledger == shortfall.hold.ledger:
                return weighing.affordable_output(left, bound)
        return {Unit.TOKENS: left - bound, Unit.OUTPUT_TOKENS: left}.get(unit)

    def _unpriced(self, request: ModelRequest, now: int) -> Blank | Decision:
        """The holds of a model without a known price. A Decision by the first line that refuses, be it for that or for a missing scope."""
        step = request.call.step
        for line in self._for_models:
            if line.limit is None:
                continue
            if line.unit is Unit.NANO_USD:
                return unknown_price(line, request.model)
            try:
                line.hold(step, 1, now)
            except MissingScope as missing:
                return missing_scope(line, missing.scope)
        return self._blanks.of(step, now)

    def _counts_tool(self, line: Line, tool: str) -> bool:
        """Whether calls of a tool count on a line; on one in money only if they cost a fee."""
        return line.for_tool(tool) and (line.unit not in MONEY or self._fee(tool) > 0)

    def _fee(self, tool: str) -> int:
        """The dearest fee that a budget names for the tool: one call has one fee, however many budgets it counts on."""
        if not self._fees:
            return 0
        return max(
            (int(budget.fee or 0) for budget in self._fees if budget.tool is None or matches_glob(budget.tool, tool)),
            default=0,
        )
