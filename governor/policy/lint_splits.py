"""Remarks about how branches share a budget: splits that do nothing, and weights that add up to more than there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.policy.splits import Weighted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.document import Path
    from governor.policy.findings import Severity
    from governor.policy.schema import Policy

__all__ = ["splits"]


def splits(policy: Policy) -> Iterator[tuple[Severity, str, Path, str]]:
    """Every remark about the `split` of a budget."""
    for index, budget in enumerate(policy.budgets):
        if budget.split == "shared":
            continue
        path = ("budgets", index, "split")
        if not budget.hard or policy.mode_of(budget.mode) == "observe":
            message = f"budget `{budget.id}` refuses nothing, so that its `split` does nothing"
            yield "error", "split-without-effect", path, message
        if budget.scope in ("node", "tool"):
            message = (
                f"budget `{budget.id}` is kept for each {budget.scope}: "
                "its `split` shares it out among branches that use the same one"
            )
            yield "warning", f"split-of-{budget.scope}", path, message
        if budget.split == "escrow" and budget.scope not in ("run", "thread", "node", "tool"):
            message = (
                f"budget `{budget.id}` is one for the whole {budget.scope}: `split: escrow` lets each fan-out reserve all that is left of "
                "it, so that other runs wait for what its branches give back; give runs a budget of their own, and split that"
            )
            yield "warning", "escrow-of-shared", path, message
        if isinstance(budget.split, Weighted):
            total = sum(budget.split.weighted.values())
            if total > 1:
                message = (
                    f"the weights of `{budget.id}` add up to {total * 100:f}%: "
                    "one branch of each could use more than there is"
                )
                yield "warning", "weights-above-limit", path, message
