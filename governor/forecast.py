"""When a ledger will be used up, if spending goes on as it has: a straight line from when it was opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.ledger import Balance

__all__ = ["ENOUGH_MS", "Forecast", "forecast"]

ENOUGH_MS = 60_000
"""A ledger that is younger says nothing about its next hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What comes of a ledger at the rate so far. Amounts are in its unit."""

    per_hour: int
    """What is spent in an hour, rounded up."""
    exhausted_in_ms: int | None
    """From now until the limit is reached; 0 when it is; None when it has no limit or nothing is being spent."""


def forecast(balance: Balance, now_ms: int) -> Forecast | None:
    """The forecast of one ledger; None for a rate, and while there is too little to go by (`ENOUGH_MS`).

    What is reserved now will be spent in part and is not counted as spent; it does count against what is left.
    """
    elapsed = now_ms - balance.opened_ms
    if balance.per_ms is not None or balance.opened_ms <= 0 or elapsed < ENOUGH_MS:
        return None
    per_hour = -(-balance.spent * 3_600_000 // elapsed)
    if balance.limit is None:
        return Forecast(per_hour=per_hour, exhausted_in_ms=None)
    left = balance.limit + balance.granted - balance.spent - balance.reserved
    if left <= 0:
        return Forecast(per_hour=per_hour, exhausted_in_ms=0)
    exhausted = left * elapsed // balance.spent if balance.spent else None
    return Forecast(per_hour=per_hour, exhausted_in_ms=exhausted)
