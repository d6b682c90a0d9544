"""What is charged for an answer whose usage nobody reported: by what governor saw of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.tokens import LEAST_RATIO, REQUEST_FRAMING
from governor.usage import Usage
from governor.values import replace

if TYPE_CHECKING:
    from governor.meter import Meter
    from governor.plans import Quote

__all__ = ["OBSERVED_MARGIN", "arrived", "observed"]

OBSERVED_MARGIN = (11, 10)
"""What governor counted of an answer itself, by the estimator alone, is charged at 1.1 times: a provider's bill misses nothing."""
BROKEN_MARGIN = (103, 100)
"""Prompt and answer of a broken stream are charged at 1.03 times their counts, which are calibrated to the highest ratio seen."""
IN_FLIGHT = 4
"""Least output tokens that were on their way when a reader left: 50 ms at 80 tokens a second."""
USUAL_FRAMING = 4
"""Tokens that a provider really puts around a request: 3 at OpenAI (its cookbook on counting tokens), 4 at Claude. `REQUEST_FRAMING` is
held for it, which of a tiny prompt is the larger part."""


def observed(quote: Quote, output: int) -> Usage:
    """Usage by governor's own count: the whole prompt at its bound, and the output seen with its margin, never beyond the clamp."""
    times, per = OBSERVED_MARGIN
    counted = -(-output * times // per)
    clamp = quote.request.max_output_tokens
    return Usage(
        input=quote.request.input_tokens,
        output=counted if clamp is None else min(counted, clamp),
        estimated=True,
    )


def arrived(quote: Quote, meter: Meter, ratios: tuple[int, int]) -> Usage:
    """The whole prompt, and the output that arrived or was on its way, calibrated and with its margin.

    Never beyond the clamp, unless what arrived is itself: a provider that ignored the limit is owed all of it.
    """
    times, per = BROKEN_MARGIN
    of_prompt, of_answer = ratios
    underway = max(meter.largest, IN_FLIGHT)
    counted = -(-(meter.output_tokens + underway) * of_answer * times // (1_000 * per))
    clamp = quote.request.max_output_tokens
    if clamp is not None:
        counted = min(counted, max(clamp, meter.output_tokens * LEAST_RATIO // 1_000))
    if meter.usage is not None and meter.usage.possible:
        return replace(meter.usage, output=max(counted, meter.usage.output), estimated=True)
    sent = max(1, quote.estimated - REQUEST_FRAMING + USUAL_FRAMING)
    text = -(-sent * of_prompt * times // (1_000 * per))
    prompt = min(quote.request.input_tokens, text + quote.media)
    return replace(Usage(output=counted, estimated=True), **{_dearest_class(quote, meter): prompt})


def _dearest_class(quote: Quote, meter: Meter) -> str:
    """The class in which the provider bills the prompt at most: a cache write only where the request asked for one."""
    if quote.rates is None or meter.cache_ttl == "none":
        return "input"
    rates = quote.rates.at(quote.request.input_tokens)
    if meter.cache_ttl == "1h" and rates.cache_write_1h > max(rates.input, rates.cache_write_5m):
        return "cache_write_1h"
    return "cache_write_5m" if rates.cache_write_5m > rates.input else "input"
