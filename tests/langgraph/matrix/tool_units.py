"""Units in which a tool is called in one particular way."""

from __future__ import annotations

import threading
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode

from tests.langgraph.matrix import bodies
from tests.langgraph.matrix.ground import Ground
from tests.langgraph.matrix.units import asks_for, unit


def _answered(state: Any) -> dict[str, Any]:
    """Leave no tool call open, whatever became of it, so that a host can go on."""
    last = state["messages"][-1]
    open_calls = getattr(last, "tool_calls", None) or []
    return {"messages": [ToolMessage("-", tool_call_id=call["id"]) for call in open_calls]}


@unit(0, 1)
def tool_node(g: Ground) -> Any:
    return g.graph(ask=asks_for("work"), tools=ToolNode([g.tool("work")]), then=_answered)


@unit(1, 1)
def tool_that_calls_a_model(g: Ground) -> Any:
    work = g.tool("work", lambda q: bodies.invoke(g))
    return g.graph(ask=asks_for("work"), tools=ToolNode([work]), then=_answered)


@unit(1, 2)
def tool_that_calls_a_tool(g: Ground) -> Any:
    inner = g.tool("inner", lambda q: bodies.invoke(g))
    work = g.tool("work", lambda q: str(inner.invoke({"q": q})))
    return g.graph(ask=asks_for("work"), tools=ToolNode([inner, work]), then=_answered)


@unit(0, 1)
def tool_invoked(g: Ground) -> Any:
    work = g.tool("work")
    return g.graph(node=g.node(lambda: str(work.invoke({"q": "x"}))))


@unit(0, 1)
def tool_run(g: Ground) -> Any:
    work = g.tool("work")
    return g.graph(node=g.node(lambda: str(work.run("x"))))


@unit(0, 1, asynchronous=True)
def tool_awaited(g: Ground) -> Any:
    work = g.tool("work")

    async def body() -> str:
        return str(await work.ainvoke({"q": "x"}))

    return g.graph(node=g.anode(body))


@unit(0, 1)
def tool_in_thread(g: Ground) -> Any:
    work = g.tool("work")

    def body() -> str:
        said: list[str] = []
        thread = threading.Thread(target=bodies.swallowing, args=(said, lambda: str(work.invoke({"q": "x"}))))
        thread.start()
        thread.join()
        return " ".join(said)

    return g.graph(node=g.node(body))


@unit(0, 1)
def tool_with_a_run_of_its_own(g: Ground) -> Any:
    class Own(BaseTool):
        name: str = "own"
        description: str = "Does the work."

        def run(self, *args: Any, **kwargs: Any) -> Any:
            g.seen.ran("own run")
            return super().run(*args, **kwargs)

        def _run(self, q: str = "x") -> str:
            g.seen.used("own")
            return "worked"

    work = Own()
    return g.graph(node=g.node(lambda: str(work.invoke({"q": "x"}))))


@unit(0, 1)
def tool_whose_run_asks_nobody(g: Ground) -> Any:
    class Own(BaseTool):
        name: str = "own"
        description: str = "Does the work."

        def run(self, *args: Any, **kwargs: Any) -> Any:
            g.seen.used("own")
            return "worked"

        def _run(self, q: str = "x") -> str:
            return "worked"

    work = Own()
    return g.graph(node=g.node(lambda: str(work.invoke({"q": "x"}))))
