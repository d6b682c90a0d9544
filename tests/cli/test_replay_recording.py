"""What the recorder itself wrote of a governed run is read back: usage, times, nesting; and no content is made up."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from governor.replay import Recorded, Replay, TraceError, read
from tests.cli.conftest import Governor
from tests.replay.traces import policy

RUN = ("run", "app:graph", "-p", "open.yaml", "-i", '{"messages": [["user", "hi"]]}', "--recording", "own.db")


@pytest.fixture
def recorded(folder: Path, governor: Governor) -> tuple[Path, Recorded]:
    assert 0 == governor(*RUN).exit_code
    found = read(folder / "own.db")
    assert () == found.errors
    (run,) = found.runs
    return folder / "own.db", run


def test_a_recording_is_read_with_its_calls_steps_and_times(recorded: tuple[Path, Recorded]) -> None:
    _, run = recorded
    found = Replay(policy()).judge(run)

    assert found.model_calls >= 1
    assert found.steps >= 1
    assert all(turn.at_ms is not None and turn.before_ms is not None for turn in run.turns)
    assert any("spans hold no content" in sentence for sentence in found.unjudged)
    assert not any(act.control in ("loop", "compact") for act in found.acts)


def test_limits_and_budgets_of_a_recording_are_judged(recorded: tuple[Path, Recorded]) -> None:
    _, run = recorded
    whole = Replay(policy()).judge(run)
    limit = {"model_calls": whole.model_calls}

    enough = Replay(policy(budgets=[{"id": "b", "scope": "run", "limit": limit}], limits={"steps": whole.steps})).judge(
        run
    )
    assert () == enough.acts
    if whole.steps > 1:
        fewer = Replay(policy(limits={"steps": whole.steps - 1})).judge(run)
        assert ["limits.steps"] == [act.code for act in fewer.acts]


def test_a_span_that_is_damaged_is_an_error_and_the_others_are_read(recorded: tuple[Path, Recorded]) -> None:
    path, run = recorded
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE spans SET attributes = '{' WHERE name LIKE 'step %'")

    found = read(path)

    assert found.errors
    assert len(run.turns) == len(found.runs[0].turns)


@pytest.mark.parametrize("pragma", ["application_id = 1", "user_version = 9"])
def test_another_database_or_format_is_refused(recorded: tuple[Path, Recorded], pragma: str) -> None:
    path, _ = recorded
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA {pragma}")

    with pytest.raises(TraceError) as caught:
        read(path)

    assert str(path) == caught.value.file
    assert caught.value.remedy
