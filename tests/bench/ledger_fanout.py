"""Fifty model calls at once against a budget for ten: how many arrive at the sandbox, whose meter knows nothing of governor."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from governor import RunStopped
from governor_langgraph import govern
from governor_sandbox import Reply, Sandbox, Scenario
from tests.stores.places import opened

CALLS, FITS = 50, 10
MODEL = "gpt-4.1"
ASKED: Any = {"messages": [("user", "Say something.")]}
POLICY: dict[str, Any] = {
    "governor": 1,
    "name": "fan-out",
    "identity": {"tenant": "config.tenant"},
    "budgets": [{"id": "tenant", "scope": "tenant", "limit": {"model_calls": FITS}}],
    "on_exhausted": "stop",
}


def provider() -> Sandbox:
    """Answers after 50 ms, as the peers were measured."""
    return Sandbox(Scenario.from_callable(lambda _: Reply(text="Something.", latency_ms=50)))


def graph(kind: str, client: dict[str, Any], middleware: tuple[Any, ...] = ()) -> Any:
    """`create_agent`, or a raw graph with a call in a node."""
    model = ChatOpenAI(model=MODEL, max_retries=0, max_completion_tokens=200, **client)
    if kind == "create_agent":
        return create_agent(model, [], middleware=middleware)

    def sync(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def asynchronous(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("ask", asynchronous if kind == "raw graph, async" else sync)
    built.add_edge(START, "ask")
    return built.compile()


def run_all(app: Any, numbers: range, *, asynchronous: bool) -> None:
    """All of them at once."""
    configs: list[Any] = [{"configurable": {"tenant": "t", "thread_id": f"{n}"}} for n in numbers]
    if not asynchronous:
        with ThreadPoolExecutor(len(configs)) as pool:
            list(pool.map(partial(_one, app), configs))
        return

    async def every() -> None:
        await asyncio.gather(*(app.ainvoke(ASKED, config) for config in configs), return_exceptions=True)

    asyncio.run(every())


def _one(app: Any, config: Any) -> None:
    with suppress(RunStopped):
        app.invoke(ASKED, config)


def share(address: str, client: dict[str, Any], kind: str, asynchronous: bool, numbers: range, gate: Any) -> None:
    """What one of the processes does."""
    store = opened(address)
    app = govern(graph(f"{kind}, async" if asynchronous and kind == "raw graph" else kind, client), POLICY, store=store)
    gate.wait(60)
    run_all(app, numbers, asynchronous=asynchronous)
    store.close()


def sent(address: str, kind: str, *, processes: int, asynchronous: bool) -> int:
    """How many of the fifty arrived."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bench.ledger_fanout"])
    with provider() as box:
        gate = context.Barrier(processes)
        parts = [range(n, CALLS, processes) for n in range(processes)]
        made = [
            context.Process(target=share, args=(address, box.openai_kwargs(), kind, asynchronous, part, gate))
            for part in parts
        ]
        for process in made:
            process.start()
        for process in made:
            process.join(120)
        if any(process.exitcode for process in made):
            message = f"a process of {kind} on {address.split(':', maxsplit=1)[0]} failed"
            raise RuntimeError(message)
        return len(box.meter.records)


def sent_by_langchain(*, asynchronous: bool) -> int:
    """LangChain's ModelCallLimitMiddleware, whose limit is the same ten, on one agent."""
    with provider() as box:
        limit = ModelCallLimitMiddleware(thread_limit=FITS, run_limit=FITS)
        app = graph("create_agent", box.openai_kwargs(), (limit,))
        run_all(app, range(CALLS), asynchronous=asynchronous)
        return len(box.meter.records)
