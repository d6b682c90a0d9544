"""Each example does what its first line says, offline, and is short enough to read at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once

from examples import approval, budget, decorator, middleware, plain_nodes, quickstart, traces

FOLDER = Path(quickstart.__file__).parent
PROGRAMS = sorted(path for path in FOLDER.glob("*.py") if path.name != "__init__.py")


def test_quickstart_runs_the_tool_that_is_allowed_and_not_the_one_that_is_not() -> None:
    answers = quickstart.main()

    assert "O-1: shipped yesterday" == answers["get_order"]
    assert answers["delete_order"].startswith("`delete_order` was not run: nothing allows it here")
    assert "O-1 was shipped yesterday. I may not delete it." == answers["agent"]


def test_decorator_stops_an_agent_that_would_look_for_ever() -> None:
    calls, why = decorator.main()

    assert why.startswith("Loop: the same calls gave the same results")
    assert 3 <= calls <= 10


def test_middleware_answers_with_the_small_model_until_a_tool_fails() -> None:
    assert ["gpt-4.1-nano", "gpt-4.1", "gpt-4.1"] == middleware.main()


def test_plain_nodes_are_governed_to_the_call_and_stream_on() -> None:
    tokens, calls, why = plain_nodes.main()

    assert 5 == calls
    assert 3 == tokens.count("A governor keeps an engine from running away, and an agent too.")
    assert why.startswith("Budget run")


async def test_budget_holds_however_many_runs_ask_at_once() -> None:
    answered, spent, other_tenant = await budget.main()

    limit = int(budget.LIMIT_USD * 1e9)
    per_run = spent // answered
    assert 0 < answered < budget.WAVES * budget.AT_ONCE
    assert limit - 3 * per_run < spent <= limit
    assert other_tenant


@pytest.mark.parametrize(
    ("amount", "approve", "asked", "paid"),
    [(250, True, True, [250]), (250, False, True, []), (40, False, False, [40])],
    ids=["approved", "rejected", "small enough"],
)
def test_approval_lets_a_person_decide_about_large_refunds_only(
    amount: int, approve: bool, asked: bool, paid: list[int]
) -> None:
    question, made, _ = approval.main(amount, approve=approve)

    assert asked == (question is not None)
    assert paid == made
    assert question is None or ("refund", {"usd": amount}) == (question["tool"], question["args"])


@pytest.fixture
def own_telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`setup` installs a provider for the whole process: let it be this test's alone."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    yield
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.shutdown()


@pytest.mark.usefixtures("own_telemetry")
def test_traces_say_at_every_step_what_it_cost_and_agree_with_the_provider(tmp_path: Path) -> None:
    tree, billed = traces.main(tmp_path / "runs.db")

    assert ["invoke_workflow", "step", "chat", "step", "execute_tool", "step", "chat"] == [
        line.strip().split(" ")[0] for line in tree
    ]
    assert tree[0].endswith(f" {billed} nano-USD")
    assert 0 < billed


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_is_short_and_names_no_key(program: Path) -> None:
    text = program.read_text(encoding="utf-8")

    assert len(text.splitlines()) < 60
    assert "API_KEY" not in text


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_runs_as_a_program(program: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{program.stem}"],
        cwd=FOLDER.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), str(FOLDER.parent / "integrations")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.strip()
