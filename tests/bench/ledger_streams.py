"""Streams that their reader leaves after three chunks: what the ledger says, divided by what the sandbox's meter billed.

Cold, nothing is known of how the provider counts: the ledger's own count errs on the safe side, at up to twice. Warm, a few whole
answers of the model were read before, as in any process that has run for a minute.
"""

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

STREAMS, CHUNKS, WHOLE = 10, 3, 8
PROMPT = (
    "The customer writes that the parcel of last week came without the second box, and asks what happens now. " * 40
)
"""About 1,000 tokens: less than most agents send from their second turn on."""
POLICY: dict[str, Any] = {
    "governor": 1,
    "name": "streams",
    "identity": {"tenant": "config.tenant"},
    "budgets": [{"id": "tenant", "scope": "tenant", "limit": {"usd": 1000}}],
}
CONFIG: Any = {"configurable": {"tenant": "t"}}


def ratio(family: str, *, parallel: bool, asynchronous: bool, warm: bool) -> float:
    """Recorded / true of the streams that were left."""
    answer = Reply(text="word " * 400, pad_to_tokens=500, chunk_delay_ms=1)
    with Sandbox(Scenario.from_callable(lambda _: answer)) as box, asyncio.Runner() as runner:
        model, store = CLIENTS[family](box, max_tokens=500), MemoryStore()

        whole = True

        def sync(state: MessagesState) -> Any:
            stream = model.stream(state["messages"])
            for number, _ in enumerate(stream, 1):
                if number == CHUNKS and not whole:
                    break
            getattr(stream, "close", bool)()
            return {}

        async def asynchronously(state: MessagesState) -> Any:
            stream: Any = model.astream(state["messages"])
            number = 0
            async for _ in stream:
                number += 1
                if number == CHUNKS and not whole:
                    break
            await stream.aclose()
            return {}

        built = StateGraph(MessagesState)
        built.add_node("read", asynchronously if asynchronous else sync)
        built.add_edge(START, "read")
        app, before = govern(built.compile(), POLICY, store=store), WHOLE if warm else 0
        _read(app, before, parallel=False, runner=runner if asynchronous else None)
        spent, billed = _spent(store), box.meter.bill().nano_usd
        whole = False
        _read(app, STREAMS, parallel=parallel, runner=runner if asynchronous else None)
        until, ever = time.monotonic() + 30, threading.Event()
        while len(box.meter.records) < before + STREAMS and time.monotonic() < until:
            ever.wait(0.01)  # the sandbox bills a stream when it notices that nobody reads on
        return (_spent(store) - spent) / (box.meter.bill().nano_usd - billed)


def _spent(store: MemoryStore) -> int:
    return sum(each.spent for each in store.balances() if each.unit is Unit.NANO_USD)


def _read(app: Any, times: int, *, parallel: bool, runner: asyncio.Runner | None) -> None:
    asked: Any = {"messages": [("user", PROMPT)]}

    async def every() -> None:
        if parallel:
            await asyncio.gather(*(app.ainvoke(asked, CONFIG) for _ in range(times)))
        else:
            for _ in range(times):
                await app.ainvoke(asked, CONFIG)

    if runner is not None:
        runner.run(every())
        return
    with ThreadPoolExecutor(times if parallel else 1) as pool:
        list(pool.map(lambda _: app.invoke(asked, CONFIG), range(times)))
