"""Shares of a budget: what one branch of a fan-out may use of a limit that its siblings count on too (`split`).

A branch has a ledger of its own beside the budget's, and a call holds on both in one atomic step, so that what the branches use is never
more than what the budget counts. It is named by the branch's checkpoint namespace: a retry or a resume finds it again. Fan-outs nest,
and so do shares: a branch within a branch is held to a part of that branch's part. Outside of fan-outs only the budget is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from governor.controls.budget.lines import safe
from governor.controls.budget.windows import DAY_MS
from governor.ledger import Hold, Unit, shown
from governor.plans import Quote, ToolQuote
from governor.policy.splits import Weighted
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.calls import StepRef
    from governor.policy.schema import Policy
    from governor.policy.splits import Split
    from governor.runs import RunState
    from governor.weighing import Weighing

__all__ = ["Branch", "Shares", "around"]

_IDLE_DAYS = 90
"""How long a branch's ledger is kept after its last reservation, as a thread's is, even where the budget's is kept for good."""
Q = TypeVar("Q", Quote, ToolQuote)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of several steps of a superstep, around the call or the call's own."""

    ns: str
    """Its checkpoint namespace, the same after a retry or a resume."""
    node: str
    path: str
    width: int
    """How many branches there are side by side, itself included, as far as is known. At least 2."""


class Shares:
    """The `split` of each budget of one policy."""

    def __init__(self, policy: Policy) -> None:
        """Read the splits. Without any, or where budgets only observe, no call holds more than it did."""
        self._splits: dict[str, Split] = {
            budget.id: budget.split for budget in policy.budgets if budget.split != "shared" and budget.hard
        }
        self.escrows = policy.mode == "enforce" and "escrow" in self._splits.values()
        """Whether any branch's part is reserved when it begins."""

    def added(self, quote: Q, step: StepRef, state: RunState, now: int) -> Q:
        """The quote with its holds on the ledgers of the branches around the call, each in front of the budget's own.

        In front, because a branch beyond its share is denied a call, while a budget that is used up ends the run: when both have no room,
        it is the branch that took too much.
        """
        if not self._splits or not state.fans:
            return quote
        branches = around(step, state)
        if not branches:
            return quote
        weighed = quote.weighings if isinstance(quote, Quote) else ()
        holds: list[Hold] = []
        weighings: list[Weighing | None] = []
        for position, hold in enumerate(quote.holds):
            more = [*self._parts(hold, branches, state, now), _unkept(hold, branches, state)]
            holds += more
            weighings += [weighed[position] if weighed else None] * len(more)
        if isinstance(quote, Quote):
            return replace(quote, holds=tuple(holds), weighings=tuple(weighings) if weighed else ())
        return replace(quote, holds=tuple(holds))

    def escrow(self, step: StepRef, state: RunState) -> str:
        """The lease that a call in this step takes from: of the innermost branch around it that has one. Empty without any."""
        if not state.escrows:
            return ""
        found = [state.escrows[each.ns].lease for each in around(step, state) if each.ns in state.escrows]
        return next((lease for lease in reversed(found) if lease), "")

    def sliced(self, hold: Hold, step: StepRef, state: RunState, now: int, limit: int | None) -> tuple[Hold, ...]:
        """The hold of a branch's slice, with those on the slices that it is a part of; with `limit`, on a ledger of its own too."""
        *outer, own = around(step, state)
        parts = [
            _part(hold, each, amount, hold.written, now)
            for each in outer
            if (amount := _amount(hold, each, state)) is not None
        ]
        if limit is not None:
            parts.append(_part(hold, own, limit, hold.written, now))
        return (*parts, hold)

    def _parts(self, hold: Hold, branches: tuple[Branch, ...], state: RunState, now: int) -> Iterator[Hold]:
        split = self._splits.get(hold.budget)
        if split is None or hold.limit is None or hold.per_ms:
            return
        whole, left, said = hold.limit, hold.limit, ""
        for branch in branches:
            if isinstance(split, Weighted):
                weight = split.of(branch.node, branch.path)
                if weight is None:
                    continue
                left, said = int(whole * weight), f"{weight.written} of "
            elif split == "escrow" and (amount := _amount(hold, branch, state)) is not None:
                left, said = amount, f"{_short(amount, hold.unit)} of "
            else:
                left, said = left // branch.width, f"1/{branch.width} of {said}"
            yield _part(hold, branch, left, f"{said}{hold.written}", now)


def around(step: StepRef, state: RunState) -> tuple[Branch, ...]:
    """The branches that a step is or runs in, outermost first."""
    found: list[Branch] = []
    names: list[str] = []
    parts = step.ns.split("|")
    for position, part in enumerate(parts):
        if part.isdigit():  # the second graph that a step starts, and so on: no step of its own
            continue
        names.append(part.partition(":")[0])
        width = state.branches_in("|".join(parts[:position]))
        if width > 1:
            ns = "|".join(parts[: position + 1])
            found.append(Branch(ns=ns, node=names[-1], path="/".join(names), width=width))
    return tuple(found)


def _amount(hold: Hold, branch: Branch, state: RunState) -> int | None:
    """What a branch has reserved of this hold's ledger; None when that is nothing, or it began before anybody knew of a second one."""
    known = state.escrows.get(branch.ns)
    return None if known is None else known.amounts.get(hold.ledger)


def _unkept(hold: Hold, branches: tuple[Branch, ...], state: RunState) -> Hold:
    """The hold, without what is kept for a last answer where slices have left that out already."""
    if hold.kept and any(_amount(hold, branch, state) is not None for branch in branches):
        return replace(hold, kept=0)
    return hold


def _short(amount: int, unit: Unit) -> str:
    return shown(amount, unit) if unit in (Unit.NANO_USD, Unit.FEES) else str(amount)


def _part(hold: Hold, branch: Branch, limit: int, written: str, now: int) -> Hold:
    idle = (now // DAY_MS + _IDLE_DAYS) * DAY_MS
    return Hold(
        ledger=_within(hold.ledger, branch),
        earlier=tuple([_within(each, branch) for each in hold.earlier]),
        unit=hold.unit,
        amount=hold.amount,
        limit=limit,
        share=True,
        budget=hold.budget,
        scope=f"{hold.scope},branch={branch.path}",
        written=written,
        expires_ms=min(hold.expires_ms or idle, idle),
    )


def _within(ledger: str, branch: Branch) -> str:
    """The key of a branch's ledger: the budget's, with the branch in its scope."""
    budget, scope, rest = ledger.split("/", 2)
    return f"{budget}/{scope},branch={safe(branch.ns)}/{rest}"
