"""Streams that their reader leaves after three chunks: what the ledger says, divided by what the sandbox's meter billed."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from governor.ledger import Unit
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_sandbox import Reply, Sandbox, Scenario
from tests.vendors.clients import CLIENTS

STREAMS, CHUNKS = 10, 3
POLICY: dict[str, Any] = {
    "governor": 1,
    "name": "streams",
    "identity": {"tenant": "config.tenant"},
    "budgets": [{"id": "tenant", "scope": "tenant", "limit": {"usd": 1000}}],
}
CONFIG: Any = {"configurable": {"tenant": "t"}}


def ratio(family: str, *, parallel: bool, asynchronous: bool) -> float:
    """Recorded / true."""
    answer = Reply(text="word " * 400, pad_to_tokens=500, chunk_delay_ms=1)
    with Sandbox(Scenario.from_callable(lambda _: answer)) as box:
        model, store = CLIENTS[family](box, max_tokens=500), MemoryStore()

        def sync(state: MessagesState) -> Any:
            stream = model.stream(state["messages"])
            for _, _ in zip(range(CHUNKS), stream, strict=False):
                pass
            getattr(stream, "close", bool)()
            return {}

        async def asynchronously(state: MessagesState) -> Any:
            stream: Any = model.astream(state["messages"])
            for _ in range(CHUNKS):
                await anext(stream)
            await stream.aclose()
            return {}

        built = StateGraph(MessagesState)
        built.add_node("read", asynchronously if asynchronous else sync)
        built.add_edge(START, "read")
        _read(govern(built.compile(), POLICY, store=store), parallel=parallel, asynchronous=asynchronous)
        until, ever = time.monotonic() + 30, threading.Event()
        while len(box.meter.records) < STREAMS and time.monotonic() < until:
            ever.wait(0.01)  # the sandbox bills a stream when it notices that nobody reads on
        true = box.meter.bill().nano_usd
    return sum(each.spent for each in store.balances() if each.unit is Unit.NANO_USD) / true


def _read(app: Any, *, parallel: bool, asynchronous: bool) -> None:
    asked: Any = {"messages": [("user", "Write at length.")]}

    async def every() -> None:
        if parallel:
            await asyncio.gather(*(app.ainvoke(asked, CONFIG) for _ in range(STREAMS)))
        else:
            for _ in range(STREAMS):
                await app.ainvoke(asked, CONFIG)

    if asynchronous:
        asyncio.run(every())
        return
    with ThreadPoolExecutor(STREAMS if parallel else 1) as pool:
        list(pool.map(lambda _: app.invoke(asked, CONFIG), range(STREAMS)))
