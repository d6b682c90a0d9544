"""A promoted snapshot at work in a real graph: a turn keeps its tier, and the recording says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governor.errors import PolicyError
from governor.routing.snapshot import Snapshot, write_snapshot
from governor.routing.table import Cell
from governor_langgraph import govern
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, policy, times
from tests.langgraph.test_controls import TIERS, Tiers
from tests.langgraph.test_enforcement import GIVEN


def learned(path: Path, node: str, gain: int) -> Path:
    """A snapshot of 400 pairs at a node, `gain` of which only the better tier got right."""
    counts = {"n": 400, "both": 400 - gain, "gain": gain, "graded": gain * 1_000_000}
    cells = (Cell(key=(), **counts), Cell(key=(node,), **counts))
    write_snapshot(path, Snapshot(weak="small", strong="big", table=cells))
    return path


def desk(snapshot: Path, **routing: Any) -> tuple[Any, Tiers]:
    tiers = Tiers(Streaming, times("search", 2, lambda n: {"q": str(n)}))
    rules = policy(
        tiers=TIERS, routing={"default": "small", "estimator": "hashed", "snapshot": str(snapshot), **routing}
    )
    return govern(graphs.tool_loop(tiers.own), rules, clients=tiers.clients), tiers


@pytest.mark.parametrize(("node", "gain", "tier"), [("agent", 200, "big"), ("agent", 0, "small"), ("other", 0, "big")])
def test_a_turn_is_answered_by_the_tier_that_its_first_call_was_worth(
    tmp_path: Path, node: str, gain: int, tier: str
) -> None:
    app, tiers = desk(learned(tmp_path / "routing.json", node, gain))

    app.invoke(GIVEN)

    assert [tier] * 3 == tiers.calls.models


def test_a_rule_comes_before_what_was_learned(tmp_path: Path) -> None:
    rules = [{"id": "plan", "when": {"node": "agent"}, "tier": "small"}]
    app, tiers = desk(learned(tmp_path / "routing.json", "agent", 200), rules=rules)

    app.invoke(GIVEN)

    assert {"small"} == set(tiers.calls.models)


def test_a_snapshot_that_is_not_there_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="the snapshot cannot be used"):
        desk(tmp_path / "none.json")
