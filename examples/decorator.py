"""`@governed` on the function that builds a graph: whoever calls it gets a governed graph, and nothing else changes."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool
from langgraph.graph.state import CompiledStateGraph

from governor_langgraph import governed, watch
from governor_sandbox import Sandbox, Scenario

SCENARIO = """
default: {tool_calls: [{name: look_up, args: {word: "{{ task.text }}"}}]}   # a model that never stops looking
"""


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return f"nothing about {word}"


@governed(
    {
        "governor": 1,
        "name": "lookup",
        "tools": {"default": "allow"},
        "loops": {"respond": ["nudge", "block", "stop"]},  # fruitless repetition is answered, mildest first
        "limits": {"steps": 100},
    }
)
def build(model: BaseChatModel) -> CompiledStateGraph[Any, Any, Any, Any]:
    """An agent as anyone would build it."""
    return create_agent(model, [look_up])


def main() -> tuple[int, str]:
    """Let the agent run; return how many answers it took until the policy stopped it, and why."""
    with Sandbox(Scenario.from_text(SCENARIO)) as box, watch() as runs:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", timeout=None, stop=None, **box.anthropic_kwargs())
        build(model).invoke({"messages": [("user", "governor")]})
        calls = len(box.meter.records)
    stopped = runs[0].stopped
    why = stopped.text if stopped else "it ended by itself"
    print(f"after {calls} model calls: {why}")
    return calls, why


if __name__ == "__main__":
    main()
