"""The core stays small enough to trust: what `governor/` may import is a list, and this is the list.

import-linter holds the direction of imports and sees top-level packages only; this test sees submodules too
(`opentelemetry.sdk`), and imports made inside functions.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import ROOT

CORE = ("pydantic", "pydantic_core", "yaml", "opentelemetry", "networkx")
# Modules that may import one or two packages more, by the start of their path.
MORE = {
    "governor/cli/": ("typer", "rich", "jinja2", "click"),
    "governor/prices": ("genai_prices",),
    "governor/tokens": ("tiktoken",),
    "governor/policy/cel": ("cel",),
}
SOURCES = sorted((ROOT / "governor").rglob("*.py"))


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_only_its_few_dependencies(source: Path) -> None:
    where = source.relative_to(ROOT).as_posix()
    allowed = {"governor", *CORE, *(name for start, names in MORE.items() if where.startswith(start) for name in names)}

    strangers = {
        name
        for name in imported(source)
        if name.split(".")[0] not in allowed and name.split(".")[0] not in sys.stdlib_module_names
    }

    assert set() == strangers


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_uses_the_telemetry_api_and_never_the_sdk(source: Path) -> None:
    assert [] == [name for name in imported(source) if name.startswith("opentelemetry.sdk")]
