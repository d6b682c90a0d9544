"""What governing one model call costs as its history grows: CPU time at 100 to 5,000 messages, and the size of the run's state.

    make bench                        prints this table after that of the overhead
    make bench JSON=figures.json      writes its figures beside: figures.json.longrun

A node asks a scripted model again and again, each time with two messages more: a call for a tool and its result of about 150 tokens,
no two alike, so that compaction is at work. What is timed is all that
governor does in a call, with every control on, and nothing of LangChain's. Calls that cut the history are left out, as they pay for
themselves (`cuts` says how many there were). `clock` has a system text
with another time at each call.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from pydantic import Field
from rich.console import Console
from rich.table import Table
from typing_extensions import TypedDict

from governor.runs import dump_state
from governor_langgraph import calling, govern, report_of
from tests.bench.overhead import POLICY, look_up

SIZES = (100, 1_000, 5_000)
CALLS = 20
"""Calls that are timed at each size, each with two messages more than the one before."""
STRIDE = 500
"""Before that only one in so many is made: the history is grown, and nothing timed."""
GOAL_MS = 1.0


class Silent(BaseChatModel):
    """Answers at once, and remembers what it was asked."""

    heard: list[int] = Field(default_factory=list[int])
    max_tokens: int = 100

    @property
    def _llm_type(self) -> str:
        return "silent"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """A model with a known price, so that the money budget and the rent of a cut are at work."""
        return LangSmithParams(ls_provider="openai", ls_model_name="gpt-4o", ls_model_type="chat")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.heard.append(len(messages))
        tokens = 60 * len(messages)
        usage: Any = {"input_tokens": tokens, "output_tokens": 20, "total_tokens": tokens + 20}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("done", usage_metadata=usage))])


class Nothing(TypedDict):
    """The histories are the node's own: LangGraph's cost of keeping them is not what is measured."""

    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one call costs at one size, in milliseconds of CPU time."""

    name: str
    messages: int
    median: float
    fastest: float
    """Other work on the machine makes caches cold, never warm: the fastest call is the one it disturbed least."""
    loop: float
    """A yardstick: 10,000 additions in a loop, at the same time."""
    cuts: int
    """Governed calls that shortened the history, left out."""
    state_bytes: int
    """The run's state as stores keep it."""


def system(clock: bool, number: int) -> SystemMessage:
    """The system text of a call."""
    rules = "\n".join([f"Rule {at}: ask a person before an order of kind {at} is changed." for at in range(60)])
    return SystemMessage(f"You are the desk.\nCurrent time: {number if clock else 0} s\n{rules}")


def pair(number: int) -> list[BaseMessage]:
    """A tool call and its result."""
    call = {"name": "look_up", "args": {"number": number}, "id": f"c{number}"}
    text = " ".join([f"row{number}-{at} order {number * 31 + at} is open" for at in range(12)])
    return [
        AIMessage("", id=f"a{number}", tool_calls=[call]),
        ToolMessage(text, id=f"t{number}", tool_call_id=f"c{number}", name="look_up"),
    ]


def graph(ask: Callable[[], None]) -> Any:
    """A graph of one node that asks, and of one that answers recall, so that results may be shortened."""

    def node(state: Nothing) -> dict[str, Any]:
        ask()
        return {"done": True}

    built = StateGraph(Nothing)
    built.add_node("ask", node)
    built.add_node("tools", ToolNode([look_up]))
    built.add_edge(START, "ask")
    built.add_conditional_edges("ask", lambda _: END, ["tools", END])
    built.add_edge("tools", END)
    return built.compile(checkpointer=InMemorySaver())


class Own:
    """A stopwatch of what governor does in a call: from LangChain's prompt to its answer, the bare call left out."""

    def __init__(self) -> None:
        """Hang it in."""
        self.spent: list[float] = []
        self._generate: Callable[..., Any] = calling.generate

    def __enter__(self) -> Own:
        """Begin to listen."""
        calling.generate = self._timed
        return self

    def __exit__(self, *_: object) -> None:
        """Take it out."""
        calling.generate = self._generate

    def _timed(self, step: Any, model: Any, messages: Any, kwargs: Any, call: Any, **more: Any) -> Any:
        inside = 0.0

        def bare(out: Any) -> Any:
            nonlocal inside
            begun = time.process_time()
            answer = call(out)
            inside += time.process_time() - begun
            return answer

        begun = time.process_time()
        answer = self._generate(step, model, messages, kwargs, bare, **more)
        self.spent.append((time.process_time() - begun - inside) * 1_000)
        return answer


def governed(messages: int, *, clock: bool) -> tuple[list[float], list[int], int]:
    """Milliseconds of governor's in each timed call, how many messages each sent, and bytes of the run's state."""
    model = Silent()

    def ask() -> None:
        history: list[BaseMessage] = [HumanMessage("Close every order.", id="task")]
        for number in range(messages // 2):
            history += pair(number)
            if number >= messages // 2 - CALLS or number % STRIDE == 0:
                model.invoke([system(clock, number), *history])

    app, config = govern(graph(ask), POLICY), {"configurable": {"thread_id": "t"}}
    with Own() as own:
        app.invoke({"done": False}, config)
    report = report_of(app, config)
    return own.spent[-CALLS:], model.heard[-CALLS:], len(dump_state(report.state)) if report else 0


def loop() -> float:
    """A yardstick of the machine as it is now: the fastest of some loops of 10,000 additions, in milliseconds."""
    spent: list[float] = []
    for _ in range(30):
        begun, sum_ = time.process_time(), 0
        for each in range(10_000):
            sum_ += each
        spent.append((time.process_time() - begun) * 1_000)
    return min(spent)


def figure(messages: int, *, clock: bool) -> Figure:
    """Measure one size."""
    gc.collect()
    spent, heard, state = governed(messages, clock=clock)
    cuts = {at for at in range(1, len(heard)) if heard[at] <= heard[at - 1]}
    kept = [each for at, each in enumerate(spent) if at not in cuts]
    return Figure(
        name="clock" if clock else "plain",
        messages=messages,
        median=statistics.median(kept),
        fastest=min(kept),
        loop=loop(),
        cuts=len(cuts),
        state_bytes=state,
    )


def shown(figures: Sequence[Figure]) -> Table:
    """The table."""
    table = Table(
        title="CPU that governing a model call takes, milliseconds, by messages of its history; calls that cut left out"
    )
    for column in (
        "system text",
        "messages",
        "median",
        "fastest",
        "10,000 additions",
        "cuts",
        "state, bytes",
        f"<= {GOAL_MS:g} ms",
    ):
        table.add_column(column, justify="right")
    for each in figures:
        cells = (f"{each.median:.3f}", f"{each.fastest:.3f}", f"{each.loop:.3f}", str(each.cuts), str(each.state_bytes))
        table.add_row(each.name, str(each.messages), *cells, str(each.fastest <= GOAL_MS))
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = [figure(messages, clock=clock) for clock in (False, True) for messages in SIZES]
    Console().print(shown(figures))
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in figures], indent=2))


if __name__ == "__main__":
    main()
