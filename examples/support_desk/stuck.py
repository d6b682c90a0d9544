"""Two agents that get stuck: one asks the same thing for ever, one goes back and forth. Bare, only a step limit ends them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.errors import GraphRecursionError

from examples.support_desk.ways import POLICY, frontier, provider
from governor.decisions import Reason
from governor_langgraph import GovernorReport, govern
from governor_sandbox import Conversation, Reply, Scenario, ScriptedCall

BARE_STEPS = 80
"""Where the bare agents are cut off. LangGraph itself would let them go on for 10,007 steps."""


@tool
def get_gateway_state(gateway: str) -> str:
    """Ask a payment gateway how it is."""
    number = uuid.uuid4()  # answers that differ in a request's number alone are the same answer
    return f"Gateway {gateway}: last settled 2026-11-20, balance 1,204.50, request {number}."


@tool
def get_queue_length(gateway: str) -> str:
    """Count the payments that wait for a gateway."""
    return f"Gateway {gateway}: 3 payments in the queue."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """What became of one stuck agent, bare and governed."""

    name: str
    bare_calls: int
    bare_nano_usd: int
    calls: int
    nano_usd: int
    reason: Reason | None
    """Why the governed run was stopped; None when a nudge was enough."""
    nudged: bool
    answer: str


def _insists(conversation: Conversation) -> Reply:
    """A model that alternates between two tools and listens to nobody."""
    turn = sum(message.role == "assistant" for message in conversation.messages) % 2
    name = ("get_gateway_state", "get_queue_length")[turn]
    return Reply(text="Let me check once more.", tool_calls=(ScriptedCall(name=name, args={"gateway": "north"}),))


def _obeys(conversation: Conversation) -> Reply:
    """A model that repeats itself until it is told."""
    if _NUDGE.search(conversation.last.text):
        return Reply(text="The gateway has not settled yet; I leave it at that and report it as pending.")
    return Reply(
        text="Let me check once more.", tool_calls=(ScriptedCall(name="get_gateway_state", args={"gateway": "north"}),)
    )


_NUDGE = re.compile(r"repeat|again|loop|same", re.IGNORECASE)


def run_stuck() -> tuple[Stuck, ...]:
    """Both agents, each bare and governed by the support desk's own policy."""
    return tuple(
        _one(name, model) for name, model in (("asks the same for ever", _obeys), ("goes back and forth", _insists))
    )


def _one(name: str, model: Callable[[Conversation], Reply]) -> Stuck:
    question = {"messages": [("user", "Has gateway north settled? Tell me when it has.")]}
    with provider(Scenario.from_callable(model)) as box:
        agent: Any = create_agent(frontier(), [get_gateway_state, get_queue_length])
        with suppress(GraphRecursionError):
            agent.invoke(question, {"recursion_limit": BARE_STEPS})
        bare = box.meter.bill()
    reports: list[GovernorReport] = []
    with provider(Scenario.from_callable(model)) as box:
        config = {
            "configurable": {"tenant": "harbour-shop", "user": "C-1002", "thread_id": name},
            "recursion_limit": BARE_STEPS,
        }
        result = govern(agent, policy=POLICY, on_report=reports.append).invoke(question, config)
        bill = box.meter.bill()
    return Stuck(
        name=name,
        bare_calls=bare.requests,
        bare_nano_usd=bare.nano_usd,
        calls=bill.requests,
        nano_usd=bill.nano_usd,
        reason=reports[-1].stopped,
        nudged=bool(reports[-1].state.loop.nudged),
        answer=str(result["messages"][-1].text),
    )
