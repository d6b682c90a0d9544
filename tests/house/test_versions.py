"""governor says which versions it works with, in one range, and refuses to begin beside any other."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from governor_langgraph.supported import RANGES
from tests.house.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

IMPORT = """
from governor.errors import ConfigurationError
try:
    import governor_langgraph
except ConfigurationError as error:
    assert isinstance(error, ImportError)
    print(error.package, error.found, error.supported, error.remedy, sep="|")
else:
    print("imported")
"""


def imported_beside(folder: Path, **installed: str) -> list[str]:
    """What importing says where `installed` seem to be: their metadata is found first."""
    for name, version in installed.items():
        metadata = folder / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    paths = [str(folder), str(ROOT), str(ROOT / "integrations")]
    code = f"import sys; sys.path[:0] = {paths!r}\n{IMPORT}"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=folder)
    return done.stdout.strip().split("|")


@pytest.mark.parametrize(
    ("name", "version", "supported"),
    [
        ("langgraph", "1.2.21", ">=1.2.22,<1.3"),
        ("langgraph", "1.3.0rc1", ">=1.2.22,<1.3"),
        ("langchain", "2.0.0", ">=1.4,<1.6"),
        ("langchain_core", "1.9.0", ">=1.7,<1.9"),
    ],
)
def test_importing_fails_beside_a_version_that_was_not_tested(
    tmp_path: Path, name: str, version: str, supported: str
) -> None:
    package, found, ranges, remedy = imported_beside(tmp_path, **{name: version})

    assert (name.replace("_", "-"), version, supported) == (package, found, ranges)
    assert f"pip install '{package}{supported}'" in remedy


def test_any_patch_level_within_the_range_is_fine(tmp_path: Path) -> None:
    assert ["imported"] == imported_beside(tmp_path, langgraph="1.2.99", langchain="1.5.99", langchain_core="1.8.99")


def test_what_is_refused_and_what_is_installed_are_one_range() -> None:
    ranges = {name: f">={first},<{beyond}" for name, (first, beyond) in RANGES.items()}

    assert PROJECT["requires-python"] == ranges.pop("Python")
    assert {f"{name}{written}" for name, written in ranges.items()} <= set(PROJECT["dependencies"])


def test_the_integrations_are_documented_with_the_range_that_holds() -> None:
    documented = (ROOT / "integrations" / "README.md").read_text(encoding="utf-8")

    for name, (first, beyond) in RANGES.items():
        assert f"{name} >={first},<{beyond}" in documented


def test_the_oldest_versions_that_are_tested_are_the_floors() -> None:
    pinned = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()

    for name in ("langgraph", "langchain", "langchain-core"):
        (version,) = (line.partition("==")[2] for line in pinned if line.startswith(f"{name}=="))
        assert version.startswith(RANGES[name][0])
