"""What the documents show runs: every Python block, every command, every file they name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from governor.cli.app import build
from governor.cli.deferred import Deferred
from governor.policy.load import load
from governor.policy.pricing import unpriced
from governor.prices import PriceBook
from governor_sandbox import Sandbox, Scenario

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / name
    for name in (
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "policies/README.md",
        "integrations/README.md",
        "integrations/governor_sandbox/README.md",
    )
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_COMMAND = re.compile(r"`(governor [^`\n]+)`")
PLACE = re.compile(r"`((?:governor|governor_\w+|integrations|policies|tests|examples)/[^`\s]*)`")


def blocks(path: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(path.read_text(encoding="utf-8")) if kind == language]


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "README.md", "python"))))
def test_the_readmes_python_runs_as_it_stands(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sandbox(Scenario.always("Sunny, I am told.")) as box:
        for name, value in box.env().items():
            monkeypatch.setenv(name, value)
        exec(compile(blocks(ROOT / "README.md", "python")[number], "README.md", "exec"), {"__name__": "readme"})

    assert "Sunny, I am told." in capsys.readouterr().out


def commands() -> list[str]:
    """Every command that a document shows: in the blocks for a shell, those of no language, and inside sentences."""
    found: set[str] = set()
    for path in DOCUMENTS:
        lines = [
            line
            for kind in ("", "console", "sh", "bash")
            for block in blocks(path, kind)
            for line in block.splitlines()
        ]
        found |= {line.removeprefix("$ ").partition(" #")[0].strip() for line in lines}
        found |= set(INLINE_COMMAND.findall(FENCE.sub("", path.read_text(encoding="utf-8"))))
    return sorted(line for line in found if line.startswith("governor "))


@pytest.mark.parametrize("command", commands())
def test_every_governor_command_in_the_documents_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)[1:]
    found: Any = get_command(build())

    while words and hasattr(found, "commands") and words[0] in found.commands:
        found = found.commands[words.pop(0)]
        found = found.load() if isinstance(found, Deferred) else found

    assert not hasattr(found, "commands"), f"{command}: no such command"
    options = {name for parameter in found.params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options


SHOWN_TIERS = re.findall(r"`(\{model: .*?\})`", (ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("shown", SHOWN_TIERS)
def test_every_tier_that_the_readme_shows_can_be_loaded_and_has_a_known_price(shown: str) -> None:
    budgets = [{"id": "b", "scope": "run", "limit": {"usd": 1}}]
    policy = load({"governor": 1, "name": "p", "budgets": budgets, "tiers": {"t": yaml.safe_load(shown)}}).policy

    assert [] == list(unpriced(policy, PriceBook(policy)))
    assert all("${" in value for value in policy.tiers["t"].request_headers.values())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_document_names_is_there(document: Path) -> None:
    named = PLACE.findall(document.read_text(encoding="utf-8"))

    assert [] == [place for place in named if not there(place)]


def there(place: str) -> bool:
    """Whether a path in the repository exists; one with a blank to fill in (`<name>`), as far as its folders are given."""
    path = place.partition("::")[0]
    if "<" in path:
        path = path.partition("<")[0].rpartition("/")[0]
    return (ROOT / path).exists() or (path.startswith("governor_") and (ROOT / "integrations" / path).exists())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_links_to_is_there(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))

    assert [] == [target for target in targets if not (document.parent / target).exists()]


def test_every_make_target_in_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    wanted = {
        target for path in DOCUMENTS for target in re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8"))
    }

    assert {target for target in wanted if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_the_invariants_of_the_architecture_name_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))

    assert named
    missing = [
        (path, name)
        for path, name in named
        if not (ROOT / path).exists() or (name and f"def {name}" not in (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert [] == missing
