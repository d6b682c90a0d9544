"""A real fan-out over HTTP: branches that begin together pay for writing their common prefix once."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from governor_langgraph import govern
from governor_sandbox import Sandbox, Scenario
from tests.langgraph.fakes import policy
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, LONG

BRANCHES = 6
SLOW = """
default: {text: "fine", latency_ms: 300}
"""


class State(TypedDict):
    found: Annotated[list[str], operator.add]


def fan_out(model: Any) -> Any:
    def check(state: dict[str, Any]) -> dict[str, Any]:
        return {"found": [model.invoke([SystemMessage(LONG * 2), HumanMessage(f"Order {state['order']}?")]).text]}

    async def acheck(state: dict[str, Any]) -> dict[str, Any]:
        answer = await model.ainvoke([SystemMessage(LONG * 2), HumanMessage(f"Order {state['order']}?")])
        return {"found": [answer.text]}

    graph: Any = StateGraph(State)
    graph.add_node("check", RunnableLambda(check, acheck))
    graph.add_conditional_edges(START, lambda _: [Send("check", {"order": n}) for n in range(BRANCHES)], ["check"])
    return graph.compile()


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(Scenario.from_text(SLOW)) as box:
        yield box


def rules(stagger: str) -> dict[str, Any]:
    return policy(context={"cache": {"ttl": "5m", "stagger": stagger}})


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("family", [ANTHROPIC, BEDROCK])
async def test_the_first_branch_writes_and_the_others_read(box: Sandbox, family: str, how: str) -> None:
    async def cost(stagger: str) -> tuple[int, int]:
        box.reset()
        app = govern(fan_out(CLIENTS[family](box)), rules(stagger))
        if how == "sync":
            done = await asyncio.to_thread(app.invoke, {"found": []})
        else:
            done = await app.ainvoke({"found": []})
        assert ["fine"] * BRANCHES == done["found"]
        records = box.meter.records
        return sum(each.usage.cache_read > 0 for each in records), sum(each.nano_usd for each in records)

    read_together, together = await cost("off")
    read_staggered, staggered = await cost("10s")

    assert read_together < read_staggered == BRANCHES - 1
    assert staggered < together
