"""An answer that says the same over and over is cut while it streams, and settled at what was written; the sandbox's meter is the judge."""

from __future__ import annotations

from typing import Any

import pytest

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


@pytest.mark.parametrize("loops", [{"mode": "observe"}, {"respond": "observe"}, {"respond": "nudge"}])
def test_where_the_policy_does_not_act_on_loops_nothing_is_cut(loops: dict[str, Any]) -> None:
    with Sandbox(Scenario.always(CHANT[:12_000], chunk_tokens=32)) as box:
        bench = Bench(box, FAMILIES[0], longest=9_000, policy={"loops": loops})
        bench.run(0, sync=True)

        assert len(CHANT[:12_000].strip()) == len(bench.answer.text.strip())
        assert "ok" == box.meter.records[0].outcome
