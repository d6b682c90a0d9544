"""An answer that says the same over and over is cut while it streams, and settled at what was written; the sandbox's meter is the judge."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import MessagesState

from governor_langgraph.vendors import vendor_of
from governor_sandbox import Sandbox, Scenario
from tests.vendors.clients import FAMILIES
from tests.vendors.test_broken_streams import Bench

CHANT = "The report is being written and I will look at it again in a moment. " * 600


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_a_chant_is_cut_within_some_three_thousand_characters_and_settled(family: str, sync: bool) -> None:
    with Sandbox(Scenario.always(CHANT, chunk_tokens=8, chunk_delay_ms=1, ignores_limit=True)) as box:
        bench = Bench(box, family)
        with bench.loop:
            bench.run(0, sync=sync)

        (record,) = box.meter.records
        assert "aborted" == record.outcome
        assert 3_000 <= len(bench.answer.text) < 3_600
        assert "length" == vendor_of(bench.model).finish(bench.answer)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_written_until_then_is_charged(family: str) -> None:
    with Sandbox(Scenario.always(CHANT, chunk_tokens=8, chunk_delay_ms=1, ignores_limit=True)) as box:
        bench = Bench(box, family, longest=9_000)
        bench.run(0, sync=True)

        assert 0 < bench.true <= bench.recorded < 2 * bench.true


class Watched(Bench):
    """One whose node asks for whole answers, which stream all the same, since somebody watches the graph."""

    def node(self, state: MessagesState) -> dict[str, Any]:
        self.answer = self.model.invoke(state["messages"])
        return {"messages": [("ai", "enough")]}

    async def anode(self, state: MessagesState) -> dict[str, Any]:
        self.answer = await self.model.ainvoke(state["messages"])
        return {"messages": [("ai", "enough")]}

    def watch(self, how: str) -> None:
        given = {"messages": [HumanMessage("Write the report.")]}
        if how == "stream":
            assert [*self.sync.stream(given, stream_mode="messages")]
        else:
            self.loop.run(self._watched(how, given))
        assert self.box.meter.wait_idle()

    async def _watched(self, how: str, given: dict[str, Any]) -> None:
        events = (
            self.slow.astream(given, stream_mode="messages")
            if how == "astream"
            else self.slow.astream_events(given, version="v2")
        )
        assert [each async for each in events]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["stream", "astream", "astream_events"])
def test_an_answer_that_streams_only_to_who_watches_the_graph_is_cut_too(family: str, how: str) -> None:
    with Sandbox(Scenario.always(CHANT, chunk_tokens=8, chunk_delay_ms=1, ignores_limit=True)) as box:
        bench = Watched(box, family, longest=9_000)
        with bench.loop:
            bench.watch(how)

        (record,) = box.meter.records
        assert "aborted" == record.outcome
        assert 3_000 <= len(bench.answer.text) < 3_600
        assert "length" == vendor_of(bench.model).finish(bench.answer)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_written_until_then_to_who_watches_is_charged(family: str) -> None:
    """At a pace that providers have."""
    with Sandbox(Scenario.always(CHANT, chunk_tokens=16, chunk_delay_ms=50, ignores_limit=True)) as box:
        bench = Watched(box, family, longest=9_000)
        with bench.loop:
            bench.watch("astream")

        assert 0 < bench.true <= bench.recorded < 2 * bench.true


@pytest.mark.parametrize("loops", [{"mode": "observe"}, {"respond": "observe"}, {"respond": "nudge"}])
def test_where_the_policy_does_not_act_on_loops_nothing_is_cut(loops: dict[str, Any]) -> None:
    with Sandbox(Scenario.always(CHANT[:12_000], chunk_tokens=32)) as box:
        bench = Bench(box, FAMILIES[0], longest=9_000, policy={"loops": loops})
        bench.run(0, sync=True)

        assert len(CHANT[:12_000].strip()) == len(bench.answer.text.strip())
        assert "ok" == box.meter.records[0].outcome
