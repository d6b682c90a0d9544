"""The command line as a whole: what it lists, what it imports to do so, and what becomes of an integration that is broken."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from governor.cli.deferred import Deferred
from tests.cli.conftest import Governor, Process


def test_help_lists_every_command(folder: Path, process: Process) -> None:
    done = process("--help")

    assert [] == [
        command
        for command in ("init", "probe", "run", "runs", "show", "policy", "sandbox", "demo", "version")
        if not re.search(rf"│ {command} ", done.stdout)
    ]
    assert "Not available" not in done.stdout
    assert 0 == done.returncode


def test_an_integration_that_cannot_be_imported_leaves_the_other_commands_working(
    folder: Path, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "governor_otel.cli", None)

    assert 0 == governor("version").exit_code
    assert 0 == governor("--help").exit_code
    said, document = governor("runs"), governor("runs", "--json")
    assert "governor_otel.cli" in said.stderr
    assert "governor_otel.cli" in json.loads(document.stderr)["error"]["message"]
    assert [2, 2] == [said.exit_code, document.exit_code]


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["policy", "--help"]], ids=" ".join)
def test_what_needs_no_graph_imports_neither_a_graph_library_nor_the_policy_format(
    folder: Path, process: Process, arguments: list[str]
) -> None:
    done = process(*arguments, PYTHONPROFILEIMPORTTIME="1")

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "governor.cli.deferred" in imported
    assert set() == imported & {
        "governor_langgraph",
        "governor_otel",
        "governor_sandbox",
        "langgraph",
        "langchain_core",
        "opentelemetry.sdk.trace",
        "governor.policy",
        "yaml",
    }
    assert 0 == done.returncode


def test_the_list_of_commands_says_of_each_what_its_own_help_says(folder: Path, governor: Governor) -> None:
    entries = entry_points(group="governor.cli")
    listed = governor("--help", env={"COLUMNS": "300"}).stdout

    assert {"init", "probe", "run", "runs", "sandbox", "show"} <= {entry.name for entry in entries}
    for entry in entries:
        line = Deferred(entry).help
        assert line is not None
        assert line in listed
        assert line in governor(entry.name, "--help", env={"COLUMNS": "300"}).stdout


@pytest.mark.parametrize(
    "value", ["nowhere.cli:app", "governor.nowhere:app", "json:dumps"], ids=["no package", "no module", "no submodule"]
)
def test_a_command_whose_source_cannot_be_read_is_listed_by_the_module_that_adds_it(value: str) -> None:
    entry = EntryPoint(name="strange", group="governor.cli", value=value)

    assert f"Added by {entry.module}." == Deferred(entry).help
