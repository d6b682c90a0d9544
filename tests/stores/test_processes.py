"""Processes that share one SQLite file: the limit is the limit, and a killed process takes nothing with it."""

import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from governor.ledger import ReserveRequest
from governor.stores.ledgers import SWEEP
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS, hold, spent_and_reserved

WORKER = Path(__file__).with_name("worker.py")
ROOT = WORKER.parents[2]


def start(stack: ExitStack, path: Path, name: str, *, times: int, limit: int, mode: str) -> subprocess.Popen[str]:
    return stack.enter_context(
        subprocess.Popen(
            [sys.executable, str(WORKER), str(path), name, str(times), str(limit), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
        )
    )


def go(workers: list[subprocess.Popen[str]]) -> None:
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()


def test_four_processes_admit_exactly_what_fits(tmp_path: Path) -> None:
    path = tmp_path / "governor.db"
    with ExitStack() as stack:
        workers = [start(stack, path, f"w{n}", times=40, limit=500, mode="hold") for n in range(4)]
        go(workers)
        words = [word for worker in workers for word in worker.communicate()[0].split()]

    assert (50, 110) == (words.count("admitted"), words.count("refused"))
    store = SqliteStore(path)
    assert {"org/o": (0, 500), "run/a": (0, 500)} == spent_and_reserved(store)
    store.close()


@pytest.mark.parametrize("words_before_the_kill", [1, 2, 7, 12])
def test_a_process_killed_at_any_point_leaves_a_sound_ledger(tmp_path: Path, words_before_the_kill: int) -> None:
    path = tmp_path / "governor.db"
    with ExitStack() as stack:
        worker = start(stack, path, "victim", times=1_000_000, limit=1_000_000_000, mode="settle")
        go([worker])
        assert worker.stdout
        words = [worker.stdout.readline().strip() for _ in range(words_before_the_kill)]
        worker.kill()
        words += worker.stdout.read().split()

    store = SqliteStore(path)
    spent, reserved = spent_and_reserved(store)["run/a"]
    admitted, settled = words.count("admitted"), words.count("settled")
    assert reserved in (0, 10)
    assert 7 * settled <= spent <= 7 * (settled + 1)
    assert 10 * (admitted - settled - 1) <= reserved

    for number in range(admitted // SWEEP + 2):  # each looks at so many leases; a slow reader lets its victim make more
        later = ReserveRequest(id=f"later {number}", holds=(hold("other/o", 0),), ttl_ms=1, now_ms=START_MS + 60_000)
        store.reserve(later)

    assert {"org/o": (spent + reserved, 0), "run/a": (spent + reserved, 0)} == spent_and_reserved(store)
    store.close()
    db = sqlite3.connect(path)
    assert [("ok",)] == db.execute("PRAGMA integrity_check").fetchall()
    db.close()
