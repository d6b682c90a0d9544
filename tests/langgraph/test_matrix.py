"""Nothing escapes: every way of calling x every kind of graph x every way of running x every host, generated and executed.

Under a policy that denies everything no node body, no tool body and no provider call of the unit runs. Under one that allows
everything the calls counted are the calls that the providers saw.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import pytest
from langgraph.errors import GraphBubbleUp

from governor import Refused
from governor.ledger import Unit
from governor.stores.memory import MemoryStore
from governor_langgraph import govern, watch
from tests.langgraph.fakes import OPEN
from tests.langgraph.matrix import running
from tests.langgraph.matrix.ground import Ground
from tests.langgraph.matrix.hosts import HOSTS
from tests.langgraph.matrix.units import UNITS
from tests.sampled import sampled

GIVEN: dict[str, Any] = {"messages": [("user", "what is x?")]}
DENY: dict[str, Any] = {
    "governor": 1,
    "name": "deny-everything",
    "tools": {"default": "deny"},
    "nodes": {"default": "deny"},
}
METER: dict[str, Any] = {
    **OPEN,
    "name": "meter",
    "budgets": [{"id": "all", "scope": "agent", "limit": {"model_calls": "1M", "tool_calls": "1M"}}],
}
"""Allows everything and counts it on a ledger."""
SAMPLE = sampled(list(HOSTS), list(UNITS), keep=1, of=5)
"""Every unit in one of the hosts; `make soak` runs it in all."""
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


def ways(unit: str) -> dict[str, running.Mode]:
    if UNITS[unit].asynchronous:
        return running.ASYNC
    return running.SYNC if UNITS[unit].blocking else {**running.SYNC, **running.ASYNC}


def spent(store: MemoryStore) -> tuple[int, int]:
    """Model calls and tool calls on the ledger."""
    counts = {balance.unit: balance.spent for balance in store.balances()}
    return counts.get(Unit.MODEL_CALLS, 0), counts.get(Unit.TOOL_CALLS, 0)


def built(ground: Ground, host: str, unit: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HOSTS[host].build(ground, UNITS[unit].build(ground), UNITS[unit].asynchronous)


@pytest.mark.parametrize(("host", "unit"), SAMPLE)
async def test_the_calls_counted_are_the_calls_that_providers_saw(host: str, unit: str) -> None:
    ground = Ground()
    store = MemoryStore()
    app = govern(built(ground, host, unit), METER, store=store)
    calls, tools = UNITS[unit].calls + HOSTS[host].calls, UNITS[unit].tools + HOSTS[host].tools

    wrong: dict[str, Any] = {}
    for name, run in ways(unit).items():
        ground.seen.clear()
        before = spent(store)
        with watch() as runs:
            times = await run(app, GIVEN)
        expected = calls * times, tools * times
        saw = ground.seen.provider, len(ground.seen.tools)
        charged = spent(store)[0] - before[0], spent(store)[1] - before[1]
        counted = sum(report.state.model_calls for report in runs), sum(report.state.tool_calls for report in runs)
        if not runs:  # nobody reports a run that an ungoverned parent ends; what it counted is in the ledger
            counted = charged
        if not expected[0] == saw[0] == charged[0] == counted[0] or not expected[1] == charged[1] == counted[1]:
            wrong[name] = {"expected": expected, "saw": saw, "charged": charged, "counted": counted}

    assert {} == wrong


@pytest.mark.parametrize(("host", "unit"), SAMPLE)
async def test_nothing_runs_under_a_policy_that_denies_everything(host: str, unit: str) -> None:
    ground = Ground()
    app = govern(built(ground, host, unit), DENY)

    ran: dict[str, Any] = {}
    for name, run in ways(unit).items():
        ground.seen.clear()
        with suppress(Refused, GraphBubbleUp):
            await run(app, GIVEN)
        if ground.seen.provider or ground.seen.nodes or ground.seen.tools:
            ran[name] = (ground.seen.provider, ground.seen.nodes, ground.seen.tools)

    assert {} == ran
