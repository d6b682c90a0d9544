"""Judging together: the calls of one ToolNode are decided, and asked about, before any of them runs.

LangGraph runs an interrupted node again from its top, so a call that ran while another one was still asking a person would run twice.
It also matches the answers to a node's interrupts by the order in which they were asked, and tool calls run side by side. Asked here,
one after the other and before anything is done, no call runs twice and no approval reaches another call - in this process or the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

from governor.approving import judge_tool
from governor.calls import ToolCall
from governor_langgraph.approval import asked, asked_async

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.decisions import Decision
    from governor_langgraph.context import GovernedStep

__all__ = ["Judged", "ajudge", "asks", "judge", "judged_var", "judgement", "policies", "seen_by"]

Judged = Mapping[tuple[str, str, str, str], "Decision"]
"""Decisions by run and call. The arguments are part of the key: models have been seen to use one id twice."""

judged_var: ContextVar[Judged | None] = ContextVar("governor_judged", default=None)
"""What was decided for the calls of the ToolNode that runs right now; None when each is judged as it comes."""


def asks(step: GovernedStep) -> bool:
    """Whether a policy that applies here may ask a person. Where none does, calls are judged as they come."""
    each: GovernedStep | None = step
    while each is not None:
        if each.run.governor.asks:
            return True
        each = each.outer
    return False


def judge(step: GovernedStep, calls: Sequence[ToolCall]) -> Judged:
    """Decide about `calls` in the model's order. Raises GraphInterrupt at the first question that has no answer yet."""
    found: dict[tuple[str, str, str, str], Decision] = {}
    for call in calls:
        for each in policies(step):
            governor, mine = each.run.governor, seen_by(each, call)
            decision = governor.drive(
                judge_tool(mine, governor.controls), each.span, partial(asked, governor.policy.policy)
            )
            found[_key(mine)] = decision
            if decision.refuses:
                break  # an outer policy never hears of a call that an inner one denies
    return found


async def ajudge(step: GovernedStep, calls: Sequence[ToolCall]) -> Judged:
    """The async twin of `judge`."""
    found: dict[tuple[str, str, str, str], Decision] = {}
    for call in calls:
        for each in policies(step):
            governor, mine = each.run.governor, seen_by(each, call)
            decision = await governor.drive_async(
                judge_tool(mine, governor.controls), each.span, partial(asked_async, governor.policy.policy)
            )
            found[_key(mine)] = decision
            if decision.refuses:
                break
    return found


def judgement(judged: Judged | None, call: ToolCall) -> Decision | None:
    """What was decided about this very call; None when it was not judged beforehand."""
    return judged.get(_key(call)) if judged else None


def seen_by(step: GovernedStep, call: ToolCall) -> ToolCall:
    """The call as a call of `step`, for an outer policy's eyes."""
    return ToolCall(
        step=step.ref, name=call.name, args=call.args, id=call.id, known=call.known, read_only=call.read_only
    )


def policies(step: GovernedStep | None) -> Iterator[GovernedStep]:
    """The step in each policy that applies, innermost first."""
    while step is not None:
        yield step
        step = step.outer


def _key(call: ToolCall) -> tuple[str, str, str, str]:
    return call.step.run.id, call.id, call.name, repr(call.args)
