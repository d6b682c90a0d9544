"""`governor policy check --graph`: what a graph may do under a policy, for people, for programs and for CI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Governor

LOOPS = """
from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class Bag(TypedDict):
    n: int


def build(out: bool):
    graph = StateGraph(Bag)
    graph.add_node("plan", lambda state: {})
    graph.add_node("work", lambda state: {})
    graph.add_edge(START, "plan")
    graph.add_edge("work", "plan")
    if out:
        graph.add_conditional_edges("plan", lambda state: "work", ["work", END])
    else:
        graph.add_edge("plan", "work")
    return graph


graph = build(True).compile()
for_ever = build(False).compile()


def made():
    return graph
"""
TEN = "governor: 1\nname: ten\nlimits: {steps: 10}\n"
FREE = "governor: 1\nname: free\n"


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (folder / "turns.py").write_text(LOOPS)
    (folder / "ten.yaml").write_text(TEN)
    (folder / "free.yaml").write_text(FREE)
    monkeypatch.setenv("COLUMNS", "200")
    yield folder
    import sys

    sys.modules.pop("turns", None)


def test_an_uncut_cycle_is_shown_with_its_path_remedy_and_unbounded_steps(here: Path, governor: Governor) -> None:
    result = governor("policy", "check", "--graph", "turns:graph", "free.yaml")

    assert 0 == result.exit_code
    assert "turns:graph: warning: `plan -> work -> plan` can go on for ever" in result.output
    assert "Set `limits: {steps: N}`" in result.output
    assert any(line.split() == ["plan", "->", "work", "->", "plan", "nothing"] for line in result.output.splitlines())
    assert any(line.split()[:2] == ["steps", "UNBOUNDED"] for line in result.output.splitlines())
    assert "turns:graph under free.yaml: 0 error(s), 1 warning(s)" in result.output


def test_the_readme_shows_what_the_command_prints(monkeypatch: pytest.MonkeyPatch, governor: Governor) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    _, _, after = (root / "README.md").read_text(encoding="utf-8").partition("$ governor policy check --graph ")
    arguments, _, shown = after.partition("```")[0].partition("\n")

    result = governor("policy", "check", "--graph", *arguments.split())

    assert shown.splitlines() == [line.rstrip() for line in result.output.splitlines()]


def test_strict_fails_on_it(here: Path, governor: Governor) -> None:
    assert 1 == governor("policy", "check", "--strict", "--graph", "turns:graph", "free.yaml").exit_code


def test_a_limit_of_steps_cuts_it_and_bounds_the_run(here: Path, governor: Governor) -> None:
    result = governor("policy", "check", "--graph", "turns:graph", "ten.yaml")

    assert 0 == result.exit_code
    assert "limits.steps (10)" in result.output
    assert "turns:graph under ten.yaml: ok" in result.output


def test_a_cycle_without_a_way_out_fails(here: Path, governor: Governor) -> None:
    result = governor("policy", "check", "--graph", "turns:for_ever", "ten.yaml")

    assert 1 == result.exit_code
    assert "only `limits.steps` ends it" in result.output
    assert "[graph.no_exit]" in result.output


@pytest.mark.parametrize("target", ["turns:graph", "turns:made", "./turns.py:graph", "turns.py:made"])
def test_a_graph_is_named_by_module_or_file_itself_or_what_makes_it(
    target: str, here: Path, governor: Governor
) -> None:
    result = governor("policy", "check", "--graph", target, "--json")
    (report,) = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert (None, target) == (report["file"], report["graph"]["graph"])
    assert [[]] == [cycle["cut_by"] for cycle in report["graph"]["cycles"]]


def test_json_holds_findings_cycles_bounds_and_assumptions_for_every_policy(here: Path, governor: Governor) -> None:
    result = governor("policy", "check", "--graph", "turns:graph", "ten.yaml", "free.yaml", "--json")
    ten, free = (report["graph"] for report in json.loads(result.stdout))

    assert [{"name": "limits.steps", "limit": "10"}] == ten["cycles"][0]["cut_by"]
    assert {"most": 10, "written": "10", "why": "limits.steps 10"} == ten["bounds"]["steps"]
    assert {"most": None, "written": "UNBOUNDED", "why": "`plan -> work -> plan`"} == free["bounds"]["steps"]
    assert ["graph.uncut_cycle"] == [finding["code"] for finding in free["findings"]]
    assert [] == ten["assumptions"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("./nowhere.py:graph", "there is no file nowhere.py"),
        ("nowhere:graph", "there is no module nowhere"),
        ("turns:LOOPS", "has no `LOOPS`"),
        ("turns:Bag", "is no graph"),
    ],
)
def test_what_names_no_graph_is_said(target: str, said: str, here: Path, governor: Governor) -> None:
    result = governor("policy", "check", "--graph", target, "ten.yaml")

    assert 2 == result.exit_code
    assert said in result.stderr


def test_a_file_that_breaks_is_said_and_no_traceback(here: Path, governor: Governor) -> None:
    (here / "broken.py").write_text("1 / 0")

    result = governor("policy", "check", "--graph", "./broken.py:graph")

    assert 2 == result.exit_code
    assert "broken.py cannot be run: ZeroDivisionError" in result.stderr


def test_without_a_policy_and_a_graph_there_is_nothing_to_check(here: Path, governor: Governor) -> None:
    result = governor("policy", "check")

    assert 2 == result.exit_code
    assert "--graph" in result.stderr


def test_a_policy_that_cannot_be_loaded_is_an_error_as_without_a_graph(here: Path, governor: Governor) -> None:
    (here / "bad.yaml").write_text("governor: 1\nname: bad\nlimits: {step: 1}\n")
    reports: Any = json.loads(governor("policy", "check", "--graph", "turns:graph", "bad.yaml", "--json").stdout)

    assert reports[0]["errors"]
    assert "graph" not in reports[0]
