"""Which suites there are, and how one is got: the sdist of the version that this environment is pinned to, by pip."""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SUITES", "Suite", "fetched"]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The tests in one sdist."""

    distribution: str
    tests: str = "tests"
    """What pytest is given, relative to the sdist's own folder."""
    asyncio: bool = False
    """Whether its coroutines are pytest-asyncio's without being marked."""
    alone: bool = False
    """Whether it expects that langchain is not installed, whose version LangChain's models add to their metadata."""


SUITES = (
    Suite(distribution="langgraph", alone=True),
    Suite(distribution="langgraph-prebuilt", asyncio=True),
    Suite(distribution="langgraph-supervisor", asyncio=True),
    Suite(distribution="langgraph-swarm", asyncio=True),
    # the rest of LangChain's suite is about models, embeddings and MCP servers: no graphs
    Suite(distribution="langchain", tests="tests/unit_tests/agents", asyncio=True),
)


def pinned(distribution: str) -> str:
    """The version that constraints.txt names, or the one beside this file. Raises KeyError when neither does."""
    versions: dict[str, str] = {}
    for path in (HERE / "requirements.txt", ROOT / "constraints.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, found, version = line.partition("==")
            if found:
                versions[name.strip()] = version.strip()
    return versions[distribution]


def fetched(suite: Suite, python: Path, into: Path) -> Path:
    """The folder with a suite's tests, downloaded unless it is there. The package's own sources stay out: the installed ones are tested."""
    version = pinned(suite.distribution)
    folder = into / f"{suite.distribution.replace('-', '_')}-{version}"
    if (folder / ".complete").exists():
        return folder
    into.mkdir(parents=True, exist_ok=True)
    asked = [f"{suite.distribution}=={version}", "--no-binary", suite.distribution, "--no-deps", "--dest", str(into)]
    subprocess.run([python, "-m", "pip", "download", "--quiet", *asked], check=True)
    with tarfile.open(folder.with_name(f"{folder.name}.tar.gz")) as archive:
        wanted = [
            member
            for member in archive.getmembers()
            if member.name.split("/")[1:2] in (["tests"], ["bench"], ["pyproject.toml"])
        ]
        archive.extractall(into, wanted, filter="data")
    (folder / ".complete").touch()
    return folder
