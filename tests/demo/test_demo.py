"""The demo itself, short: three tickets four ways, the stuck agents and the burst, as a user runs it; and its desk by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from examples.support_desk.__main__ import _options as options
from examples.support_desk.__main__ import _write as write
from examples.support_desk.app import FRONTIER
from examples.support_desk.scenario import Desk, load_tickets
from governor.cli.app import build
from governor_sandbox import Sandbox, Scenario

ROOT = Path(__file__).parents[2]


def governor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command line, run in the repository."""
    return subprocess.run(
        [sys.executable, "-c", "from governor.cli import main; main()", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations")]), **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_keeps_its_promises() -> None:
    done = governor("demo", "--quick", "--json")

    assert 0 == done.returncode, done.stdout + done.stderr
    found = json.loads(done.stdout)  # the document and nothing else
    assert "" == done.stderr
    assert all(one["holds"] for one in found["checks"])
    bills = {name: bill["nano_usd"] for name, bill in found["bills"].items()}
    assert bills["governed"] * 4 <= min(bills["bare"], bills["stock caching"])
    assert bills["bare"] - bills["governed"] == found["saved_nano_usd"]["total"]
    assert (10, 40) == (found["burst"]["answered"], found["burst"]["refused"])


def test_figures_go_to_a_file_when_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = options(["--quick", "--json", str(tmp_path / "figures.json")]).json

    write(named, "{}")

    assert "{}" == (tmp_path / "figures.json").read_text()
    assert "" == capsys.readouterr().out
    assert options([]).json is None


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that knows no region, no credentials and no home."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # where boto3 would look last, over the network
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")


@pytest.mark.usefixtures("anywhere")
def test_init_reads_the_desk_by_its_name() -> None:
    done = CliRunner().invoke(build(), ["init", "examples.support_desk.app:desk", "--json"])

    found = json.loads(done.stdout)
    assert "support_desk" == found["name"]
    assert [f"bedrock_converse:{FRONTIER}"] == found["models"]
    assert {"planner", "check_order", "orders_desk/model", "refunds_agent", "writer"} <= set(found["nodes"])
    assert {"issue_refund", "get_order"} <= {tool["name"] for tool in found["tools"]}


@pytest.mark.slow
def test_run_answers_a_ticket_at_the_desk(tmp_path: Path) -> None:
    (ticket, *_) = load_tickets()
    with Sandbox(Scenario.from_callable(Desk([ticket]))) as box:
        done = governor(
            "run",
            "examples.support_desk.app:desk",
            "--policy=policies/support.yaml",
            f"--input={json.dumps({'ticket': ticket.message})}",
            '--config={"tenant": "harbour-shop", "user": "C-1002", "thread_id": "t-1"}',
            f"--recording={tmp_path / 'runs.db'}",
            "--json",
            **box.env(),
        )
        billed = box.meter.bill()

    ran = json.loads(done.stdout)
    assert "finished" == ran["outcome"]
    assert (billed.requests, billed.usage.input, billed.usage.output) == tuple(
        ran["totals"][name] for name in ("model_calls", "input_tokens", "output_tokens")
    )
