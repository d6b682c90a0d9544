"""A policy's budgets as lines: one limit in one unit on one scope, with the key of the ledger that it counts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encoded

from governor.calls import StepRef
from governor.controls.budget.windows import DAY_MS, frame_of
from governor.ledger import Hold, Unit
from governor.policy.matchers import matches_glob
from governor.policy.windows import RollingWindow
from governor.values import cheap
from governor.weighing import Weighing, weighing_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.calls import RunRef
    from governor.policy.schema import Budget, Policy
    from governor.policy.sections import Scope

__all__ = ["FIELDS", "TOOL_UNITS", "Line", "MissingScope", "ledgers_of", "lines", "named", "qualified", "safe"]

_OUTERMOST_FIRST: tuple[Scope, ...] = ("org", "tenant", "user", "thread", "run", "agent", "node", "tool")
"""The order in which limits are looked at, so that a refusal names the widest limit that is used up."""

FIELDS: dict[str, Unit] = {
    "usd": Unit.NANO_USD,
    "fees": Unit.FEES,
    "tokens": Unit.TOKENS,
    "input_tokens": Unit.INPUT_TOKENS,
    "output_tokens": Unit.OUTPUT_TOKENS,
    "model_calls": Unit.MODEL_CALLS,
    "tool_calls": Unit.TOOL_CALLS,
    "calls": Unit.CALLS,
    "time": Unit.MILLISECONDS,
}
"""What a limit may be written in, and the unit of its ledger."""

TOOL_UNITS = (Unit.NANO_USD, Unit.FEES, Unit.TOOL_CALLS, Unit.CALLS, Unit.MILLISECONDS)
"""What calls of tools count in."""

_PARENTS: Mapping[Scope, tuple[str, ...]] = {
    "tenant": ("org",),
    "user": ("org", "tenant"),
    "node": ("org", "agent"),
    "agent": ("org",),
}
"""Names that qualify a scope's own name where the run has them: two tenants' users of one name never share a ledger."""

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
    weighing: Weighing | None = None
    """What its tokens weigh, where they do not all count as 1."""

    @property
    def counts_output(self) -> bool:
        """Whether it refuses, and the length of the answer counts."""
        return self.limit is not None and self.unit in (Unit.NANO_USD, Unit.TOKENS, Unit.OUTPUT_TOKENS)

    def for_tool(self, name: str) -> bool:
        """Whether calls of this tool count on it."""
        if self.unit not in TOOL_UNITS:
            return False
        return self.budget.tool is None or matches_glob(self.budget.tool, name)

    @property
    def for_models(self) -> bool:
        """Whether model calls count on it."""
        return self.budget.scope != "tool" and self.budget.tool is None and self.unit is not Unit.TOOL_CALLS

    def hold(self, step: StepRef, amount: int, now: int, *, tool: str | None = None) -> Hold:
        """`amount` on this line's ledger. Raises MissingScope when the run does not name what the budget adds up by."""
        budget, scope = self.budget, self.budget.scope
        name = named(scope, step, tool)
        within = qualified(scope, step) if scope in _PARENTS else ""
        frame = frame_of(budget.per, now)
        expires = frame.expires_ms
        if budget.per is None and scope in _IDLE_DAYS:
            expires = (now // DAY_MS + _IDLE_DAYS[scope]) * DAY_MS
        around = f"{budget.id}/{within}{scope}={safe(name)}"
        return Hold(
            ledger=f"{around}/{frame.name}/{self.field}",
            earlier=tuple([f"{around}/{each}/{self.field}" for each in frame.earlier]),
            unit=self.unit,
            amount=amount,
            limit=self.limit,
            alert=self.alert,
            budget=budget.id,
            scope=f"{scope}={name}",
            written=self.written,
            expires_ms=expires,
        )


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
                        weighing=weighing_of(budget.weights) if unit is Unit.TOKENS else None,
                    )
                )
    return tuple(found)


def ledgers_of(line: Line, run: RunRef, now: int) -> str | None:
    """Key of the line's ledger in this run, or what the keys of its ledgers begin with where nodes, tools or slices have one each.

    None when the run does not name what the budget adds up by.
    """
    step = StepRef(run=run, node="", path=_ANY, ns="")
    try:
        key = line.hold(step, 0, now, tool=_ANY).ledger
    except MissingScope:
        return None
    if line.budget.scope in ("node", "tool"):
        return key.partition(f"={_ANY}/")[0] + "="
    return key.rpartition("@")[0] + "@" if isinstance(line.budget.per, RollingWindow) else key


_ANY = "any"


def named(scope: Scope, step: StepRef, tool: str | None) -> str:
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


def qualified(scope: Scope, step: StepRef) -> str:
    """What qualifies the scope's name in this step, as the beginning of a key's part."""
    parents = _PARENTS[scope]
    named = step.run.scopes
    return "".join(f"{parent}={safe(named[parent])}," for parent in parents if named.get(parent))


def safe(name: str) -> str:
    """A scope's name without the characters that separate the parts of a key."""
    return percent_encoded(name, safe=" @+:")
