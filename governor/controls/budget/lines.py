"""A policy's budgets as lines: one limit in one unit on one scope, with the key of the ledger that it counts on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote as percent_encoded

from governor.calls import StepRef
from governor.ledger import Hold, Unit
from governor.policy.matchers import matches_glob
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.calls import RunRef
    from governor.policy.schema import Budget, Policy
    from governor.policy.sections import Scope, Window

__all__ = ["DAY_MS", "FIELDS", "Line", "MissingScope", "ledgers_of", "lines", "window_of"]

_OUTERMOST_FIRST: tuple[Scope, ...] = ("org", "tenant", "user", "thread", "run", "agent", "node", "tool")
"""The order in which limits are looked at, so that a refusal names the widest limit that is used up."""

FIELDS: dict[str, Unit] = {
    "usd": Unit.NANO_USD,
    "tokens": Unit.TOKENS,
    "input_tokens": Unit.INPUT_TOKENS,
    "output_tokens": Unit.OUTPUT_TOKENS,
    "model_calls": Unit.MODEL_CALLS,
    "tool_calls": Unit.TOOL_CALLS,
    "calls": Unit.CALLS,
    "time": Unit.MILLISECONDS,
}
"""What a limit may be written in, and the unit of its ledger."""

_PARENTS: Mapping[Scope, tuple[str, ...]] = {
    "tenant": ("org",),
    "user": ("org", "tenant"),
    "node": ("org", "agent"),
    "agent": ("org",),
}
"""Names that qualify a scope's own name where the run has them: two tenants' users of one name never share a ledger."""

DAY_MS = 86_400_000
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MARGIN_MS = DAY_MS
"""How long a window's ledger outlives the window: leases settle into the window that reserved, however late."""
_IDLE_DAYS: Mapping[Scope, int] = {"run": 30, "thread": 90}
"""How long the ledger of a scope that ends by itself is kept after its last reservation. Other scopes are kept for good.
In whole days, so that the same ledger is not written a new expiry with every call."""


class MissingScope(LookupError):
    """A budget needs a scope that the run does not name."""

    def __init__(self, scope: str) -> None:
        """Keep the scope's name."""
        self.scope = scope
        super().__init__(scope)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One limit of one budget."""

    budget: Budget
    field: str
    """`usd`, `tokens`, ...: as the policy writes it, and part of the ledger's key."""
    unit: Unit
    limit: int | None
    """None when the line only records: a soft budget, or observe mode."""
    alert: int | None
    """The limit of such a line, whose passing is reported."""
    written: str

    @property
    def counts_output(self) -> bool:
        """Whether it refuses, and the length of the answer counts."""
        return self.limit is not None and self.unit in (Unit.NANO_USD, Unit.TOKENS, Unit.OUTPUT_TOKENS)

    def for_tool(self, name: str) -> bool:
        """Whether calls of this tool count on it."""
        if self.unit not in (Unit.NANO_USD, Unit.TOOL_CALLS, Unit.CALLS, Unit.MILLISECONDS):
            return False
        return self.budget.tool is None or matches_glob(self.budget.tool, name)

    @property
    def for_models(self) -> bool:
        """Whether model calls count on it."""
        return self.budget.scope != "tool" and self.budget.tool is None and self.unit is not Unit.TOOL_CALLS

    def hold(self, step: StepRef, amount: int, now: int, *, tool: str | None = None) -> Hold:
        """`amount` on this line's ledger. Raises MissingScope when the run does not name what the budget adds up by."""
        budget, scope = self.budget, self.budget.scope
        name = _named(scope, step, tool)
        qualified = _qualified(scope, step) if scope in _PARENTS else ""
        window, expires = window_of(budget.per, now)
        if budget.per is None and scope in _IDLE_DAYS:
            expires = (now // DAY_MS + _IDLE_DAYS[scope]) * DAY_MS
        return Hold(
            ledger=_ledger(budget.id, qualified, scope, name, window, self.field),
            unit=self.unit,
            amount=amount,
            limit=self.limit,
            alert=self.alert,
            budget=budget.id,
            scope=f"{scope}={name}",
            written=self.written,
            expires_ms=expires,
        )


def _ledger(budget: str, qualified: str, scope: Scope, name: str, window: str, field: str) -> str:
    return f"{budget}/{qualified}{scope}={_safe(name)}/{window}/{field}"


def lines(policy: Policy) -> tuple[Line, ...]:
    """Every limit of every budget, outermost scope first."""
    found: list[Line] = []
    for budget in sorted(policy.budgets, key=lambda budget: _OUTERMOST_FIRST.index(budget.scope)):
        refuses = budget.hard and policy.mode_of(budget.mode) == "enforce"
        for field, unit in FIELDS.items():
            limit = getattr(budget.limit, field)
            if limit is not None:
                found.append(
                    Line(
                        budget=budget,
                        field=field,
                        unit=unit,
                        limit=int(limit) if refuses else None,
                        alert=None if refuses else int(limit),
                        written=limit.written,
                    )
                )
    return tuple(found)


def window_of(per: Window | None, now: int) -> tuple[str, int | None]:
    """Id of the window that `now` (ms since the epoch) falls into, and when its ledger may be forgotten. Calendars are UTC.

    Durations are buckets aligned to the epoch: at worst two limits' worth may be spent across one boundary within one duration.
    """
    if per is None:
        return "life", None
    if isinstance(per, int):
        number = now // per
        return f"{per.written}@{number}", (number + 1) * per + _MARGIN_MS
    return _calendar(per, now // DAY_MS)


@lru_cache(maxsize=64)
def _calendar(per: Literal["day", "week", "month"], day: int) -> tuple[str, int]:
    today = date.fromordinal(_EPOCH_ORDINAL + day)
    if per == "day":
        name, ends = today.isoformat(), day + 1
    elif per == "week":
        year, week, weekday = today.isocalendar()
        name, ends = f"{year}-W{week:02d}", day + 8 - weekday
    else:
        following = date(today.year + today.month // 12, today.month % 12 + 1, 1)
        name, ends = f"{today:%Y-%m}", following.toordinal() - _EPOCH_ORDINAL
    return name, ends * DAY_MS + _MARGIN_MS


def ledgers_of(line: Line, run: RunRef, now: int) -> str | None:
    """Key of the line's ledger in this run, or what the keys of its ledgers begin with where nodes and tools have one each.

    None when the run does not name what the budget adds up by.
    """
    step = StepRef(run=run, node="", path=_ANY, ns="")
    try:
        key = line.hold(step, 0, now, tool=_ANY).ledger
    except MissingScope:
        return None
    return key if line.budget.scope not in ("node", "tool") else key.partition(f"={_ANY}/")[0] + "="


_ANY = "any"


def _named(scope: Scope, step: StepRef, tool: str | None) -> str:
    """What the scope is called in this step. Raises MissingScope when nobody said."""
    if scope == "run":
        return step.run.id
    if scope == "thread":
        name = step.run.thread
    elif scope == "node":
        name = step.path
    elif scope == "tool":
        name = tool
    else:
        name = step.run.scopes.get(scope)
    if not name:
        raise MissingScope(scope)
    return name


def _qualified(scope: Scope, step: StepRef) -> str:
    parents = _PARENTS[scope]
    named = step.run.scopes
    return "".join(f"{parent}={_safe(named[parent])}," for parent in parents if named.get(parent))


def _safe(name: str) -> str:
    """A scope's name without the characters that separate the parts of a key."""
    return percent_encoded(name, safe=" @+:")
