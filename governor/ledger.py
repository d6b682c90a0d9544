"""Ledger values: holds, leases, charges. Amounts are integers: tokens, nano-USD, calls, milliseconds.

Life of a lease: reserve -> DISPATCHED -> SETTLED (actual) | RELEASED (never billed) | FORFEIT (expired after dispatch: charged
at the reserved worst case; a late settlement trues it up once).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from governor.values import cheap

__all__ = ["WORDS", "Balance", "Charge", "Hold", "Lease", "LeaseState", "ReserveRequest", "Shortfall", "Unit", "shown"]


class Unit(StrEnum):
    """What a limit counts."""

    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    NANO_USD = "nano_usd"
    MODEL_CALLS = "model_calls"
    TOOL_CALLS = "tool_calls"
    CALLS = "calls"
    """Calls of both kinds."""
    MILLISECONDS = "milliseconds"


class LeaseState(StrEnum):
    """Where a lease stands."""

    DISPATCHED = "dispatched"
    SETTLED = "settled"
    RELEASED = "released"
    FORFEIT = "forfeit"


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An amount to be held on one ledger."""

    ledger: str
    """Key of the ledger: budget id, scope value and window, so that a window rolls over by its key."""
    unit: Unit
    amount: int
    limit: int | None
    """None records without refusing (soft and observed budgets)."""
    alert: int | None = None
    """For such a budget: its limit, whose passing is reported and stops nobody."""
    budget: str
    """Id of the budget in the policy."""
    scope: str
    """For people: `tenant=acme`."""
    written: str
    """The limit as its author wrote it."""
    expires_ms: int | None = None
    """When the ledger itself may be forgotten (end of its window plus a margin), milliseconds since the epoch."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveRequest:
    """Hold all of `holds` or none, in one atomic step. Repeating it with the same `id` returns the same lease."""

    id: str
    holds: tuple[Hold, ...]
    ttl_ms: int
    """A lease not settled by then is forfeit."""
    now_ms: int


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A granted reservation."""

    id: str
    holds: tuple[Hold, ...]
    state: LeaseState = LeaseState.DISPATCHED
    passed: tuple[Shortfall, ...] = ()
    """Soft and observed limits that this very reservation passed, with what their ledgers held before it."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """A refused reservation: the first hold, outermost scope first, that did not fit, and what the ledger held."""

    hold: Hold
    spent: int
    reserved: int

    @property
    def remaining(self) -> int:
        """What could still be reserved, in the hold's unit. Never negative."""
        limit = self.hold.limit if self.hold.limit is not None else self.hold.alert
        return max(0, (limit or 0) - self.spent - self.reserved)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a lease is settled at: one amount for each of its holds, in their order. May exceed the hold (a debt)."""

    lease: str
    amounts: tuple[int, ...]
    now_ms: int


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One ledger at one moment."""

    ledger: str
    unit: Unit
    spent: int
    reserved: int
    limit: int | None
    budget: str
    scope: str


WORDS: Mapping[Unit, str] = {
    Unit.TOKENS: "tokens",
    Unit.INPUT_TOKENS: "input tokens",
    Unit.OUTPUT_TOKENS: "output tokens",
    Unit.MODEL_CALLS: "model calls",
    Unit.TOOL_CALLS: "tool calls",
    Unit.CALLS: "calls",
    Unit.MILLISECONDS: "ms",
}
"""What amounts are called in sentences; money is not: it has its sign."""


def shown(amount: int, unit: Unit) -> str:
    """An amount for people: `$0.48`, `1200 tokens`, `350 ms`."""
    if unit is not Unit.NANO_USD:
        return f"{amount} {WORDS[unit]}"
    dollars = Decimal(amount).scaleb(-9)
    exact = f"{dollars.normalize():f}"
    return f"${dollars:.2f}" if dollars == round(dollars, 2) else f"${exact}"
