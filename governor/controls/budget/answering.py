"""At whose prices a call is settled, where another model may have answered than was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.prices import only
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelResponse
    from governor.plans import Quote
    from governor.prices import PriceBook

__all__ = ["as_answered"]


def as_answered(quote: Quote, response: ModelResponse, prices: PriceBook) -> Quote:
    """The quote at the prices of the model that answered.

    Another one may, under a name that several models serve, and where a gateway says that it fell back to another one. Where that is none
    that anybody can price, what the gateway says it cost is charged, else the dearest of those that serve, or all that was held.
    """
    rates, name = quote.rates, response.model
    if rates is None or not name or not (rates.answering or response.fell_back):
        return quote
    found = rates.of(name)
    if found is None:
        asked = quote.request
        found = prices.rates(replace(asked.model, model=name))
        found = found.scaled(asked.call.price_percents.get(asked.tier, 100)) if found else None
    if found is None or found.answering:
        if response.told_cost is None and rates.answering:
            return quote
        held = quote.cost - quote.fees
        found = only(held if response.told_cost is None else response.told_cost)
    return replace(quote, rates=found)
