"""Remarks about the degrade ladder: rungs that cannot act, that come too late, or that loosen what one below them tightened."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from governor.policy.sections import Clamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.policy.document import Path
    from governor.policy.findings import Severity
    from governor.policy.schema import Policy
    from governor.policy.sections import LadderRung

__all__ = ["ladder"]

_Remark = tuple["Severity", str, "Path", str]

_MILDEST_FIRST = ("compact", "lower_tier", "clamp", "last_call")


def ladder(policy: Policy) -> Iterator[_Remark]:
    """Every remark about `ladder`. That its shares rise is checked when the policy is loaded."""
    rungs = policy.ladder
    if not rungs:
        return
    hard = any(budget.hard and policy.mode_of(budget.mode) == "enforce" for budget in policy.budgets)
    if not hard:
        yield "warning", "ladder-without-budget", ("ladder",), "no hard budget is enforced, so no rung is ever reached"
    for index, rung in enumerate(rungs):
        if rung.do == "lower_tier" and len(policy.tiers) < 2:
            there = "only one tier" if policy.tiers else "no tier"
            message = f"`lower_tier` at {rung.at.written} changes nothing: there is {there} to go down from"
            yield "warning", "ladder-without-tiers", ("ladder", index, "do"), message
    yield from _out_of_order(rungs)
    yield from _loosened(rungs)


def _word(rung: LadderRung) -> str:
    return rung.do if isinstance(rung.do, str) else "clamp"


def _shown(rung: LadderRung) -> str:
    return "smaller limits" if isinstance(rung.do, Clamp) else f"`{rung.do}`"


def _out_of_order(rungs: Sequence[LadderRung]) -> Iterator[_Remark]:
    for index, (lower, upper) in enumerate(pairwise(rungs)):
        if _word(lower) == "last_call":
            message = f"{_shown(upper)} at {upper.at.written} never acts: after `last_call` a run makes no further call"
            yield "warning", "ladder-after-last-call", ("ladder", index + 1), message
        elif _MILDEST_FIRST.index(_word(upper)) < _MILDEST_FIRST.index(_word(lower)):
            message = f"{_shown(upper)} at {upper.at.written} is milder than {_shown(lower)} at {lower.at.written}: put it first"
            yield "warning", "ladder-out-of-order", ("ladder", index + 1), message


def _loosened(rungs: Sequence[LadderRung]) -> Iterator[_Remark]:
    for name in ("max_output_tokens", "fan_out"):
        tightest: int | None = None
        for index, rung in enumerate(rungs):
            amount = getattr(rung.do, name, None)
            if amount is None:
                continue
            if tightest is not None and amount > tightest:
                message = f"`{name}: {amount.written}` at {rung.at.written} is above what a rung before it allows"
                yield "warning", "ladder-loosens", ("ladder", index, "do", name), message
            tightest = int(amount) if tightest is None else min(tightest, int(amount))
