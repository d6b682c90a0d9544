"""`governor replay`, as people and as programs read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Governor
from tests.replay.traces import openai, written


def test_replay_prints_what_the_readme_shows(folder: Path, governor: Governor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    done = governor("replay", "examples/looped_run.jsonl")

    shown = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("$ governor replay examples/looped_run.jsonl\n")[2]
    )
    assert 0 == done.exit_code
    assert shown.partition("```")[0] == re.sub(r" +\n", "\n", done.stdout)


def test_one_line_of_policy_makes_the_finding_disappear(folder: Path, governor: Governor) -> None:
    written(folder, openai())
    (folder / "mine.yaml").write_text(
        "governor: 1\nname: mine\ntools: {default: allow}\nloops: {tools: [{tool: status, as: poll}]}\n"
    )

    done = governor("replay", "trace.jsonl", "--policy", "mine.yaml", "--strict")

    assert 0 == done.exit_code
    assert "no control would have acted" in done.stdout
    assert 1 == governor("replay", "trace.jsonl", "--strict").exit_code


def test_json_says_the_same_and_nothing_else(folder: Path, governor: Governor) -> None:
    written(folder, [{"id": "night-7", "messages": openai()}, {"id": "short", "messages": openai(0)}])

    done = governor("replay", "trace.jsonl", "--json", "--model", "openai:gpt-4o")

    found = json.loads(done.stdout)
    assert ["night-7", "short"] == [run["run"] for run in found["runs"]]
    assert [15, None] == [run["first_hard_step"] for run in found["runs"]]
    assert (2, 1) == (found["summary"]["runs"], found["summary"]["runs_with_a_hard_act"])
    assert found["summary"]["nano_usd"] > 0
    assert [] == found["errors"]


def test_a_bad_line_is_told_on_stderr_with_exit_2_and_the_rest_is_replayed(folder: Path, governor: Governor) -> None:
    path = written(folder, [{"id": "a", "messages": openai()}])
    path.write_bytes(path.read_bytes() + b'{"role": \n')

    done = governor("replay", "trace.jsonl", "missing.jsonl")
    as_json = governor("replay", "trace.jsonl", "--json")

    assert (2, 2) == (done.exit_code, as_json.exit_code)
    assert "run a:" in done.stdout
    assert "trace.jsonl:2: is not JSON" in done.stderr
    assert "missing.jsonl: cannot be read: No such file or directory. Check the path" in done.stderr
    assert [2] == [error["line"] for error in json.loads(as_json.stdout)["errors"]]


def test_a_policy_or_scope_that_cannot_be_used_is_an_error_before_any_trace_is_read(
    folder: Path, governor: Governor
) -> None:
    assert 2 == governor("replay", "trace.jsonl", "--policy", "none.yaml").exit_code
    done = governor("replay", "trace.jsonl", "--scope", "tenant")

    assert 2 == done.exit_code
    assert "--scope tenant=acme" in done.stderr


def test_names_from_the_record_cannot_steer_the_terminal(folder: Path, governor: Governor) -> None:
    call = {"id": "c", "function": {"name": "\x1b[31m[bold]\ud800", "arguments": "{}"}}
    written(folder, [{"role": "assistant", "tool_calls": [call]}])

    done = governor("replay", "trace.jsonl", "--policy", "baseline")

    assert 0 == done.exit_code
    assert "\x1b" not in done.stdout
    assert "[bold]" in done.stdout
