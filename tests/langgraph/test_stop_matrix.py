"""A stop ends the run: whatever its reason, whoever would swallow it, however deep, however the graph is run.

Generated: stops x graphs that swallow x nesting x ways of running. Each cell ends, reaches the provider no more, leaves a state in which
every tool call is answered, and reports why.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from governor.runs import RunState
from governor.stores.memory import MemoryStore
from governor_langgraph import govern, report_of
from tests.langgraph import modes, stopping
from tests.langgraph.fakes import Whole, policy
from tests.langgraph.test_open_calls import open_calls
from tests.sampled import sampled

STOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "budget": ("budget.exhausted", {"budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 4}}]}),
    "limit": ("limits.steps", {"limits": {"steps": 9}}),
    "loop": ("loop.", {"loops": {"respond": ["stop"], "nudge_at": 2, "block_at": 3, "stop_at": 4}}),
    "deny": ("nodes.rule_deny", {"nodes": {"rules": [{"id": "no", "node": ["work", "model"], "decide": "deny"}]}}),
}
NESTS = [
    (),
    *((each,) for each in stopping.AROUND),
    *itertools.islice(itertools.permutations(stopping.AROUND, 2), 0, 6, 2),
    *itertools.islice(itertools.permutations(stopping.AROUND, 3), 0, 6, 3),
]
WAYS = ("invoke", "ainvoke", "stream", "astream")
IN_FLIGHT = {"siblings": 2}
"""Calls side by side with the one that stops the run, which were let through before it."""


class Watched(MemoryStore):
    """Knows whether a run in it has been stopped, and which steps were begun after that."""

    stopped = False
    late = 0

    def change(self, run: str, apply: Any, *, later: bool = False) -> Any:
        def seen(state: RunState) -> Any:
            after, answer = apply(state)
            self.late += self.stopped and after.steps > state.steps
            self.stopped = self.stopped or after.stopped is not None
            return after, answer

        return super().change(run, seen, later=later)


def model_for(body: str, stop: str, store: Watched, late: list[str]) -> Whole:
    same = stop == "loop"
    rule: Any = stopping.worker(same=same) if body in stopping.AGENTS else stopping.chatter(same=same)

    def watched(messages: list[BaseMessage]) -> Any:
        if store.stopped:
            late.append("a call after the stop")
        return rule(messages)

    return Whole(rule=watched)


@pytest.mark.parametrize(
    ("stop", "body", "around"),
    sampled(list(STOPS), list(stopping.BODIES), list(NESTS), keep=1, of=4),
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "alone",
)
async def test_a_stop_ends_the_run(stop: str, body: str, around: tuple[str, ...]) -> None:
    code, rules = STOPS[stop]
    for way in WAYS:
        store, late = Watched(), list[str]()
        model = model_for(body, stop, store, late)
        made = stopping.build(body, model, same=stop == "loop")
        bare = stopping.nested(made, around, checkpointer=InMemorySaver())
        app = govern(bare, policy(**rules), store=store)
        thread: Any = {"configurable": {"thread_id": "t"}}

        await modes.ALL_MODES[way](app, {"messages": [HumanMessage("go")]}, thread)

        report = report_of(app, thread)
        assert report is not None
        reason = report.stopped
        assert reason is not None, way
        assert reason.code.startswith(code), way
        assert reason.rule
        assert reason.remedy
        assert len(late) <= IN_FLIGHT.get(body, 0), way
        assert store.late <= IN_FLIGHT.get(body, 0), way
        assert set() == open_calls(app.get_state(thread).values["messages"]), way
        if stop == "budget":
            assert 4 == len(model.calls), way
        if stop == "deny":
            assert (1 if body == "tool_errors" else 0) == len(model.calls), (
                way
            )  # there the tools are denied, after their model
