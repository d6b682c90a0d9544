"""When a better tier takes over with a shorter view: what it would write to its cold cache is weighed against what the way back costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from governor.calls import ModelRef
from governor.controls.compact.rent import tariff
from governor.models import facts

if TYPE_CHECKING:
    from governor.controls.compact.rent import Tariff
    from governor.prices import PriceBook

__all__ = ["Handing", "cheaper"]


def cheaper(taking: Tariff, handing: Tariff | None, whole: int, cut: int, summary: int) -> bool:
    """Whether a cut costs less than the whole prompt when a tier takes over. Tokens with tools; `summary` in nano-USD.

    What is left out is not written to the cache of the tier that takes over, nor read there while it stays; that it stays is not counted
    on. The tier that hands over would have read the whole from its own cache when it comes back, and has to write the shorter one.
    """
    back = max(0, handing.writing(cut) - handing.reading(whole)) if handing is not None else 0
    return taking.writing(cut) + max(0, summary) + back < taking.writing(whole)


class Handing:
    """The prices of whoever answered last."""

    def __init__(self, prices: PriceBook | None) -> None:
        """Without a price book the way back counts nothing."""
        self._prices = prices

    def tariff_of(self, model: str | None, ttl: Literal["5m", "1h", "off"]) -> Tariff | None:
        """The tariff of a model by its written name; None where its price is not known."""
        if model is None or self._prices is None:
            return None
        provider, _, name = model.partition(":")
        known = ModelRef(provider=provider, model=name)
        rates = self._prices.rates(known)
        return None if rates is None else tariff(rates, facts(known), ttl)
