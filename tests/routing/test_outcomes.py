"""Outcomes are kept once, whoever writes them, and say of a pair what a person said over what a gate had guessed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import ConfigurationError, StoreError
from governor.policy.load import load
from governor.routing.estimate import StepFeatures
from governor.routing.outcomes import Outcome, Outcomes, Step, checked, kept_text, outcomes_path
from governor.routing.records import PairedOutcome, Side

HEAD: dict[str, Any] = {"governor": 1, "name": "t", "tools": {"default": "allow"}}


def step(number: int = 1, **more: Any) -> Step:
    given: dict[str, Any] = {"tier": "weak", **more}
    return Step(run="r", step=number, node="n", path="n", model="openai:m", **given)


def pair(number: int = 1, *, sent: str = "weak", strong: float = 1.0, weak: float = 1.0) -> PairedOutcome:
    return PairedOutcome(
        id=f"r/{number}",
        run="r",
        step=StepFeatures(node="n", path="n", step=number - 1),
        strong=Side(tier="strong", score=strong),
        weak=Side(tier="weak", score=weak),
        source="gate",
        sent=sent,
        propensity=0.01,
        at_ms=5,
    )


@pytest.fixture
def file(tmp_path: Path) -> Outcomes:
    return Outcomes(tmp_path / "deep" / "outcomes.db")


def test_a_step_is_read_back_as_it_was_and_noted_again_it_is_the_later_one(file: Outcomes) -> None:
    first = step(2, features={"node": "n", "errors": 1}, cost=7, signal="empty", code="route.gain", propensity=0.5)
    file.note(first)
    file.note(step(1, tier=None, features={}))

    assert [step(1, tier=None, features={}), first] == file.steps("r")
    file.note(step(2, tier="strong", features={}))
    assert ["strong"] == [each.tier for each in file.steps() if each.step == 2]
    assert [] == file.steps("other")


def test_an_outcome_is_kept_once_by_its_id_and_the_id_stands_for_nothing_else(file: Outcomes) -> None:
    said = Outcome(id="a", run="r", score=0.5, node="n", at_ms=1)

    assert file.add(said)
    assert not file.add(Outcome(id="a", run="r", score=0.5, node="n", at_ms=99))
    assert [said] == file.outcomes("r")
    with pytest.raises(ConfigurationError, match="the id a stands for another outcome already"):
        file.add(Outcome(id="a", run="r", score=0.6, node="n"))
    assert [said] == file.outcomes()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"score": 1.01}, "a score is a number from 0"),
        ({"score": float("nan")}, "a score is a number from 0"),
        ({"score": "good"}, "a score is a number from 0"),
        ({"run": ""}, "names the run"),
        ({"id": ""}, "names the run"),
        ({"source": "replay"}, "no outcome comes from `replay`: give one of gate, judge, user, reward, evaluator"),
        ({"step": 0}, "a step is the number of a model call in its run, from 1, not 0"),
        ({"step": True}, "a step is the number"),
    ],
)
def test_what_is_no_outcome_is_refused_with_what_to_give(file: Outcomes, wrong: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"id": "a", "run": "r", "score": 1, **wrong}
    with pytest.raises(ConfigurationError, match=told.replace("(", r"\(")):
        file.add(Outcome(**given))
    assert not file.path.exists()


def test_the_word_of_a_person_about_a_step_replaces_the_gates_for_the_answer_that_was_used(file: Outcomes) -> None:
    file.pair(pair(1))
    file.pair(pair(2, sent="strong"))
    file.pair(pair(3))
    for number, score, source in ((1, 0.0, "user"), (1, 1.0, "judge"), (2, 0.25, "reward"), (3, 0.0, "gate")):
        file.add(Outcome(id=f"{number}{source}", run="r", step=number, score=score, source=source, at_ms=9))
    file.add(Outcome(id="run", run="r", score=0.0))

    first, second, third = file.pairs()
    assert (1.0, 0.0, "user", 9) == (first.strong.score, first.weak.score, first.source, first.at_ms)
    assert (0.25, 1.0, "reward") == (second.strong.score, second.weak.score, second.source)
    assert pair(3) == third


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])), max_size=12))
def test_saying_it_again_in_any_order_changes_nothing(said: list[tuple[int, float]]) -> None:
    outcomes = {number: Outcome(id=str(number), run="r", score=score) for number, score in said}
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        file = Outcomes(Path(folder) / "o.db")
        first = [file.add(outcomes[number]) for number, _ in said]
        again = [file.add(each) for each in outcomes.values()]
        known = file.outcomes() if said else []
        file.close()

    assert len(outcomes) == sum(first)
    assert not any(again)
    assert sorted(outcomes) == sorted(int(each.id) for each in known)


def test_another_database_is_not_taken_for_outcomes_and_a_missing_one_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at as one")

    with pytest.raises(StoreError, match="holds no outcomes of governor's"):
        Outcomes(tmp_path / "other.db").note(step())
    with pytest.raises(StoreError, match=r"text\.db: outcomes cannot be read or written"):
        Outcomes(tmp_path / "text.db").note(step())
    with pytest.raises(StoreError, match="no outcomes there"):
        Outcomes(tmp_path / "none.db").steps()


def test_a_file_of_another_version_is_refused(file: Outcomes) -> None:
    file.note(step())
    file.close()
    with sqlite3.connect(file.path) as connection:
        connection.execute("PRAGMA user_version = 9")

    with pytest.raises(StoreError, match="written with format 9, this version reads 1"):
        Outcomes(file.path).steps()


def test_two_writers_share_a_file(file: Outcomes) -> None:
    other = Outcomes(file.path)
    file.note(step(1, features={}))
    other.note(step(2, features={}))

    assert 2 == len(file.steps())


def test_text_is_kept_as_far_as_the_trace_may_show_it() -> None:
    said = "write to ann@mail.example or call +49 30 901820"

    def kept(**trace: Any) -> str:
        return kept_text(load({**HEAD, "trace": trace}).policy, said)

    assert "" == kept(content="none")
    assert said == kept(content="full")
    assert "write to <email_1> or call <phone_1>" == kept(content="redacted")
    assert "write to <email_1> or call +49 30 901820" == kept(content="redacted", redact=["email"])


def test_outcomes_go_where_the_policy_says_else_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    named = load({**HEAD, "routing": {"outcomes": "~/x.db"}})
    plain = load(HEAD)
    monkeypatch.delenv("GOVERNOR_OUTCOMES", raising=False)

    assert (Path("~/x.db").expanduser(), None, None) == (outcomes_path(named), outcomes_path(plain), outcomes_path())
    monkeypatch.setenv("GOVERNOR_OUTCOMES", "y.db")
    assert (Path("~/x.db").expanduser(), Path("y.db")) == (outcomes_path(named), outcomes_path(plain))


def test_a_relative_path_begins_at_the_folder_of_its_policy(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("governor: 1\nname: t\nrouting: {outcomes: kept/o.db}\n")

    assert tmp_path / "kept/o.db" == outcomes_path(load(tmp_path / "p.yaml"))


def test_an_outcome_reads_back_as_a_label_of_an_export() -> None:
    from governor.distill import Label, read_labels

    said = checked(Outcome(id="a", run="r", score=1, node="n", step=2))

    assert (Label(run="r", score=1.0, node="n", step=2),) == read_labels(str(said), "x").labels
