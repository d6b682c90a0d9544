"""The distribution works where its sources are not.

An editable install sees files that a wheel may lack, so one test builds the wheel - from the sdist, which therefore is
complete too - and governs a graph with it. Dependencies come from the developer's environment: their folder is put on
the path of a fresh one by a `.pth` file, and Python does not read `.pth` files of a folder added that way, so the
editable install in it stays out of reach.
"""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.house.sources import ROOT, import_packages

pytestmark = [pytest.mark.wheel, pytest.mark.slow]

GOVERNED_GRAPH = """
import json
import sys
from typing import TypedDict

import governor
import governor_langgraph
from governor_langgraph import govern
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    question: str
    answer: str


def answer(state: State) -> State:
    model = GenericFakeChatModel(messages=iter([AIMessage("42")]))
    return {"answer": str(model.invoke(state["question"]).content)}


builder = StateGraph(State)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
builder.add_edge("answer", END)
app = govern(builder.compile(), policy="policy.yaml")

result = app.invoke({"question": "six times seven"})
print(json.dumps({"files": [governor.__file__, governor_langgraph.__file__], "path": sys.path, "result": result}))
"""

POLICY = """\
governor: 1
name: wheel
mode: enforce
budgets:
  - {id: run, scope: run, limit: {model_calls: 5}}
"""


def run(command: Sequence[str | Path], *, cwd: Path) -> str:
    """What the command printed; its complaints are part of the failure when it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, check=False, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert 0 == done.returncode, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist, with the build backend at hand so that no index is asked."""
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT], cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh environment with the wheel installed and the dependencies borrowed."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", home], cwd=home.parent)
    python = home / "bin" / "python"
    install = ["install", "--quiet", "--no-index", "--no-deps", wheel]
    run([sys.executable, "-m", "pip", "--python", python, *install], cwd=home.parent)
    packages = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=home).strip())
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n", encoding="utf-8")
    return home


def test_the_wheel_holds_the_import_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}

    assert {*import_packages(), "langgraph_governor-0.1.0.dist-info"} == tops


def test_the_wheel_holds_everything_that_the_packages_hold(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in import_packages().items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }

    assert set() == wanted - shipped


def test_a_graph_is_governed_by_the_wheel_alone(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "app.py").write_text(GOVERNED_GRAPH, encoding="utf-8")

    seen = json.loads(run([clean / "bin" / "python", "-I", "app.py"], cwd=tmp_path).splitlines()[-1])

    assert {"question": "six times seven", "answer": "42"} == seen["result"]
    assert [] == [file for file in seen["files"] if not Path(file).is_relative_to(clean)]
    assert [] == [entry for entry in seen["path"] if Path(entry) in {ROOT, ROOT / "integrations"}]


def test_the_command_is_installed_with_the_wheel(clean: Path, tmp_path: Path) -> None:
    assert "policy" in run([clean / "bin" / "governor", "--help"], cwd=tmp_path)
