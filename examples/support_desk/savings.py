"""Takes the difference between two bills apart, from the provider's own records alone.

bare bill - governed bill = what was not sent + what cheaper tiers saved + what the prompt cache saved. Each part comes of repricing the
governed records at list prices: every token uncached at the frontier's price, then uncached at the price of the model that
answered, then as billed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from examples.support_desk.ways import FRONTIER, Way
from governor_sandbox import Catalogue, Price, Record, Usage

__all__ = ["Savings", "savings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Nano-USD by cause. They add up to the difference of the bills."""

    not_sent: int
    """Compaction, capped results and calls that were not made, at the frontier's uncached price. Negative if more was sent."""
    tiers: int
    """Tokens that a cheaper model took, against the frontier's uncached price."""
    cache: int
    """Tokens read from the prompt cache, less what writing it cost."""

    @property
    def total(self) -> int:
        """The difference of the bills."""
        return self.not_sent + self.tiers + self.cache


def savings(bare: Way, governed: Way) -> Savings:
    """By cause."""
    catalogue = Catalogue.standard()
    frontier = _price(catalogue, FRONTIER)
    at_frontier = _uncached(governed.records, lambda _: frontier)
    at_own = _uncached(governed.records, lambda record: _price(catalogue, record.model))
    return Savings(not_sent=bare.nano_usd - at_frontier, tiers=at_frontier - at_own, cache=at_own - governed.nano_usd)


def _uncached(records: Sequence[Record], price: Callable[[Record], Price]) -> int:
    return sum(
        Usage(uncached=record.usage.input, output=record.usage.output).cost(price(record))
        for record in records
        if record.nano_usd
    )


def _price(catalogue: Catalogue, model: str) -> Price:
    found = catalogue.find(model, "bedrock")
    if found is None:
        message = f"the sandbox has no price for {model}"
        raise LookupError(message)
    return found.price
