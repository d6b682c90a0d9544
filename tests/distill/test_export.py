"""From runs to files: what is chosen, what is left out and why, what is held back, what a student is worth."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.calls import ModelRef
from governor.distill import Label, Where, bedrock, openai, read_labels
from governor.distill.export import held_back
from governor.errors import ConfigurationError
from tests.distill.runs import STUDENT, TEACHER, asked, distilled, lines, reasons, run, said

USER = {"role": "user", "content": "What now?"}


def test_good_runs_are_exported_and_others_are_listed_with_their_reason(tmp_path: Path) -> None:
    rows = [run("good"), run("bad", 9, reward=0.5), {**run("unknown", 11), "reward": None}]

    found = distilled(tmp_path, *rows)

    assert 2 == len(lines(found, "bedrock"))
    assert [
        ("bad", (1,), "its score is 0.5, below 1"),
        ("bad", (2,), "its score is 0.5, below 1"),
        ("unknown", (1,), "nothing says how good it was: no label, no reward"),
        ("unknown", (2,), "nothing says how good it was: no label, no reward"),
    ] == reasons(found)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("So", finish_reason="length"), "the answer was cut off"),
        (said("No.", finish_reason="content_filter"), "the answer was refused"),
        (said(" "), "the answer is empty"),
        (said("Hm.", model=STUDENT), f"answered by {STUDENT}, not by the teacher {TEACHER}"),
        (
            {
                "role": "assistant",
                "model": TEACHER,
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}],
            },
            "arguments of its tool call do not parse",
        ),
    ],
)
def test_an_answer_that_is_not_sound_teaches_nothing(tmp_path: Path, answer: Any, reason: str) -> None:
    found = distilled(tmp_path, {"id": "a", "reward": 1, "messages": [USER, answer]}, teacher=TEACHER)

    assert [("a", (1,), reason)] == reasons(found)
    assert () == found.files


def test_a_call_that_failed_teaches_nothing_and_its_run_goes_on(tmp_path: Path) -> None:
    row = run("a")
    row["messages"][3]["status"] = "error"

    found = distilled(tmp_path, row)

    assert [("a", (1,), "its call of status failed")] == reasons(found)
    assert [0, 1] == [each["weight"] for each in lines(found, "openai")[0]["messages"] if "weight" in each]


def test_the_most_exact_label_counts(tmp_path: Path) -> None:
    labels = (
        Label(run="a", score=0.0),
        Label(run="a", score=1.0, node="worker"),
        Label(run="a", score=0.2, step=1),
    )

    found = distilled(tmp_path, run("a", reward=0), labels=labels)

    assert [("a", (1,), "its score is 0.2, below 1")] == reasons(found)
    assert 1 == len(lines(found, "bedrock"))


def test_a_filter_looks_at_facts_of_the_run(tmp_path: Path) -> None:
    rows = [run("a", metadata={"lang": "en", "cost": 0.2}), run("b", 9, metadata={"lang": "de", "cost": 0.9})]

    by_word = distilled(tmp_path, *rows, where=(Where.parse("metadata.lang=en"),))
    by_number = distilled(tmp_path, *rows, where=(Where.parse("metadata.cost >= 0.5"),))

    assert [("b", (1,)), ("b", (2,))] == [each[:2] for each in reasons(by_word)]
    assert ("a", (1,), "the run does not meet metadata.cost>=0.5") in reasons(by_number)
    assert not Where.parse("missing!=x").holds({})
    assert Where.parse("resolved=true").holds({"resolved": True})


@pytest.mark.parametrize("text", ["", "reward", "=1", "reward=", "lang>en"])
def test_a_filter_that_says_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--where"):
        Where.parse(text)


def test_repetitions_are_left_out_wherever_they_are(tmp_path: Path) -> None:
    found = distilled(tmp_path, run("a"), run("b"))

    assert [
        ("b", (1,), "duplicate of run a step 1"),
        ("b", (2,), "duplicate of run a step 2"),
        ("b", (1, 2), "duplicate of run a step 2"),
    ] == reasons(found)
    assert (2, 1) == (len(lines(found, "bedrock")), len(lines(found, "openai")))


def test_nothing_private_is_written(tmp_path: Path) -> None:
    row = run("a")
    row["messages"][1]["content"] += " My card is 4111 1111 1111 1111."

    found = distilled(tmp_path, row)

    written = b"".join(line for file in found.files for line in file.lines).decode()
    assert "mail.example" not in written
    assert "4111" not in written
    assert "<email_1>" in written
    assert "<card_number_1>" in written
    assert {"email": 1, "card_number": 1} == found.redacted


def test_pictures_are_no_text(tmp_path: Path) -> None:
    row = run("a")
    row["messages"][1]["content"] = [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]

    found = distilled(tmp_path, row)

    assert {"message 2 holds content that is no text"} == {reason for _, _, reason in reasons(found)}


def test_bedrock_takes_so_many_lines_and_the_rest_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bedrock, "MOST", 3)
    monkeypatch.setattr(openai, "LARGEST_FILE", 1_000)

    found = distilled(tmp_path, *(run(f"r{n}", n * 7919) for n in range(3)))

    assert (3, 1) == (len(lines(found, "bedrock")), len(lines(found, "openai")))
    assert 3 == sum(reason.startswith("a file of bedrock takes at most 3 lines") for _, _, reason in reasons(found))
    assert 2 == sum(reason.startswith("a file of openai takes at most") for _, _, reason in reasons(found))
    assert any("3 bedrock train lines are too few, 100 are needed" in remark for remark in found.remarks)


RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "order": st.integers(0, 40),
            "reward": st.sampled_from([0, 1, None]),
            "thread_id": st.sampled_from(["t1", "t2", None]),
            "model": st.sampled_from([TEACHER, STUDENT]),
            "failed": st.booleans(),
        }
    ),
    max_size=8,
)


def made(number: int, drawn: dict[str, Any]) -> dict[str, Any]:
    row = run(f"r{number}", drawn["order"], reward=drawn["reward"], thread_id=drawn["thread_id"])
    row["messages"][2] = asked(drawn["order"], model=drawn["model"], call=f"xr{number}")
    if drawn["failed"]:
        row["messages"][3]["status"] = "error"
    return row


@settings(max_examples=30, deadline=None)
@given(RUNS, st.sampled_from([0.0, 0.3, 0.5]))
def test_every_model_call_is_in_a_line_or_rejected_and_every_line_keeps_the_rules(
    drawn: list[dict[str, Any]], share: float
) -> None:
    with TemporaryDirectory() as folder:
        rows = [made(number, each) for number, each in enumerate(drawn)]
        found = distilled(Path(folder), *rows, eval_share=share, teacher=TEACHER) if rows else None
    if found is None:
        return

    lost = sum(each.form == "" for each in found.rejected)
    for form, rules in (("bedrock", bedrock), ("openai", openai)):
        written = [row for split in ("train", "eval") for row in lines(found, form, split)]
        assert [] == [rule for row in written for rule in rules.violations(row)]
        trained = len(written) if form == "bedrock" else sum(m.get("weight", 0) for r in written for m in r["messages"])
        left_out = sum(len(each.steps) for each in found.rejected if each.form == form)
        assert 2 * len(drawn) == trained + left_out + lost


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_what_is_held_back_stays_held_back_when_more_is(group: str, one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert held_back(group, low) <= held_back(group, high)
    assert (False, True) == (held_back(group, 0.0), held_back(group, 1.01))


def test_a_run_and_a_conversation_are_on_one_side_and_the_share_is_about_kept(tmp_path: Path) -> None:
    rows = [run(f"r{n}", n * 7919, thread_id=f"t{n // 3}") for n in range(300)]

    found = distilled(tmp_path, *rows, eval_share=0.2, near=1.0)

    sides: dict[str, set[str]] = {}
    for split in ("train", "eval"):
        for row in lines(found, "openai", split):
            order = int(row["messages"][1]["content"].split()[3])
            sides.setdefault(f"t{order // 7919 // 3}", set()).add(split)
    assert 100 == len(sides)
    assert all(len(side) == 1 for side in sides.values())
    assert 10 <= sum(side == {"eval"} for side in sides.values()) <= 30


def test_a_node_is_worth_its_calls_times_the_gap_times_the_price(tmp_path: Path) -> None:
    student = {"id": "s", "reward": 0.5, "messages": [USER, said("Well, yes.", model=STUDENT)]}

    found = distilled(tmp_path, run("a"), student)

    (one,) = found.worth
    teacher_cost = (1_000 + 2_000) * 2_500 + (20 + 50) * 10_000  # $2.50 and $10 per million tokens
    student_cost = (1_000 + 2_000) * 150 + (20 + 50) * 600
    assert (2, 1, 3_000, 70, 0) == (one.calls, one.runs, one.prompt_tokens, one.output_tokens, one.estimated)
    assert (teacher_cost, student_cost, 0.5) == (one.cost, one.student_cost, one.gap)
    assert (teacher_cost - student_cost) // 2 == one.worth


def test_what_nobody_knows_is_not_zero(tmp_path: Path) -> None:
    unknown = distilled(tmp_path, run("a"), student=ModelRef(provider="unknown", model="x"))
    no_gap = distilled(tmp_path, run("a"))
    measured = distilled(tmp_path, run("a"), gaps={"worker": 0.1})

    assert (None, None) == (unknown.worth[0].student_cost, unknown.worth[0].worth)
    (one,) = no_gap.worth
    assert (None, True) == (one.gap, one.worth == (one.cost or 0) - (one.student_cost or 0))
    assert measured.worth[0].worth == int((one.worth or 0) * 0.1)


def test_labels_are_read_line_by_line_and_a_bad_one_names_its_line_and_remedy() -> None:
    text = "\n".join(
        json.dumps(row)
        for row in (
            {"run": "a", "score": 1, "node": "n", "step": 2, "source": "user"},
            {"run": "a"},
            {"run": "", "score": 1},
            {"run": "a", "score": 2},
            {"run": "a", "score": True, "step": 0},
            {"run": "a", "score": 1, "node": 3},
            [],
        )
    )

    found = read_labels(f"{text}\n\nnone", "said.jsonl")

    assert (Label(run="a", score=1.0, node="n", step=2),) == found.labels
    assert [2, 3, 4, 5, 6, 7, 9] == [error.line for error in found.errors]
    assert "said.jsonl:2: has no `score` between 0 and 1. Write {" in str(found.errors[0])
    assert "said.jsonl:9: is not JSON" in str(found.errors[-1])
