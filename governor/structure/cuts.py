"""What of a policy ends a run that goes round a cycle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.schema import Budget, Policy
    from governor.structure.shape import Kind

__all__ = ["Cut", "cuts_of", "holds_a_run"]

_ON_MODELS = ("usd", "tokens", "input_tokens", "output_tokens", "model_calls", "calls", "time")
_ON_TOOLS = ("fees", "tool_calls", "calls", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One limit that ends cycles."""

    name: str
    """As a person would look it up: `limits.steps`, `budget run-usd`."""
    written: str
    """The limit as its author wrote it."""
    where: Literal["run", "nesting"] | frozenset[Kind]
    """Every cycle of the run, graphs that hold themselves, or cycles through such nodes."""
    counts: bool = True
    """Whether it ends a run after some number of rounds. Time does not, and loop protection ends only rounds that bring nothing new."""

    def __str__(self) -> str:
        return f"{self.name} ({self.written})"


def cuts_of(policy: Policy, *, as_enforced: bool = False) -> tuple[Cut, ...]:
    """The limits of a policy that cut cycles, those first that cut all. None under `mode: observe`, which stops nothing.

    `as_enforced`: as if the policy as a whole were enforced; rules that are observed by their own mode still cut nothing.
    """
    if policy.mode == "observe" and not as_enforced:
        return ()
    return (*_limits(policy), *_budgets(policy), *_loops(policy))


def _limits(policy: Policy) -> Iterator[Cut]:
    limits = policy.limits
    if limits.steps is not None:
        yield Cut(name="limits.steps", written=limits.steps.written, where="run")
    if limits.time is not None:
        yield Cut(name="limits.time", written=limits.time.written, where="run", counts=False)
    if limits.depth is not None:
        yield Cut(name="limits.depth", written=limits.depth.written, where="nesting")


def _budgets(policy: Policy) -> Iterator[Cut]:
    """Hard budgets: a run ends at the first that is used up. Those of single tools and nodes are left out: others may go on."""
    for budget in policy.budgets:
        if not budget.hard or budget.mode == "observe" or budget.tool is not None or budget.scope in ("tool", "node"):
            continue
        written = ", ".join(
            f"{unit} {amount.written}"
            for unit in type(budget.limit).model_fields
            if (amount := getattr(budget.limit, unit))
        )
        where: set[Kind] = set()
        if any(getattr(budget.limit, unit) is not None for unit in _ON_MODELS):
            where.add("model")
        if any(getattr(budget.limit, unit) is not None for unit in _ON_TOOLS):
            where.add("tool")
        yield Cut(name=f"budget {budget.id}", written=written, where=frozenset(where), counts=holds_a_run(budget))


def holds_a_run(budget: Budget) -> bool:
    """Whether one run can never spend more than the limit. With a window, a slow run spends it again in the next one."""
    narrow = budget.tool is not None or budget.scope in ("tool", "node")
    return budget.hard and budget.mode != "observe" and budget.per is None and not narrow


def _loops(policy: Policy) -> Iterator[Cut]:
    """Loop protection looks at calls: it sees no cycle of plain nodes."""
    loops = policy.loops
    if loops.mode == "observe" or not {"stop", "kill"}.intersection(loops.respond):
        return
    blind = any(tool.never_judged and tool.names_everything for tool in loops.tools)
    where: frozenset[Kind] = frozenset({"model"} if blind else {"model", "tool"})
    yield Cut(name="loops", written="stop", where=where, counts=False)
