"""`governor probe`: a certificate on the screen or as JSON, and an exit code for a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from governor_langgraph import hooks
from governor_langgraph.cli_probe import probe

pytestmark = pytest.mark.usefixtures("folder")


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("probe")(probe)
    return CliRunner().invoke(app, list(arguments))


def test_the_certificate_shows_every_node_tool_and_model_by_every_way_of_running_it() -> None:
    shown = run("app:graph", "--policy", "open.yaml")

    assert 0 == shown.exit_code, shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["model", *["yes"] * 9] in lines
    assert ["tools:", "search", *["yes"] * 9] in lines
    assert ["search", *["yes"] * 4] in lines
    assert "Everything is mediated." in shown.output


def test_as_json_it_is_one_document_that_says_the_same_twice() -> None:
    first, second = run("app:graph", "--json"), run("app:graph", "--json")

    assert first.stdout == second.stdout
    written: dict[str, Any] = json.loads(first.stdout)
    assert written["complete"]
    assert written["graph"]["hash"].startswith("sha256:")


def test_what_escapes_is_named_with_its_reason_and_exits_with_1(folder: Path) -> None:
    (folder / "leaky.py").write_text(LEAKY)

    shown = run("leaky:graph")

    assert 1 == shown.exit_code
    assert "own by tool.invoke, tool.run: Own.run meets no hook" in shown.output
    assert "NOT everything is mediated." in shown.output


LEAKY = """\
from functools import partialmethod  # a method that is no function is not hooked

from langchain_core.tools import BaseTool
from langgraph.graph import START, MessagesState, StateGraph


class Own(BaseTool):
    name: str = "own"
    description: str = "own"

    def _run(self, *args, **kwargs):
        raise AssertionError("it ran")

    run = partialmethod(_run)


own = Own()


def node(state):
    return own.run("x")


graph = StateGraph(MessagesState)
graph.add_node("node", node)
graph.add_edge(START, "node")
"""


@pytest.mark.parametrize(
    "arguments",
    [("app:number",), ("nowhere:graph",), ("app:graph", "--policy", "absent.yaml")],
    ids=lambda given: given[-1],
)
def test_what_cannot_be_probed_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert 2 == run(*arguments).exit_code


def test_the_hooks_are_in_place_afterwards() -> None:
    run("app:graph")

    assert hooks.installed()
