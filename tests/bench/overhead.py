"""What governing costs per agent-and-tool pair: bare, governed with every control on, and LangChain's three idle middlewares.

    make bench                       prints the table
    make bench JSON=figures.json     writes its figures too

One pair is one model call that asks for a tool and the tool call that answers it. All variants run in one process, interleaved, and the
figure is CPU time (user + system) of the process. The fastest of the repetitions counts; what a variant adds is its fastest less the
fastest of its base. The model is scripted and answers at once, so everything that is measured is framework and middleware.

Other work on the machine takes no CPU time from the process, but caches and memory, and that is felt. So the table says beside what is
added how far it varies: half the distance between the quartiles of (variant - base) over the rounds, each of which runs every
variant once. With a checkpointer a long run costs twenty times what governing adds to it, because every checkpoint holds the whole
history: where the variation is as large as the figure, neither the figure nor a ratio made of it says anything.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware, SummarizationMiddleware, ToolCallLimitMiddleware
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from rich.console import Console
from rich.table import Table
from typing_extensions import TypedDict

from governor_langgraph import govern

POLICY = Path(__file__).with_name("overhead.yaml")
IDLE = 10**9
FEWEST = 7
"""Rounds of the longest runs, which fit the number of pairs only once or twice."""


class Scripted(BaseChatModel):
    """Asks for the tool `pairs` times, each time about something new, then answers."""

    pairs: int

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """A model with a known price, so that the money budget is at work too."""
        return LangSmithParams(ls_provider="openai", ls_model_name="gpt-4o", ls_model_type="chat")

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[{"type": "function", "function": {"name": t.name, "parameters": {}}} for t in tools])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # the newest tool result carries the number of its pair: O(1), so that the model's own cost does not grow with the history
        last = messages[-1]
        done = int(str(last.content).split()[0]) if isinstance(last, ToolMessage) else 0
        if done < self.pairs:
            calls = [{"name": "look_up", "args": {"number": done + 1}, "id": f"call-{done}", "type": "tool_call"}]
            message = AIMessage(content="", tool_calls=calls)
        else:
            message = AIMessage(content="done")
        message.usage_metadata = {
            "input_tokens": 60 * len(messages),
            "output_tokens": 20,
            "total_tokens": 60 * len(messages) + 20,
        }
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def look_up(number: int) -> str:
    """Look a number up."""
    return f"{number} is the number of an order placed by customer {number * 7919 % 104729}, shipped to warehouse {number % 13}."


class Messages(TypedDict):
    """State of the raw graph."""

    messages: Annotated[list[AnyMessage], add_messages]


def agent(pairs: int, saver: bool, middleware: Sequence[Any] = ()) -> Any:
    """`create_agent` over the scripted model."""
    return create_agent(
        Scripted(pairs=pairs), [look_up], middleware=middleware, checkpointer=InMemorySaver() if saver else None
    )


def raw(pairs: int, saver: bool) -> Any:
    """The same agent as a plain StateGraph with a model call in a node function and a ToolNode."""
    model = Scripted(pairs=pairs).bind_tools([look_up])

    def think(state: Messages) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def route(state: Messages) -> str:
        return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END

    graph = StateGraph(Messages)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", route, ["tools", END])
    graph.add_edge("tools", "think")
    return graph.compile(checkpointer=InMemorySaver() if saver else None)


def idle_middlewares() -> list[Any]:
    """LangChain's Summarization, ModelCallLimit and ToolCallLimit, with limits that never trigger."""
    return [
        SummarizationMiddleware(model=Scripted(pairs=0), trigger=("tokens", IDLE)),
        ModelCallLimitMiddleware(run_limit=IDLE),
        ToolCallLimitMiddleware(run_limit=IDLE),
    ]


