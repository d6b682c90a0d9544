"""Applications say how good their runs were, in one line, sync or async, and never lose a run by it."""

from __future__ import annotations

from pathlib import Path

import pytest

import governor
from governor.calls import RunRef
from governor.errors import ConfigurationError
from governor.report import GovernorReport
from governor.routing.outcomes import Outcomes
from governor.runs import RunState


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcomes:
    monkeypatch.setenv("GOVERNOR_OUTCOMES", str(tmp_path / "outcomes.db"))
    return Outcomes(tmp_path / "outcomes.db")


def report() -> GovernorReport:
    return GovernorReport(run=RunRef(id="r"), state=RunState())


def test_feedback_is_kept_and_an_id_makes_it_idempotent(file: Outcomes) -> None:
    assert governor.feedback("r", 1)
    assert governor.feedback(RunRef(id="r"), 0.5, node="n", step=3, source="reward", id="x")
    assert not governor.feedback("r", 0.5, node="n", step=3, source="reward", id="x")

    first, second = file.outcomes("r")
    assert ("r", 1.0, "user", None, None) == (first.run, first.score, first.source, first.node, first.step)
    assert ("x", 0.5, "reward", "n", 3) == (second.id, second.score, second.source, second.node, second.step)
    assert first.at_ms > 0


@pytest.mark.anyio
async def test_the_async_twin_says_the_same(file: Outcomes) -> None:
    assert await governor.afeedback("r", True, id="x")
    assert not await governor.afeedback("r", 1, id="x")

    assert [1.0] == [each.score for each in file.outcomes()]


def test_feedback_that_is_none_is_an_error_with_its_remedy(
    file: Outcomes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="a score is a number from 0"):
        governor.feedback("r", 5)
    monkeypatch.delenv("GOVERNOR_OUTCOMES")
    with pytest.raises(ConfigurationError, match=r"no file for outcomes is named: set \$GOVERNOR_OUTCOMES"):
        governor.feedback("r", 1)
    assert governor.feedback("r", 1, outcomes=tmp_path / "own.db")


def test_an_evaluator_is_asked_about_each_run_and_may_speak_of_nodes_or_not_at_all(file: Outcomes) -> None:
    governor.evaluated(lambda told: 0.25)(report())
    governor.evaluated(lambda told: {"a": 1, "b": 0})(report())
    governor.evaluated(lambda told: None)(report())

    assert [(None, 0.25), ("a", 1.0), ("b", 0.0)] == [(each.node, each.score) for each in file.outcomes("r")]
    assert {"evaluator"} == {each.source for each in file.outcomes()}


def test_a_run_is_not_lost_by_its_evaluation(file: Outcomes, caplog: pytest.LogCaptureFixture) -> None:
    def broken(told: GovernorReport) -> float:
        raise RuntimeError("no model to judge with")

    governor.evaluated(broken)(report())
    governor.evaluated(lambda told: 7)(report())

    assert not file.path.exists()
    assert ["the evaluator failed on run r", "the evaluation of run r is not kept"] == [
        each.getMessage().partition(":")[0] for each in caplog.records
    ]
