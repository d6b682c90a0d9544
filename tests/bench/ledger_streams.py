"""Streams that their reader leaves after three chunks: what the ledger says, divided by what the sandbox's meter billed.

Cold, nothing is known of how the provider counts but what is known of the model's family. Warm, a few whole answers of the model were
read before, as in any process that has run for a minute. The piece that may be under way when the reader leaves is charged as well: of
an answer that is left after three pieces that is a third, which a tiny prompt has nothing to set against.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from governor.ledger import Unit
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_sandbox import Reply, Sandbox, Scenario
from tests.vendors.clients import CLIENTS

STREAMS, CHUNKS, WHOLE = 10, 3, 8
DELAY_MS = 10
"""Between two pieces of eight tokens: 800 tokens a second, some ten times what a large model writes."""
SAID = "The customer writes that the parcel of last week came without the second box, and asks what happens now. "
PROMPTS = {"tiny": "Hello.", "small": SAID * 4, "usual": SAID * 40, "large": SAID * 400}
"""About 5, 100, 1,000 and 10,000 tokens. Most agents send more than the third from their second turn on."""
POLICY: dict[str, Any] = {
    "governor": 1,
    "name": "streams",
    "identity": {"tenant": "config.tenant"},
    "budgets": [{"id": "tenant", "scope": "tenant", "limit": {"usd": 1000}}],
}
_cases = count(1)
CONFIG: Any = {"configurable": {"tenant": "t"}}


def ratio(family: str, *, parallel: bool, asynchronous: bool, warm: bool, prompt: str = "usual") -> float:
    """Recorded / true of the streams that were left."""
    whole = True
    answers = {each: Reply(pad_to_tokens=500, chunk_delay_ms=0 if each else DELAY_MS) for each in (True, False)}
    with Sandbox(Scenario.from_callable(lambda _: answers[whole])) as box, asyncio.Runner() as runner:
        model, store = CLIENTS[family](box, max_tokens=500), MemoryStore()

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
        _read(app, before, prompt, parallel=False, runner=runner if asynchronous else None)
        spent, billed = _spent(store), box.meter.bill().nano_usd
        whole = False
        _read(app, STREAMS, prompt, parallel=parallel, runner=runner if asynchronous else None)
        until, ever = time.monotonic() + 30, threading.Event()
        while len(box.meter.records) < before + STREAMS and time.monotonic() < until:
            ever.wait(0.01)  # the sandbox bills a stream when it notices that nobody reads on
        return (_spent(store) - spent) / (box.meter.bill().nano_usd - billed)


def _spent(store: MemoryStore) -> int:
    return sum(each.spent for each in store.balances() if each.unit is Unit.NANO_USD)


def _asked(prompt: str) -> Any:
    """No two prompts begin alike: what OpenAI reads from its own cache is only reported at the end of an answer."""
    return {"messages": [("user", f"Case {next(_cases)}. {PROMPTS[prompt]}")]}


def _read(app: Any, times: int, prompt: str, *, parallel: bool, runner: asyncio.Runner | None) -> None:

    async def every() -> None:
        if parallel:
            await asyncio.gather(*(app.ainvoke(_asked(prompt), CONFIG) for _ in range(times)))
        else:
            for _ in range(times):
                await app.ainvoke(_asked(prompt), CONFIG)

    if runner is not None:
        runner.run(every())
        return
    with ThreadPoolExecutor(times if parallel else 1) as pool:
        list(pool.map(lambda _: app.invoke(_asked(prompt), CONFIG), range(times)))
