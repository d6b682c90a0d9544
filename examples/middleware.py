"""`GovernorMiddleware` as one entry of `create_agent(middleware=[...])`: two tiers of models, and escalation after a failed tool."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import ToolException, tool
from langchain_openai import ChatOpenAI

from governor_langgraph import GovernorMiddleware
from governor_sandbox import Sandbox, Scenario

POLICY = """
governor: 1
name: tiers
tiers:                                     # best first
  frontier: {model: "openai:gpt-4.1"}
  commodity: {model: "openai:gpt-4.1-nano"}
routing:
  default: commodity
  escalate: {after: tool_error, for: 2 steps}
budgets:
  - {id: run, scope: run, limit: {usd: 0.10}}
tools: {default: allow}
"""
SCENARIO = """
rules:
  - {when: {calls: {book: 0}}, reply: {tool_calls: [{name: book, args: {day: Sunday}}]}}
  - {when: {calls: {book: 1}}, reply: {tool_calls: [{name: book, args: {day: Monday}}]}}
default: Booked for Monday.
"""


@tool
def book(day: str) -> str:
    """Book a table."""
    if day == "Sunday":
        raise ToolException("closed on Sunday")
    return f"booked: {day}"


book.handle_tool_error = True


def main() -> list[str]:
    """Book a table; return the model that answered each call, as the provider's own meter saw it."""
    with Sandbox(Scenario.from_text(SCENARIO)) as box:
        small, large = (ChatOpenAI(model=name, **box.openai_kwargs()) for name in ("gpt-4.1-nano", "gpt-4.1"))
        governor = GovernorMiddleware(POLICY, clients={"commodity": small, "frontier": large})
        agent: Any = create_agent(large, [book], middleware=[governor])
        result = agent.invoke({"messages": [("user", "A table, please.")]})
        models = [record.model for record in box.meter.records]
    print(f"{' -> '.join(models)}: {result['messages'][-1].text}")
    return models


if __name__ == "__main__":
    main()
