"""At whose prices a call is settled, where another model may have answered than was asked for."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from governor.calls import ModelRef, ModelResponse
from governor.controls.budget.answering import as_answered
from governor.plans import Quote
from governor.policy.load import load
from governor.prices import PriceBook, Rates
from governor.usage import Usage

MILLION = Usage(input=1_000_000)


def rates(input_usd: int) -> Rates:
    nano = input_usd * 1_000_000_000
    return Rates(input=nano, output=nano, cache_read=nano, cache_write_5m=nano, cache_write_1h=nano)


BOOK = PriceBook(
    load(
        {"governor": 1, "name": "p", "tiers": {"t": {"model": "openai:known", "price": {"input": 9, "output": 9}}}}
    ).policy
)
SEVERAL = replace(rates(5), answering=(("small", rates(1)), ("big", rates(5))))


def charged(quoted: Rates | None, **said: Any) -> int | None:
    """Dollars of a million tokens, of a call that was held at seven."""
    request: Any = SimpleNamespace(
        model=ModelRef(provider="openai", model="asked"), tier="t", call=SimpleNamespace(price_percents={})
    )
    quote = Quote(request=request, holds=(), cost=7_000_000_000, rates=quoted)
    found = as_answered(quote, ModelResponse(**said), BOOK).rates
    return None if found is None else found.cost(MILLION) // 1_000_000_000


@pytest.mark.parametrize(
    ("quoted", "said", "dollars"),
    [
        (rates(5), {"model": "small"}, 5),
        (SEVERAL, {"model": "small"}, 1),
        (SEVERAL, {"model": "small-2026-01-01"}, 1),
        (SEVERAL, {"model": "big"}, 5),
        (SEVERAL, {"model": "nobodys"}, 5),
        (SEVERAL, {"model": "nobodys", "told_cost": 2_000_000_000}, 2),
        (SEVERAL, {}, 5),
        (rates(5), {"model": "known"}, 5),
        (rates(5), {"model": "known", "fell_back": True}, 9),
        (SEVERAL, {"model": "known"}, 9),
        (rates(5), {"model": "nobodys", "fell_back": True}, 7),
        (rates(5), {"model": "nobodys", "fell_back": True, "told_cost": 2_000_000_000}, 2),
        (rates(5), {"fell_back": True}, 5),
        (None, {"model": "known", "fell_back": True}, None),
    ],
    ids=str,
)
def test_a_call_is_settled_at_the_prices_of_who_answered_else_at_the_dearest_that_may_have(
    quoted: Rates | None, said: dict[str, Any], dollars: int | None
) -> None:
    assert dollars == charged(quoted, **said)
