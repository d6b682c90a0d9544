"""Where did the money go? Record a run, then read it back as a tree with tier, tokens and cost at every step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from governor_langgraph import govern, watch
from governor_otel import Node, flush, read_run, setup
from governor_sandbox import Sandbox, Scenario

POLICY = """
governor: 1
name: traced
budgets: [{id: run, scope: run, limit: {usd: 1}}]
tools: {rules: [{id: reads, tool: get_weather, decide: allow}]}
"""
SCENARIO = """
rules: [{when: {calls: {get_weather: 0}}, reply: {tool_calls: [{name: get_weather, args: {city: Ghent}}]}}]
default: Take an umbrella.
"""


@tool
def get_weather(city: str) -> str:
    """Read the weather."""
    return f"rain in {city}"


def lines(nodes: tuple[Node, ...], indent: str = "") -> Iterator[str]:
    """The tree as text. `governor show RUN` draws it with more detail; any OpenTelemetry backend gets the same spans."""
    for node in nodes:
        sums = node.totals
        yield f"{indent}{node.name}: {sums.input_tokens} in, {sums.output_tokens} out, {sums.cost_nano_usd} nano-USD"
        yield from lines(tuple(node.children), indent + "  ")


def main(recording: Path) -> tuple[list[str], int]:
    """Return the tree, and what the provider billed, in nano-USD."""
    setup(recorder=recording)  # OTLP too, when OTEL_EXPORTER_OTLP_ENDPOINT is set
    with Sandbox(Scenario.from_text(SCENARIO)) as box, watch() as runs:
        agent: Any = create_agent(ChatOpenAI(model="gpt-4.1", **box.openai_kwargs()), [get_weather])
        govern(agent, POLICY).invoke({"messages": [("user", "Do I need an umbrella in Ghent?")]})
        billed = box.meter.bill().nano_usd
    flush()
    tree = list(lines(tuple(read_run(runs[0].run.id, recording))))
    print(*tree, f"the provider billed {billed} nano-USD", sep="\n")
    return tree, billed


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(Path(folder) / "runs.db")
