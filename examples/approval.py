"""A person decides: `decide: ask` interrupts the graph before the tool runs, and the answer resumes it."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from governor_langgraph import govern
from governor_sandbox import Sandbox, Scenario

POLICY = """
governor: 1
name: refunds
tools:
  rules:
    - {id: small, tool: refund, when: {args.usd: {at_most: 100}}, decide: allow}
    - {id: large, tool: refund, when: {args.usd: {above: 100}}, decide: ask, expires: 15m}
"""
SCENARIO = """
rules:
  - when: {task: {matches: '\\$(?P<usd>\\d+)'}, calls: {refund: 0}}
    reply: {tool_calls: [{name: refund, args: {usd: "{{ match.usd | int }}"}}]}
default: "{{ tool_result }}"                 # the agent reports what the tool said
"""


def main(amount: int = 250, *, approve: bool = True) -> tuple[dict[str, Any] | None, list[int], str]:
    """Return what a person was asked, the refunds that were made, and the agent's answer."""
    paid = list[int]()

    @tool
    def refund(usd: int) -> str:
        """Refund money."""
        paid.append(usd)
        return f"refunded ${usd}"

    with Sandbox(Scenario.from_text(SCENARIO)) as box:
        model = ChatOpenAI(model="gpt-4.1", **box.openai_kwargs())
        agent: Any = create_agent(model, [refund], checkpointer=InMemorySaver())
        app = govern(agent, POLICY)
        thread: Any = {"configurable": {"thread_id": "ticket-7"}}
        result = app.invoke({"messages": [("user", f"Refund ${amount}, please.")]}, thread)
        asked = result["__interrupt__"][0].value if "__interrupt__" in result else None
        if asked is not None:  # hours later, in another process: the checkpointer kept the state
            print(f"{asked['text']} {asked['tool']} {asked['args']}")
            result = app.invoke(Command(resume="approve" if approve else "reject"), thread)
    print(paid, result["messages"][-1].text)
    return asked, paid, result["messages"][-1].text


if __name__ == "__main__":
    main()
