"""A governed run in a process of its own that kills itself at the k-th point; and what is left of it afterwards.

Points lie before and after everything that leaves a trace: calls of the provider, tools, transactions of the governor's store, writes of
LangGraph's checkpointer. The provider's own bill is a file that it appends to when a request reaches it.
"""

from __future__ import annotations

import itertools
import json
import operator
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Send

from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern
from tests.langgraph.fakes import Whole, calling, policy

if TYPE_CHECKING:
    from collections.abc import Iterator

THREAD: Any = {"configurable": {"thread_id": "t"}}
GIVEN: Any = {"messages": [("user", "work")], "notes": []}
BRANCHES, TURNS = 3, 3
CALLS = BRANCHES + TURNS + 1
RULES = policy(
    budgets=[{"id": "run", "scope": "run", "limit": {"model_calls": 100, "tool_calls": 100, "tokens": "1M"}}],
    loops={"mode": "enforce"},
)


class Points:
    """Counts the points that are passed, and dies at the one that it was told."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.passed = 0

    def __call__(self) -> None:
        with self._lock:
            self.passed = next(self._numbers)
            if self.passed == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


class State(MessagesState):
    notes: Annotated[list[str], operator.add]


def provider(folder: Path, point: Points) -> Whole:
    """A model that answers the same to the same question, and bills each request the moment that it arrives."""

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        branch = messages[-1].text if messages[-1].text.startswith("branch") else None
        key = branch or f"turn {done}"
        point()
        with (folder / "bill").open("a") as bill:
            bill.write(f"{key}\n")
        point()
        if branch or done == TURNS:
            return key
        return calling("look", {"q": str(done)}, call_id=f"c{done}", text=key)

    return Whole(rule=rule, max_tokens=50)


def graph(folder: Path, point: Points, saver: Any) -> Any:
    """Branches side by side, then a loop of model and tool."""
    model = provider(folder, point)

    @tool
    def look(q: str) -> str:
        """Look."""
        point()
        return f"seen {q}"

    def branch(state: Any) -> dict[str, Any]:
        return {"notes": [str(model.invoke([("user", state["name"])]).text)]}

    def agent(state: State) -> dict[str, Any]:
        answer = model.invoke(state["messages"])
        point()
        return {"messages": [answer]}

    built = StateGraph(State)
    built.add_node("branch", branch)
    built.add_node("agent", agent)
    built.add_node("tools", ToolNode([look]))
    built.add_conditional_edges(
        START, lambda state: [Send("branch", {"name": f"branch {n}"}) for n in range(BRANCHES)], ["branch"]
    )
    built.add_edge("branch", "agent")
    built.add_conditional_edges("agent", tools_condition)
    built.add_edge("tools", "agent")
    return built.compile(checkpointer=saver)


class PointedStore(SqliteStore):
    """The governor's store, with a point after each transaction."""

    point: Any = None

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with super()._transaction() as db:
            yield db
        self.point()


class PointedSaver(SqliteSaver):
    """LangGraph's checkpointer, with a point before and after each write."""

    point: Any = None

    def put(self, *args: Any, **kwargs: Any) -> Any:
        self.point()
        answer = super().put(*args, **kwargs)
        self.point()
        return answer

    def put_writes(self, *args: Any, **kwargs: Any) -> None:
        self.point()
        super().put_writes(*args, **kwargs)
        self.point()


def run(folder: Path, kill_at: int) -> None:
    """Begin the run, or go on where the process before was killed. Notes what came of it, unless this one is killed too."""
    point = Points(kill_at)
    store = PointedStore(folder / "governor.db")
    store.point = point
    with PointedSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        saver.point = point  # pyright: ignore[reportAttributeAccessIssue] - from_conn_string answers its own class
        app = govern(graph(folder, point, saver), RULES, store=store)
        begun = bool(app.get_state(THREAD).next or app.get_state(THREAD).values)
        result = app.invoke(None if begun else GIVEN, THREAD)
    store.close()
    found = {"last": result["messages"][-1].text, "notes": sorted(result["notes"]), "points": point.passed}
    (folder / "result").write_text(json.dumps(found))


def billed(folder: Path) -> list[str]:
    """What reached the provider, in order."""
    bill = folder / "bill"
    return bill.read_text().split("\n")[:-1] if bill.exists() else []


def saved(folder: Path) -> set[str]:
    """Answers of the provider that LangGraph has saved: in the state of the latest checkpoint, or as a write that waits for it."""
    with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        kept = saver.get_tuple(THREAD)
    if kept is None:
        return set()
    values: dict[str, Any] = dict(kept.checkpoint["channel_values"])
    found = [values.get("messages", []), values.get("notes", [])]
    found += [value for _, channel, value in kept.pending_writes or () if channel in ("messages", "notes")]
    texts = [getattr(each, "text", each) for part in found for each in part if not isinstance(each, ToolMessage)]
    return {str(text) for text in texts if str(text).startswith(("turn", "branch"))}


def ledgers(folder: Path, *, expire: bool) -> dict[str, tuple[int, int]]:
    """(spent, reserved) by unit, of all runs in the store. With `expire`, once every lease's time is over."""
    store = SqliteStore(folder / "governor.db")
    if expire:
        from governor.ledger import Hold, ReserveRequest, Unit

        later = Runtime(load(RULES)).clock() + 3_600_000
        hold = Hold(
            ledger="other", unit=Unit.CALLS, amount=1, limit=None, budget="other", scope="run=other", written="1"
        )
        store.reserve(ReserveRequest(id="sweep", holds=(hold,), ttl_ms=1, now_ms=later))
    found: dict[str, tuple[int, int]] = {}
    for balance in store.balances("run/"):
        spent, reserved = found.get(balance.unit, (0, 0))
        found[balance.unit] = (spent + balance.spent, reserved + balance.reserved)
    store.close()
    return found
