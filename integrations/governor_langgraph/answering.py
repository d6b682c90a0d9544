"""Answers to tool calls that were refused, or broken off by a stop inside of the tool.

They are saved like any other answer. A tool call that stayed open in a thread would end it: its provider refuses every later turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import ToolMessage
from langgraph.errors import GraphDrained

from governor.calls import ToolCall
from governor.errors import RunStopped
from governor.values import maker
from governor_langgraph import recall
from governor_langgraph.annotations import read_only
from governor_langgraph.judging import policies
from governor_langgraph.stops import DrainText, GovernorStop, drain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.tools import BaseTool

    from governor.errors import Refused
    from governor_langgraph.context import GovernedStep

__all__ = ["answered", "requested"]

_call = maker(ToolCall)


def requested(
    step: GovernedStep, asked: Mapping[str, Any], *, registered: bool, supplied: bool, tool: BaseTool | None = None
) -> ToolCall:
    """What ToolNode was asked to run, in the core's words.

    `supplied`: user code around the tool may bring one that the node has not registered (middleware with tools of its own), so the name
    says nothing yet. The recall tool alone is nobody's but governor's where it is not registered.
    """
    known = registered or (supplied and asked["name"] != recall.RECALL)
    return _call(
        step=step.ref,
        name=asked["name"],
        args=asked["args"],
        id=asked["id"] or "",
        known=known,
        read_only=read_only(tool),
    )


def answered(step: GovernedStep, call: ToolCall, refused: Refused | GraphDrained) -> ToolMessage:
    """The answer to `call`. If the run must end, LangGraph drains it behind this superstep.

    Raises `refused` again where it cannot be answered: nobody would end the run behind it, or the drain is not governor's, so that
    the tool is to be run again on resume.
    """
    if isinstance(refused, GraphDrained):
        if not isinstance(refused.reason, DrainText):
            raise refused
        text, begun = (
            str(refused.reason),
            True,
        )  # a graph that the tool ran shares the run's control; the stop is on its way already
    else:
        if isinstance(refused, RunStopped) and not _ending(step, refused):
            raise refused
        text, begun = refused.reason.text, isinstance(refused, GovernorStop) and refused.begun
    content = f"{'Not finished' if begun else 'Not done'}: {text}"
    return ToolMessage(content=content, name=call.name, tool_call_id=call.id, status="error")


def _ending(step: GovernedStep, stopped: RunStopped) -> bool:
    """Whether the run ends behind the answer. The stop of a run that the tool started goes on to the caller once that is saved."""
    owner = stopped.run if isinstance(stopped, GovernorStop) else step.run
    mine = next((each for each in policies(step) if each.run is owner), None)
    if mine is not None:
        return drain(mine, stopped.reason)
    if step.soft or step.control is None or not isinstance(stopped, GovernorStop):
        return False
    step.run.passing = step.run.passing or stopped
    step.control.request_drain(DrainText(stopped.reason.text))
    return True
