"""Ledger values: holds, leases, charges. Amounts are integers: tokens, nano-USD, calls, milliseconds.

    (none) --reserve--> RESERVED --dispatch--> DISPATCHED --settle--> SETTLED (at what was used)
    RESERVED --release or ttl--> RELEASED (nothing is charged)
    DISPATCHED --release, on evidence that nothing was billed--> RELEASED
    DISPATCHED --ttl--> FORFEIT (charged at the reserved worst case) --late settle, once--> SETTLED

A call that starts at once is reserved and dispatched in one step; RESERVED is for work that waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from governor.values import cheap

__all__ = [
    "WORDS",
    "Adjustment",
    "AdjustmentKind",
    "Balance",
    "Charge",
    "Halted",
    "Hold",
    "Lease",
    "LeaseRecord",
    "LeaseState",
    "Refusal",
    "ReserveRequest",
    "Shortfall",
    "Unit",
    "shown",
]


class Unit(StrEnum):
    """What a limit counts."""

    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    NANO_USD = "nano_usd"
    FEES = "fees"
    """Nano-USD of fees alone: what tools and a provider's own tools cost beside tokens."""
    MODEL_CALLS = "model_calls"
    TOOL_CALLS = "tool_calls"
    CALLS = "calls"
    """Calls of both kinds."""
    MILLISECONDS = "milliseconds"


class LeaseState(StrEnum):
    """Where a lease stands."""

    RESERVED = "reserved"
    """Held, and its call has not begun."""
    DISPATCHED = "dispatched"
    """Its call may have been billed."""
    SETTLED = "settled"
    RELEASED = "released"
    FORFEIT = "forfeit"


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An amount to be held on one ledger."""

    ledger: str
    """Key of the ledger: budget id, scope value and window, so that a window rolls over by its key."""
    earlier: tuple[str, ...] = ()
    """For a rolling window: the ledgers of the slices before this one, whose amounts count against the limit too."""
    per_ms: int | None = None
    """For a rate: `limit` may flow in so many milliseconds, metered as a leaky bucket (the generic cell rate algorithm). None: a budget."""
    unit: Unit
    amount: int
    limit: int | None
    """None records without refusing (soft and observed budgets)."""
    kept: int = field(default=0, compare=False)
    """The part of `limit` that this call may not touch: the ladder keeps it for a last answer."""
    share: bool = field(default=False, compare=False)
    """Whether this is what one branch of a fan-out may use of a budget. That it is used up ends the branch, and no ladder looks at it."""
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
    """By then a lease that was dispatched is forfeit, one that was not is released."""
    now_ms: int
    dispatched: bool = True
    """Whether its call begins at once. If not, `Store.dispatch` says when."""
    payload: str = ""
    """Digest of what the call sends. The same id with another payload is a conflict, not a repetition."""
    scopes: tuple[str, ...] = ()
    """Names under which the call may have been halted: `all`, `tenant=acme`, `run=...`."""
    run: str = ""
    """The run whose call it is, for people who look at leases, and for a store that writes its pending state along."""
    escrow: str = ""
    """A lease whose call has not begun. What it still has on the same ledgers is there for this one: that much moves over, in the same
    step, and what is then not used goes back. It lives as long as this one. When it is over there is nothing to take: this is as any."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A granted reservation."""

    id: str
    holds: tuple[Hold, ...]
    state: LeaseState = LeaseState.DISPATCHED
    passed: tuple[Shortfall, ...] = ()
    """Soft and observed limits that this very reservation passed, with what their ledgers held before it."""
    used_permille: int = field(default=0, compare=False)
    """How far the tightest of its hard budgets was used before it: spent and reserved by others, in thousandths of the limit."""
    tightest: str = field(default="", compare=False)
    """Id of that budget; empty when none is hard."""
    generation: str = field(default="", compare=False)
    """Which filling of its store granted it: one that comes back empty or behind is another. Empty for a store that loses nothing."""
    spent: tuple[int, ...] = field(default=(), compare=False)
    """With a generation: for each hold what its ledger had spent before it. That is what is left to know when the store lost it."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """A refused reservation: the first hold, outermost scope first, that did not fit, and what the ledger held."""

    hold: Hold
    spent: int
    reserved: int
    granted: int = 0
    """What operators added to the limit of this ledger."""
    retry_ms: int | None = None
    """For a rate: in how many milliseconds it would fit if nobody else came. None: waiting does not help."""

    @property
    def remaining(self) -> int:
        """What this call could still reserve, in the hold's unit. Never negative."""
        limit = self.hold.limit if self.hold.limit is not None else self.hold.alert
        return max(0, (limit or 0) + self.granted - self.hold.kept - self.spent - self.reserved)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """A refused reservation: an operator stopped this scope (`governor halt`)."""

    scope: str
    """`all`, `tenant=acme`, `run=...`."""
    who: str
    why: str
    at_ms: int


Refusal = Shortfall | Halted
"""What is answered instead of a lease."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a lease is settled at: one amount for each of its holds, in their order. May exceed the hold (a debt)."""

    lease: str
    amounts: tuple[int, ...]
    now_ms: int
    run: str = ""
    """The run whose call it was; as in `ReserveRequest`."""
    granted: Lease | None = field(default=None, compare=False)
    """The lease as it was granted: a store that lost it charges these holds. None: a lease that is not there is not charged."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One ledger at one moment. Of a rate, `reserved` is what its bucket held when it was last touched."""

    ledger: str
    unit: Unit
    spent: int
    reserved: int
    limit: int | None
    budget: str
    scope: str
    granted: int = 0
    """Added to the limit by operators."""
    opened_ms: int = 0
    """When it was first reserved on or last reset, and when it was last used: what a forecast divides by."""
    touched_ms: int = 0
    per_ms: int | None = None
    """Set for a rate."""

    @property
    def debt(self) -> int:
        """How far it is beyond its limit, because a provider billed more than the clamp allowed. 0 when it is not."""
        return max(0, self.spent + self.reserved - self.limit - self.granted) if self.limit is not None else 0


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A lease as its store keeps it, for operators."""

    id: str
    state: LeaseState
    run: str
    holds: tuple[Hold, ...]
    due_ms: int


class AdjustmentKind(StrEnum):
    """What an operator did."""

    GRANT = "grant"
    """Add `amount` to the limit of ledger `subject`."""
    RESET = "reset"
    """Take what ledger `subject` has spent as forgiven: its window begins anew. What is reserved stays. A call in doubt that settles after
    all is charged what it used, and takes nothing off: what it was charged before is forgiven with the rest."""
    HALT = "halt"
    """Refuse every further call under scope `subject`."""
    RESUME = "resume"
    """Take a halt back."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A change that a person made to a live store: never without who and why, and never forgotten."""

    id: str
    """Repeating it with the same id changes nothing."""
    kind: AdjustmentKind
    subject: str
    """A ledger's key, or a scope for halts."""
    amount: int = 0
    """In the ledger's unit: what a grant adds (negative: takes back), what a reset forgave."""
    who: str
    why: str
    at_ms: int


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
    if unit not in (Unit.NANO_USD, Unit.FEES):
        return f"{amount} {WORDS[unit]}"
    dollars = Decimal(amount).scaleb(-9)
    exact = f"{dollars.normalize():f}"
    return f"${dollars:.2f}" if dollars == round(dollars, 2) else f"${exact}"
