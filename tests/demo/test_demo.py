"""The demo itself, short: three tickets three ways, the stuck agents and the burst, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "examples.support_desk", "--quick", "--json", str(figures)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert all(one["holds"] for one in found["checks"])
    bills = {name: bill["nano_usd"] for name, bill in found["bills"].items()}
    assert bills["governed"] * 4 <= min(bills["bare"], bills["stock caching"])
    assert bills["bare"] - bills["governed"] == found["saved_nano_usd"]["total"]
    assert (10, 40) == (found["burst"]["answered"], found["burst"]["refused"])
