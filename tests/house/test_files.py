"""What every file of the repository keeps to, whoever wrote it."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.house.sources import ROOT, import_packages, tracked

TEXT = {".cfg", ".csv", ".j2", ".json", ".jsonl", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
# Written in pieces, so that this file does not contain what it looks for.
PLACES = re.compile(
    "|".join([r"/wo" + r"rk/", r"/ro" + r"ot/", r"/ho" + r"me/[a-z]", r"/Us" + r"ers/[a-z]", r"C:\\Us" + r"ers"])
)
INDEXES = re.compile(
    "|".join([r"py" + r"pi\.org", r"pythonho" + r"sted", r"py" + r"pi-", r"index-u" + r"rl", r"find-l" + r"inks"])
)
PYTHON_BLOCK = re.compile(r"^([ \t]*)```(?:python|py)\b[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def texts() -> list[Path]:
    return [path for path in tracked() if path.suffix in TEXT or path.name in {"Makefile", "run", ".gitignore"}]


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_no_file_names_a_place_on_one_machine() -> None:
    found = {f"{path}: {match[0]}" for path in texts() for match in PLACES.finditer(read(path))}

    assert set() == found


def test_no_file_names_the_host_of_a_package_index() -> None:
    found = {f"{path}: {match[0]}" for path in texts() for match in INDEXES.finditer(read(path))}

    assert set() == found


def test_no_source_file_is_too_long_to_read_in_one_sitting() -> None:
    lengths = {str(path): len(read(path).splitlines()) for path in tracked() if path.suffix == ".py"}

    assert {} == {path: length for path, length in lengths.items() if length >= 400}


def test_every_import_package_says_that_it_is_typed() -> None:
    assert [] == [name for name, folder in import_packages().items() if not (folder / "py.typed").is_file()]


def test_every_import_package_is_known_to_the_architecture_contracts() -> None:
    settings = tomllib.loads(read(Path("pyproject.toml")))

    assert set(import_packages()) == set(settings["tool"]["importlinter"]["root_packages"])


def test_the_license_file_is_the_license_that_the_metadata_names() -> None:
    settings = tomllib.loads(read(Path("pyproject.toml")))

    assert "MIT" == settings["project"]["license"]
    assert read(Path("LICENSE")).startswith("MIT License\n")


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-oldest.txt"])
def test_constraints_are_plain_pins_without_addresses(file: str) -> None:
    lines = [line for line in read(Path(file)).splitlines() if not line.startswith("#")]

    assert [] == [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_]+", line)]


def test_constraints_pin_every_direct_dependency_of_all_and_dev() -> None:
    project = tomllib.loads(read(Path("pyproject.toml")))["project"]
    left_out = {"all", "encoder", "cel"}  # large or optional: whoever asks for these takes what is current
    wanted = [*project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        wanted += [] if extra in left_out else requirements

    pinned = {line.split("==")[0].lower() for line in read(Path("constraints.txt")).splitlines() if "==" in line}

    own = {project["name"]}  # an extra that names another
    assert set() == {re.split(r"[^A-Za-z0-9._-]", name)[0].lower() for name in wanted} - pinned - own


def test_nothing_tells_people_to_install_the_unrelated_distribution_called_governor() -> None:
    wrong = re.compile(r"pip install (?:-\S+ )*['\"]?governor\b(?!/)")

    assert [] == [str(path) for path in texts() if path.name != Path(__file__).name and wrong.search(read(path))]


def python_blocks() -> list[tuple[str, str]]:
    pages = [path for path in tracked() if path.suffix == ".md"]
    return [
        (f"{page}:{text.count(chr(10), 0, block.start()) + 2}", re.sub(f"(?m)^{block[1]}", "", block[2]))
        for page in pages
        for text in [read(page)]
        for block in PYTHON_BLOCK.finditer(text)
    ]


@pytest.mark.parametrize("code", [pytest.param(code, id=where) for where, code in python_blocks()])
def test_python_in_a_document_is_python(code: str) -> None:
    compile(code, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
