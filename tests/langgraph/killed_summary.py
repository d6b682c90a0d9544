"""A governed run with a summary, in a process of its own that kills itself at the k-th point (see `killed`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from governor.controls.compact.summary import ALONE
from governor.runs import RunState
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern
from tests.langgraph import graphs
from tests.langgraph.fakes import Whole, calling, policy
from tests.langgraph.killed import GIVEN, THREAD, PointedSaver, PointedStore, Points

PAGES, NAME = 5, "LangGraph"
RULES = policy(
    tiers={
        "big": {"model": "fake:big-1", "price": {"input": 3, "output": 15}, "context_window": "14k"},
        "small": {"model": "fake:small-1", "price": {"input": 1, "output": 2}, "context_window": "100k"},
    },
    routing={"default": "big"},
    context={"compact": {"strategy": "summarise", "keep_tail": "2k", "ledger": "300"}},
    budgets=[{"id": "run", "scope": "run", "limit": {"model_calls": 90, "tokens": "1M"}}],
)


def provider(folder: Path, point: Points) -> Whole:
    """Asks for the page after the last one it sees, and bills each request the moment that it arrives."""

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        asked = isinstance(messages[0], SystemMessage) and messages[0].text == ALONE
        seen = [int(message.text.split(":")[0]) for message in messages if isinstance(message, ToolMessage)]
        page = max(seen, default=-1) + 1
        point()
        with (folder / "bill").open("a") as bill:
            bill.write("summary\n" if asked else f"page {page}\n")
        point()
        if asked:
            return "All dull."
        return "the end" if page == PAGES else calling("chapter", {"page": page}, call_id=f"c{page}")

    return Whole(rule=rule, max_tokens=50)


def run(folder: Path, kill_at: int) -> None:
    """Begin the run, or go on where the process before was killed. Notes what came of it, unless this one is killed too."""
    point = Points(kill_at)
    store = PointedStore(folder / "governor.db")
    store.point = point

    @tool
    def chapter(page: int) -> str:
        """Fetch a page."""
        return "\n".join(f"{page}: line {n} of page {page}, nothing to see here" for n in range(100))

    with PointedSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        saver.point = point  # pyright: ignore[reportAttributeAccessIssue] - from_conn_string answers its own class
        model = provider(folder, point)
        graph = graphs.tool_loop(model, [chapter], checkpointer=saver)
        app = govern(graph, RULES, store=store, clients={"big": model, "small": model})
        begun = bool(app.get_state(THREAD).next or app.get_state(THREAD).values)
        result = app.invoke(None if begun else GIVEN, THREAD)
    store.close()
    (folder / "result").write_text(json.dumps({"last": result["messages"][-1].text, "points": point.passed}))


@contextmanager
def opened(folder: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(folder / "governor.db")
    yield store
    store.close()


def summaries(folder: Path) -> int:
    """How many cuts with a summary the store knows of."""
    with opened(folder) as store:
        run = store.latest_run(f"{NAME}/t")
        if run is None:
            return 0
        state: RunState = store.change(run, lambda state: (state, state))
        return sum(bool(cut.summary) for lane in state.lanes.values() for cut in lane.cuts)


def charged(folder: Path) -> tuple[int, int]:
    """(spent, reserved) model calls."""
    with opened(folder) as store:
        found: list[Any] = [each for each in store.balances("run/") if each.unit == "model_calls"]
        return sum(each.spent for each in found), sum(each.reserved for each in found)