VARIANTS: dict[str, Callable[[int, bool], Any]] = {
    "create_agent": agent,
    "create_agent governed": lambda pairs, saver: govern(agent(pairs, saver), policy=POLICY),
    "create_agent + 3 middlewares": lambda pairs, saver: agent(pairs, saver, idle_middlewares()),
    "raw graph": raw,
    "raw graph governed": lambda pairs, saver: govern(raw(pairs, saver), policy=POLICY),
}
BASE_OF = {
    "create_agent governed": "create_agent",
    "create_agent + 3 middlewares": "create_agent",
    "raw graph governed": "raw graph",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """CPU milliseconds per pair of one variant."""

    variant: str
    pairs: int
    saver: bool
    ms: float
    added_ms: float | None
    """On top of the ungoverned variant; None for those."""
    varies_ms: float = 0.0
    """Half the distance between the quartiles of what is added, over the rounds."""


def cpu_ms(build: Callable[[int, bool], Any], pairs: int, saver: bool, round_: int) -> float:
    """CPU milliseconds per pair of one whole run, building excluded."""
    app = build(pairs, saver)
    config = {"configurable": {"thread_id": f"bench-{round_}"}, "recursion_limit": 20 * pairs + 100}
    gc.collect()  # or this run would clear up after the one before
    start = time.process_time_ns()
    result = app.invoke({"messages": [("user", "Look all numbers up.")]}, config)
    spent = time.process_time_ns() - start
    if len(result["messages"]) != 2 * pairs + 2:
        message = f"the run ended early: {len(result['messages'])} messages instead of {2 * pairs + 2}"
        raise RuntimeError(message)
    return spent / 1e6 / pairs


def measure(sizes: Sequence[int], budget_pairs: int) -> list[Figure]:
    """All variants at all sizes, interleaved; each size repeats until about `budget_pairs` pairs have run per variant."""
    figures: list[Figure] = []
    for build in VARIANTS.values():
        cpu_ms(
            build, 10, saver=False, round_=0
        )  # what is imported and remembered once per process is no cost of a pair
    for saver in (False, True):
        for pairs in sizes:
            spent: dict[str, list[float]] = {name: [] for name in VARIANTS}
            for round_ in range(max(FEWEST, budget_pairs // pairs)):
                for name, build in VARIANTS.items():
                    spent[name].append(cpu_ms(build, pairs, saver, round_))
            figures += [figure(name, spent, pairs, saver=saver) for name in VARIANTS]
    return figures


def figure(name: str, spent: dict[str, list[float]], pairs: int, *, saver: bool) -> Figure:
    """One variant's figure from the milliseconds of all rounds, by variant."""
    base, fastest = BASE_OF.get(name), min(spent[name])
    if base is None:
        return Figure(variant=name, pairs=pairs, saver=saver, ms=fastest, added_ms=None)
    differences = [mine - bare for mine, bare in zip(spent[name], spent[base], strict=True)]
    low, _, high = statistics.quantiles(differences, n=4)
    added = fastest - min(spent[base])
    return Figure(variant=name, pairs=pairs, saver=saver, ms=fastest, added_ms=added, varies_ms=(high - low) / 2)


def ratios(figures: Sequence[Figure]) -> dict[str, float]:
    """The ratios that the goals are about; each compares figures of this one run."""
    added = {(f.variant, f.saver, f.pairs): f.added_ms for f in figures if f.added_ms is not None}
    sizes = sorted({f.pairs for f in figures})
    out: dict[str, float] = {}
    for saver in (False, True):
        where = "with checkpointer" if saver else "no checkpointer"
        for pairs in sizes:
            ours, theirs = (
                added["create_agent governed", saver, pairs],
                added["create_agent + 3 middlewares", saver, pairs],
            )
            out[f"governed / 3 middlewares, added, N={pairs}, {where}"] = ours / theirs
        for graph in ("create_agent governed", "raw graph governed"):
            out[f"{graph}: added at N={sizes[-1]} / N={sizes[0]}, {where}"] = (
                added[graph, saver, sizes[-1]] / added[graph, saver, sizes[0]]
            )
    return out


def main() -> None:
    """Measure, print, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--pairs", type=int, default=3000, help="pairs to run per variant and size")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.sizes, options.pairs)
    console = Console()
    table = Table(title="CPU ms per agent + tool pair (fastest repetition)")
    for column in ("variant", "checkpointer", "N", "ms", "added"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for f in figures:
        added = "" if f.added_ms is None else f"{f.added_ms:+.3f} ±{f.varies_ms:.3f}"
        table.add_row(f.variant, "yes" if f.saver else "no", str(f.pairs), f"{f.ms:.3f}", added)
    console.print(table)
    found = ratios(figures)
    for name, ratio in found.items():
        console.print(f"{name}: [bold]{ratio:.2f}[/bold]")
    if options.json:
        rows = [
            {
                "variant": f.variant,
                "pairs": f.pairs,
                "saver": f.saver,
                "ms": f.ms,
                "added_ms": f.added_ms,
                "varies_ms": f.varies_ms,
            }
            for f in figures
        ]
        options.json.write_text(json.dumps({"figures": rows, "ratios": found}, indent=2))


if __name__ == "__main__":
    main()
