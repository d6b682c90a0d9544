"""`governor route`: from recorded pairs to a snapshot that decides, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governor.routing.estimate import StepFeatures
from governor.routing.outcomes import Outcomes
from governor.routing.records import PairedOutcome, Side, write_records
from governor.routing.snapshot import load_snapshot
from tests.cli.conftest import Governor

POLICY = """
governor: 1
name: tiers
tiers:
  frontier: {model: "openai:gpt-4o"}
  student: {model: "openai:gpt-4o-mini"}
routing: {default: frontier, estimator: hashed, quality: {max_loss: 8%}, snapshot: routing.json, outcomes: outcomes.db}
tools: {default: allow}
"""


def pairs(count: int = 400, *, bad: int = 0) -> list[PairedOutcome]:
    """The student is as good at `easy`; at `hard` never. Of the easy ones the first `bad` are losses."""
    found: list[PairedOutcome] = []
    for number in range(count):
        node = "easy" if number % 2 else "hard"
        lost = node == "hard" or number < 2 * bad
        found.append(
            PairedOutcome(
                id=f"p{number}",
                run=f"r{number}",
                step=StepFeatures(node=node, path=node, delta=f"{node} question {number}", step=0),
                strong=Side(tier="frontier", score=1.0, cost=1_000_000),
                weak=Side(tier="student", score=0.0 if lost else 1.0, cost=20_000),
                source="gate",
                at_ms=number,
                sent="frontier",
            )
        )
    return found


@pytest.fixture
def place(folder: Path) -> Path:
    (folder / "tiers.yaml").write_text(POLICY)
    file = Outcomes(folder / "outcomes.db")
    for each in pairs():
        file.pair(each)
    file.close()
    return folder


P = ("--policy", "tiers.yaml")


def test_what_is_trained_decides_only_after_it_was_promoted_and_can_be_taken_back(
    place: Path, governor: Governor
) -> None:
    trained = json.loads(governor("route", "train", *P, "--json").stdout)
    assert not (place / "routing.json").exists()

    promoted = governor("route", "promote", trained["id"], *P, "--why", "a week of shadow calls", "--who", "ann")
    assert 0 == promoted.exit_code, promoted.output
    assert "ann promoted" in promoted.stdout
    assert trained["id"] == load_snapshot(place / "routing.json").id
    back = governor("route", "rollback", *P, "--why", "complaints", "--json")
    assert ("rollback", "", trained["id"], "complaints") == tuple(
        json.loads(back.stdout)[name] for name in ("did", "id", "before", "why")
    )
    assert not (place / "routing.json").exists()
    again = governor("route", "rollback", *P, "--why", "more")
    assert 2 == again.exit_code
    assert "nothing is promoted" in again.stderr


def test_train_tells_what_was_learned_and_where_the_promise_holds(place: Path, governor: Governor) -> None:
    done = governor("route", "train", *P)

    assert 0 == done.exit_code, done.output
    assert "student < frontier" in done.stdout
    assert "apgr" in done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith(("easy", "hard", "*"))}
    assert {"easy", "hard", "*"} == set(rows)
    found = json.loads(governor("route", "train", *P, "--json").stdout)
    assert {"easy": True} == {row["node"]: row["open"] for row in found["guard"] if row["node"] == "easy"}
    assert (400, "frontier", "student") == (found["records"], found["strong"], found["weak"])
    assert 0.5 < found["evaluation"]["apgr"]


def test_a_student_that_loses_too_often_stays_closed(place: Path, governor: Governor) -> None:
    write_records(place / "bad.jsonl", pairs(bad=40))

    found = json.loads(governor("route", "train", *P, "--records", "bad.jsonl", "--json").stdout)

    assert not any(row["open"] and row["regrets"] for row in found["guard"])


def test_eval_measures_on_other_records(place: Path, governor: Governor) -> None:
    trained = json.loads(governor("route", "train", *P, "-o", "mine.json", "--json").stdout)
    write_records(place / "other.jsonl", [*pairs(40)])

    own = json.loads(governor("route", "eval", "mine.json", *P, "--json").stdout)
    other = json.loads(governor("route", "eval", "mine.json", *P, "--records", "other.jsonl", "--json").stdout)
    told = governor("route", "eval", "mine.json", *P, "--records", "other.jsonl")

    assert trained["evaluation"] == own["evaluation"]
    assert {"apgr", "cpt50", "cpt80", "cost98"} == set(other["evaluation"])
    assert f"apgr {other['evaluation']['apgr']:.3f}" in told.stdout


def test_list_shows_all_of_them_and_who_did_what(place: Path, governor: Governor) -> None:
    assert "No snapshot yet" in governor("route", "list", *P).stdout
    trained = json.loads(governor("route", "train", *P, "--json").stdout)
    governor("route", "promote", trained["id"][:15], *P, "--why", "first", "--who", "ann")

    told, found = governor("route", "list", *P).stdout, json.loads(governor("route", "list", *P, "--json").stdout)

    assert trained["id"].removeprefix("sha256:")[:12] in told
    assert "ann promoted" in told
    assert [(trained["id"], True)] == [(each["id"], each["promoted"]) for each in found["snapshots"]]
    assert ["first"] == [each["why"] for each in found["audit"]]


def test_the_next_snapshot_knows_the_one_it_follows(place: Path, governor: Governor) -> None:
    first = json.loads(governor("route", "train", *P, "--json").stdout)
    governor("route", "promote", first["id"], *P, "--why", "first")

    assert first["id"] == json.loads(governor("route", "train", *P, "--json").stdout)["parent"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", *P, "--weak", "small"], "the policy has no tier small: it has frontier, student."),
        (["train", *P, "--weak", "frontier"], "frontier is no better than frontier"),
        (["train", *P, "--outcomes", "none.db"], "none.db: no outcomes there"),
        (["train", *P, "--records", "none.jsonl"], "none.jsonl: it cannot be read"),
        (["train", "--policy", "open.yaml"], "open.yaml names fewer than two tiers"),
        (["eval", "abc", *P], "there is no snapshot abc"),
        (["promote", "abc", *P, "--why", "x"], "there is no snapshot abc"),
        (["promote", "tiers.yaml", *P, "--why", "x"], "tiers.yaml"),
        (["rollback", *P, "--why", " "], "--why is empty"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_remedy(
    place: Path, governor: Governor, arguments: list[str], told: str
) -> None:
    done = governor("route", *arguments)

    assert 2 == done.exit_code, done.output
    assert told in done.stderr


def test_a_policy_without_files_says_what_to_add(
    place: Path, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOVERNOR_OUTCOMES", raising=False)
    (place / "tiers.yaml").write_text(POLICY.replace(", snapshot: routing.json, outcomes: outcomes.db", ""))

    no_place = governor("route", "list", *P)
    no_outcomes = governor("route", "train", *P, "-o", "x.json")

    assert "add `routing: {snapshot: routing.json}`" in no_place.stderr
    assert "add `routing: {outcomes: FILE}` to the policy" in no_outcomes.stderr
