"""Where a unit stands: by itself, behind a tool of an agent, or as an agent among others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langgraph_swarm import create_swarm

from tests.langgraph.fakes import Streaming, calling
from tests.langgraph.matrix.ground import Ground


@dataclass(frozen=True)
class Host:
    """How it takes a unit, and what it calls itself."""

    build: Callable[[Ground, Any, bool], Any]
    calls: int
    tools: int


def _driver(g: Ground, tool: str, args: dict[str, Any]) -> Streaming:
    """Asks for a tool once, and is done when anything has come back."""

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        return "done" if any(isinstance(each, ToolMessage) for each in messages) else calling(tool, args, call_id="h1")

    return Streaming(rule=rule, calls=g.seen)


def alone(g: Ground, unit: Any, asynchronous: bool) -> Any:
    return unit


def agent(g: Ground, unit: Any, asynchronous: bool) -> Any:
    def work(q: str) -> str:
        """Have the work done."""
        g.seen.used("host")
        return str(unit.invoke({"messages": [("user", q)]})["messages"][-1].content)

    async def awork(q: str) -> str:
        """Have the work done."""
        g.seen.used("host")
        return str((await unit.ainvoke({"messages": [("user", q)]}))["messages"][-1].content)

    tool = StructuredTool.from_function(
        None if asynchronous else work, coroutine=awork, name="have_done", description="Have the work done."
    )
    return create_agent(_driver(g, "have_done", {"q": "x"}), [tool])


def supervisor(g: Ground, unit: Any, asynchronous: bool) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langgraph_supervisor import create_supervisor

        return create_supervisor([unit], model=_driver(g, "transfer_to_unit", {}), output_mode="last_message").compile()


def swarm(g: Ground, unit: Any, asynchronous: bool) -> Any:
    from langgraph_swarm import create_handoff_tool

    first = create_agent(
        _driver(g, "transfer_to_unit", {}),
        [create_handoff_tool(agent_name="unit", description="Ask the unit.")],
        name="first",
    )
    return create_swarm([first, unit], default_active_agent="first").compile()


def deep_agent(g: Ground, unit: Any, asynchronous: bool) -> Any:
    from deepagents import create_deep_agent

    model = _driver(g, "task", {"description": "do it", "subagent_type": "unit"})
    return create_deep_agent(
        model, subagents=[{"name": "unit", "description": "Does the work.", "runnable": unit}], system_prompt="Work."
    )


HOSTS: dict[str, Host] = {
    "alone": Host(alone, 0, 0),
    "create_agent": Host(agent, 2, 1),
    "supervisor": Host(supervisor, 2, 1),
    "swarm": Host(swarm, 1, 1),
    # It does not install beside the oldest versions that governor supports.
    **({"deepagents": Host(deep_agent, 2, 1)} if find_spec("deepagents") else {}),
}
