"""What became of one run: why it was stopped, where, and what it has cost.

Read from the store, so that refusals which user code swallowed are in it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.decisions import Reason
from governor.ledger import Unit, shown

if TYPE_CHECKING:
    from governor.calls import RunRef
    from governor.ledger import Balance
    from governor.runs import PromptSums, RunState, Stopped

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
        lines += [f"  {line}" for line in _prompts(state.prompts)]
        return "\n".join(lines)


def _prompts(sums: PromptSums) -> list[str]:
    """The prompts beside an ideal cache, and beside the whole history with and without one."""
    lines: list[str] = []
    if sums.ideal:
        moved = ", ".join(f"{cause} {count}" for cause, count in sums.moves.items())
        lines.append(
            f"cache: read {sums.read:,} of the {sums.ideal:,} tokens that an ideal one would have read ({sums.read / sums.ideal:.1%})"
            + (f"; prefix moved: {moved}" if moved else "")
        )
    if sums.uncached:
        whole = f"{shown(sums.cached, Unit.NANO_USD)} with plain caching, {shown(sums.uncached, Unit.NANO_USD)} without"
        lines.append(f"prompts: {shown(sums.cost, Unit.NANO_USD)}; the whole history: {whole}")
    return lines


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
