"""A run that is killed with SIGKILL around its summary goes on in another process: one that was kept is never asked for again.

`KILLS=200` (`make soak`) takes that many points.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.langgraph import killed, killed_summary

KILLS = int(os.environ.get("KILLS", "4"))


def spawned(folder: Path, kill_at: int) -> int | None:
    """Run it in a process of its own; its exit code, negative for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.langgraph.killed_summary"])
    process: Any = context.Process(target=killed_summary.run, args=(folder, kill_at))
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """The points between which the first summary is made: found by halving, since a killed run's bill says how far it came."""
    folder = tmp_path_factory.mktemp("whole")
    assert 0 == spawned(folder, 0)
    bill = killed.billed(folder)
    assert "summary" in bill
    before, after = 1, json.loads((folder / "result").read_text())["points"]
    while after - before > 1:
        middle, tried = (before + after) // 2, tmp_path_factory.mktemp("half")
        spawned(tried, middle)
        before, after = (before, middle) if "summary" in killed.billed(tried) else (middle, after)
    return max(1, before - 4), before + 12


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_that_is_killed_around_its_summary_goes_on_and_pays_for_each_request_once(
    number: int, around: tuple[int, int], tmp_path: Path
) -> None:
    first, last = around
    assert -signal.SIGKILL == spawned(tmp_path, first + number % (last - first + 1))
    kept, asked = killed_summary.summaries(tmp_path), killed.billed(tmp_path).count("summary")

    assert 0 == spawned(tmp_path, 0)

    bill = killed.billed(tmp_path)
    assert "the end" == json.loads((tmp_path / "result").read_text())["last"]
    cuts = killed_summary.summaries(tmp_path)
    assert bill.count("summary") == cuts + (asked - kept)  # an answer that was lost with its process is asked for again
    spent, reserved = killed_summary.charged(tmp_path)
    assert len(bill) <= spent + reserved <= len(bill) + 1  # at most one was held and not yet sent when the process died
