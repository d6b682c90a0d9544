"""`governor distill export`, as people and as programs read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Governor
from tests.cli.test_replay_recording import RUN
from tests.distill.runs import STUDENT, TEACHER, run, said
from tests.replay.traces import written

POLICY = f"""
governor: 1
name: tiers
tiers:
  frontier: {{model: "{TEACHER}"}}
  student: {{model: "{STUDENT}"}}
tools: {{default: allow}}
trace: {{redact: [email]}}
"""


def test_files_and_report_are_written_and_told(folder: Path, governor: Governor) -> None:
    (folder / "tiers.yaml").write_text(POLICY)
    written(folder, [run(f"r{n}", n * 7919) for n in range(12)])

    done = governor("distill", "export", "trace.jsonl", "-o", "gold", "--policy", "tiers.yaml", "--eval", "0.2")

    assert 0 == done.exit_code, done.output
    report = json.loads((folder / "gold/report.json").read_text())
    counted = {(row["format"], row["split"]): row["examples"] for row in report["files"]}
    assert 24 == counted["bedrock", "train"] + counted["bedrock", "eval"]
    assert 12 == counted["openai", "train"] + counted["openai", "eval"]
    for row in report["files"]:
        assert row["examples"] == len((folder / row["file"]).read_text().splitlines())
    (node,) = report["nodes"]
    assert ("worker", 24, node["cost"] - node["student_cost"]) == (node["node"], node["calls"], node["worth"])
    assert "gold/worker/bedrock.train.jsonl: " in done.stdout
    assert "<= $0" in done.stdout
    assert "Taken out of the text: 12 email." in done.stdout
    assert "bedrock train lines are too few, 100 are needed" in done.stdout


def test_json_is_one_document_and_the_same_as_the_report(folder: Path, governor: Governor) -> None:
    written(folder, [run("a"), run("b", 9, reward=0)])

    done = governor("distill", "export", "trace.jsonl", "-o", "gold", "--json", "--format", "openai")

    found = json.loads(done.stdout)
    assert [] == found.pop("errors")
    assert json.loads((folder / "gold/report.json").read_text()) == found
    assert {"its score is 0, below 1": 2} == found["rejected"]["reasons"]
    rejected = [json.loads(line) for line in (folder / "gold/rejected.jsonl").read_text().splitlines()]
    assert [("b", [1], "trace.jsonl", 2), ("b", [2], "trace.jsonl", 2)] == [
        (row["run"], row["steps"], row["file"], row["line"]) for row in rejected
    ]
    assert {"openai"} == {row["format"] for row in found["files"]}


def test_a_bad_line_is_told_with_its_place_and_the_rest_is_written(folder: Path, governor: Governor) -> None:
    path = written(folder, [run("a")])
    path.write_bytes(path.read_bytes() + b'{"id": "b", "messages": \n')
    (folder / "said.jsonl").write_text('{"run": "a", "score": "good"}\n')

    done = governor(
        *("distill", "export", "trace.jsonl", "none.jsonl", "-o", "gold", "--outcomes", "said.jsonl"),
        *("--outcomes", "no.jsonl"),
    )

    assert 2 == done.exit_code
    assert "trace.jsonl:2: is not JSON" in done.stderr
    assert "none.jsonl: cannot be read: No such file or directory. Check the path" in done.stderr
    assert "said.jsonl:1: has no `score` between 0 and 1. Write" in done.stderr
    assert "no.jsonl: cannot be read" in done.stderr
    assert (folder / "gold/worker/bedrock.train.jsonl").stat().st_size > 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "csv"], "--format csv: write bedrock or openai."),
        (["--turns", "many"], "--turns many: write single or multi."),
        (["--where", "reward"], "--where reward: write a fact and a value"),
        (["--student", "small"], "small is neither a tier of the policy (none) nor written as provider:model."),
        (["--policy", "none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_meant_is_an_error_before_anything_is_written(
    folder: Path, governor: Governor, options: list[str], told: str
) -> None:
    written(folder, [run("a")])

    done = governor("distill", "export", "trace.jsonl", "-o", "gold", *options)

    assert 2 == done.exit_code
    assert told in done.stderr
    assert not (folder / "gold").exists()


def test_a_kind_of_data_without_a_pattern_is_an_error_and_no_hole(folder: Path, governor: Governor) -> None:
    (folder / "tiers.yaml").write_text(POLICY.replace("[email]", "[emial]"))
    written(folder, [run("a")])

    done = governor("distill", "export", "trace.jsonl", "-o", "gold", "--policy", "tiers.yaml")

    assert 2 == done.exit_code
    assert "no pattern for data of the kind emial. Known kinds:" in done.stderr
    assert not (folder / "gold").exists()


def test_what_was_written_before_is_replaced_only_when_asked_for(folder: Path, governor: Governor) -> None:
    written(folder, [run("a")])
    assert 0 == governor("distill", "export", "trace.jsonl", "-o", "gold").exit_code

    again = governor("distill", "export", "trace.jsonl", "-o", "gold")

    assert 2 == again.exit_code
    assert "gold is not empty: name another folder, or add --overwrite." in again.stderr
    old = set((folder / "gold").rglob("*.train.jsonl"))
    assert old
    (folder / "gold" / "mine.jsonl").write_text("kept")
    done = governor(
        "distill", "export", "trace.jsonl", "-o", "gold", "--overwrite", "--min-score", "1", "--where", "id=none"
    )
    assert 0 == done.exit_code
    assert not set((folder / "gold").rglob("*.train.jsonl"))  # a node that yields nothing now keeps no old lines
    assert "kept" == (folder / "gold" / "mine.jsonl").read_text()
    assert 2 == governor("distill", "export", "trace.jsonl", "-o", "trace.jsonl").exit_code


def test_a_node_cannot_steer_where_its_files_go(folder: Path, governor: Governor) -> None:
    answer = said("Because.", node="../../up/\x1b[31m")
    written(folder, [{"id": "a", "reward": 1, "messages": [{"role": "user", "content": "Why?"}, answer]}])

    done = governor("distill", "export", "trace.jsonl", "-o", "gold")

    assert 0 == done.exit_code, done.output
    assert "\x1b" not in done.stdout
    (made,) = [each for each in (folder / "gold").iterdir() if each.is_dir()]
    assert made.name.startswith("up-31m-")
    assert not (folder.parent / "up").exists()


def test_spans_hold_no_text_and_are_still_counted(folder: Path, governor: Governor) -> None:
    assert 0 == governor(*RUN).exit_code

    done = governor("distill", "export", "own.db", "-o", "gold", "--json")

    found = json.loads(done.stdout)
    assert [] == found["files"]
    assert ["the record holds no text: record messages, not spans alone"] == list(found["rejected"]["reasons"])
    assert found["nodes"][0]["calls"] > 0


def test_distill_is_in_the_help(governor: Governor) -> None:
    assert "distill" in governor("--help").stdout
    assert "Training data" in governor("distill", "--help").stdout
