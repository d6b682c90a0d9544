"""Fifty runs at once against a tenant's budget for ten. Nobody may pass it by a single nano-USD, on the provider's own meter."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from examples.support_desk.ways import frontier, provider
from governor import RunStopped
from governor.stores.contract import Store
from governor.stores.opening import open_store
from governor_langgraph import govern
from governor_sandbox import Conversation, Reply, Scenario

RUNS = 50
HOLDS = 10
QUESTION = {"messages": [HumanMessage("Summarise the open tickets of the week for the board.")]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What fifty runs at once came to."""

    budget_nano_usd: int
    nano_usd: int
    """The sandbox's bill."""
    answered: int
    refused: int
    refusal: str
    """What a refused caller reads."""


def run_burst(runs: int = RUNS, holds: int = HOLDS, *, store: str | None = None) -> Burst:
    """All runs start together, and no answer comes before every run was either sent or refused: the worst moment for a budget.

    The ledger is in `store`, an address, under a tenant that nobody had before; without one in an SQLite file that is gone afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        ledgers = open_store(store or f"sqlite:///{Path(folder) / 'burst.db'}")
        try:
            return _run(ledgers, runs, holds)
        finally:
            ledgers.close()


def _run(store: Store, runs: int, holds: int) -> Burst:
    crowd = _Crowd(runs, f"harbour-shop-{uuid4().hex[:8]}")
    with provider(Scenario.from_callable(crowd.answer)) as box:
        budget = holds * _worst_case()
        app = govern(_graph(), policy=_policy(budget), store=store)
        with ThreadPoolExecutor(runs) as pool:
            outcomes = list(pool.map(partial(crowd.ask, app), range(runs)))
        bill = box.meter.bill()
    refusals = [outcome for outcome in outcomes if outcome is not None]
    return Burst(
        budget_nano_usd=budget,
        nano_usd=bill.nano_usd,
        answered=bill.requests,
        refused=len(refusals),
        refusal=str(refusals[0]) if refusals else "",
    )


class _Crowd:
    """Lets the first answer go only when every run is with the provider or refused."""

    def __init__(self, runs: int, tenant: str) -> None:
        self._waiting = runs
        self._tenant = tenant
        self._changed = threading.Condition()

    def answer(self, conversation: Conversation) -> Reply:
        """The emulated model: waits for the others, then uses its whole allowance."""
        del conversation
        self._arrived()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting <= 0, timeout=30)
        return Reply(text="All tickets are in hand.", pad_to_tokens=5000)

    def ask(self, app: Any, number: int) -> RunStopped | None:
        """One run."""
        try:
            app.invoke(QUESTION, _config(number, self._tenant))
        except RunStopped as refused:
            self._arrived()
            return refused
        return None

    def _arrived(self) -> None:
        with self._changed:
            self._waiting -= 1
            self._changed.notify_all()


def _config(number: int, tenant: str = "harbour-shop") -> Any:
    return {"configurable": {"tenant": tenant, "user": "C-1002", "thread_id": f"{tenant}-board-{number}"}}


def _graph() -> Any:
    model = frontier()

    def summarise(state: MessagesState) -> dict[str, list[AnyMessage]]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("summarise", summarise)
    graph.add_edge(START, "summarise")
    graph.add_edge("summarise", END)
    return graph.compile(name="board_summary")


def _policy(nano_usd: int) -> dict[str, Any]:
    """The support desk's policy, tightened by a budget for this tenant; a run that it refuses is an error here."""
    limit = f"{Decimal(nano_usd).scaleb(-9):f}"
    return {
        "governor": 1,
        "name": "board-summaries",
        "extends": "support",
        "budgets": [{"id": "tenant-burst", "scope": "tenant", "limit": {"usd": limit}}],
        "on_exhausted": "stop",
    }


def _worst_case() -> int:
    """What one run reserves, as a refusal under a budget of one nano-USD says it."""
    try:
        govern(_graph(), policy=_policy(1)).invoke(QUESTION, _config(0))
    except RunStopped as refused:
        return int(refused.reason.evidence["needed"])
    message = "a budget of one nano-USD let a call pass"
    raise AssertionError(message)
