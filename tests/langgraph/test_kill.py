"""A run whose process is killed with SIGKILL at any point goes on in another process: no finished call is repeated, no spend is lost.

What "repeated" means. A call whose answer LangGraph had saved when the process died (in a checkpoint, or as a pending write of its step)
must never reach the provider again. A call in flight has an unknown outcome: the provider may have billed it, its answer is lost with
the process. Its lease stays and is charged at its worst case; that the step makes the call again is a new call, held and paid for like
any other. So every request that reached the provider is on the ledger, and on top of them at most the calls that were held and not yet
sent when the process died.

A fixed sample of points in `make test`; `KILLS=200` (`make soak`) takes that many.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.langgraph import killed

KILLS = int(os.environ.get("KILLS", "4"))
NOTES = [f"branch {n}" for n in range(killed.BRANCHES)]


def spawned(folder: Path, kill_at: int) -> int | None:
    """Run it in a process of its own; its exit code, negative for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.langgraph.killed"])
    process: Any = context.Process(target=killed.run, args=(folder, kill_at))
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many points a run passes that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")

    assert 0 == spawned(folder, 0)
    assert killed.CALLS == len(killed.billed(folder))
    return json.loads((folder / "result").read_text())["points"]


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_run_goes_on_without_repeating_a_finished_call_or_losing_spend(
    seed: int, points: int, tmp_path: Path
) -> None:
    random_ = random.Random(seed)
    assert -signal.SIGKILL == spawned(tmp_path, random_.randint(1, points))
    left = [(killed.saved(tmp_path), Counter(killed.billed(tmp_path)))]
    if seed % 4 == 0:  # and again on the way on; beyond its end where little was left to do
        spawned(tmp_path, random_.randint(1, points))
        left.append((killed.saved(tmp_path), Counter(killed.billed(tmp_path))))

    assert 0 == spawned(tmp_path, 0)

    bill = Counter(killed.billed(tmp_path))
    repeated = [call for finished, until in left for call in finished if bill[call] != until[call]]
    assert [] == repeated
    result = json.loads((tmp_path / "result").read_text())
    assert (f"turn {killed.TURNS}", NOTES) == (result["last"], result["notes"])
    held = killed.ledgers(tmp_path, expire=False)
    assert bill.total() <= sum(held["model_calls"])
    charged = killed.ledgers(tmp_path, expire=True)
    assert {0} == {reserved for _, reserved in charged.values()}
    assert bill.total() <= charged["model_calls"][0] <= bill.total() + 2 * killed.BRANCHES
