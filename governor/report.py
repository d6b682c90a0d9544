"""What became of one run: why it was stopped, where, and what it has cost.

Read from the store, so that refusals which user code swallowed are in it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.decisions import Reason
from governor.ledger import shown

if TYPE_CHECKING:
    from governor.calls import RunRef
    from governor.ledger import Balance
    from governor.runs import RunState, Stopped

__all__ = ["GovernorReport", "reason_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorReport:
    """One run as the store knows it. `str` of it is a few lines for people."""

    run: RunRef
    state: RunState
    budgets: tuple[Balance, ...] = ()
    """Every ledger that the run counts on, as it stood when the report was made: what was spent, what is held, the limit."""

    @property
    def stopped(self) -> Reason | None:
        """Why the run was stopped; None when it ended by itself (or waits for an answer to an interrupt)."""
        return reason_of(self.state.stopped) if self.state.stopped else None

    @property
    def where(self) -> str | None:
        """Path of the node in which it was stopped (`orders/worker`); None when it was not, or between nodes."""
        return (self.state.stopped.where or None) if self.state.stopped else None

    def __str__(self) -> str:
        """Why, where, how much."""
        state, reason = self.state, self.stopped
        lines = [f"run {self.run.id}: {f'stopped by {reason.rule}' if reason else 'not stopped'}"]
        if reason is not None:
            lines.append(f"  why: {reason.text}")
            lines += [f"  where: {self.where}"] if self.where else []
            lines += [f"  what now: {reason.remedy}"] if reason.remedy else []
        lines.append(
            f"  {state.steps} steps; asked for {state.model_calls} model calls and {state.tool_calls} tool calls"
        )
        lines += [f"  budget {each.budget} ({each.scope}): {_spent(each)}" for each in self.budgets]
        return "\n".join(lines)


def _spent(balance: Balance) -> str:
    limit = "no limit" if balance.limit is None else f"of {shown(balance.limit, balance.unit)}"
    held = f", {shown(balance.reserved, balance.unit)} held" if balance.reserved else ""
    return f"{shown(balance.spent, balance.unit)} spent {limit}{held}"


def reason_of(stopped: Stopped) -> Reason:
    """The reason that a run's state remembers."""
    return Reason(
        code=stopped.code,
        rule=stopped.rule,
        text=stopped.text,
        limit=stopped.limit,
        seen=stopped.seen,
        remedy=stopped.remedy,
        evidence={"ledger": stopped.ledger} if stopped.ledger else {},
    )
