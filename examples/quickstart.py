"""One line around an agent: the policy decides which tools run and what may be spent. Offline: a sandbox plays the provider."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from governor_langgraph import govern, watch
from governor_sandbox import Sandbox, Scenario

POLICY = """
governor: 1
name: quickstart
budgets:
  - {id: run, scope: run, limit: {usd: 0.10, model_calls: 10}}
tools:
  default: deny
  rules:
    - {id: reads, tool: "get_*", decide: allow}
"""
SCENARIO = """
rules:
  - {when: {calls: {get_order: 0}}, reply: {tool_calls: [{name: get_order, args: {order: O-1}}]}}
  - {when: {calls: {delete_order: 0}}, reply: {tool_calls: [{name: delete_order, args: {order: O-1}}]}}
default: "O-1 was shipped yesterday. I may not delete it."
"""


@tool
def get_order(order: str) -> str:
    """Read an order."""
    return f"{order}: shipped yesterday"


@tool
def delete_order(order: str) -> str:
    """Delete an order."""
    return f"{order} is gone"


def main() -> dict[str, str]:
    """Ask once; return what each tool answered, and the agent's last words."""
    with Sandbox(Scenario.from_text(SCENARIO)) as box, watch() as runs:
        agent: Any = create_agent(ChatOpenAI(model="gpt-4.1", **box.openai_kwargs()), [get_order, delete_order])
        app = govern(agent, policy=POLICY)  # the one line
        result = app.invoke({"messages": [("user", "Where is O-1? Delete it.")]})
    answers = {message.name: message.text for message in result["messages"] if message.type == "tool"}
    print(*(f"{name}: {text}" for name, text in answers.items()), sep="\n")
    print(f"{runs[0].state.model_calls} model calls: {result['messages'][-1].text}")
    return {**answers, "agent": result["messages"][-1].text}


if __name__ == "__main__":
    main()
