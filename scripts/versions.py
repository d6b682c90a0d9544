"""Run the tests beside the oldest versions that `pyproject.toml` allows and on the newest Python, each in an environment of its own.

    python scripts/versions.py            every test that an environment can run (`make versions`)
    python scripts/versions.py --quick    what touches the graph libraries and the clients (the end of `make test`)

Ends with a table, and with exit code 1 when a run failed. An interpreter that is not there is said to be missing and fails nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("tests/langgraph", "tests/vendors")
"""Folders whose tests meet a library that changes; those of the core and of the stores are left to `make versions`."""
LONG = (
    *(f"langgraph/test_{name}" for name in ("generated", "halts", "kill", "kill_summary", "ladder", "many_threads")),
    *(f"langgraph/test_{name}" for name in ("matrix", "probe", "stop_matrix", "store_loss", "structure_properties")),
    *(
        f"vendors/test_{name}"
        for name in ("broken_streams", "fail_over", "gateways", "media", "route_learning", "targets")
    ),
    *(f"routing/test_{name}" for name in ("guard", "snapshot", "training")),
    *("cli/test_route", "encoder/test_teaching"),
)
"""Tests that take longer than all others together: quick runs leave them to `make versions`."""
SHOWN = ("langgraph", "langchain", "langchain-core")


@dataclass(frozen=True)
class Leg:
    """One environment, and what its tests leave out and why."""

    name: str
    venv: str
    constraints: str
    extras: str
    pythons: tuple[str, ...]
    without: tuple[str, ...] = ()
    quick: tuple[str, ...] = QUICK
    """Folders of a quick run."""


LEGS = (
    Leg(
        name="oldest",
        venv=".venv-oldest",
        constraints="constraints-oldest.txt",
        extras="all,test",
        pythons=("3.11",),
        # The house's rules, formats and wheels are the main environment's; what runs beside governor there takes no older versions.
        without=("tests/house", "tests/coexistence", "tests/served"),
    ),
    Leg(
        name="newest Python",
        venv=".venv-newest-python",
        constraints="constraints.txt",
        extras="all,dev",
        pythons=("3.13", "3.12"),
        quick=("tests/langgraph",),  # it has the same libraries as the main environment
    ),
)


def interpreter(wanted: tuple[str, ...]) -> tuple[str, str] | None:
    """The first of the wanted versions that is here and answers, with its command. A shim on PATH may run nothing."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for version in wanted:
        for command in (f"python{version}", *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")), reverse=True)):
            if shutil.which(command) is None:
                continue
            ask = [command, "-c", "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"]
            answer = subprocess.run(ask, check=False, capture_output=True, text=True)
            if answer.returncode == 0 and answer.stdout.strip() == version:
                return version, command
    return None


def prepared(leg: Leg, command: str, extras: str) -> Path:
    """The environment's interpreter, with everything installed that its tests need."""
    venv = ROOT / leg.venv
    python, ready = venv / "bin" / "python", venv / f".ready-{extras.replace(',', '-')}"
    sources = [ROOT / "pyproject.toml", ROOT / leg.constraints]
    if ready.exists() and all(ready.stat().st_mtime >= source.stat().st_mtime for source in sources):
        return python
    if not python.exists():
        subprocess.run([command, "-m", "venv", venv], check=True)
    wanted = ["-c", leg.constraints, "-e", f".[{extras}]"]
    uv = shutil.which("uv")
    fast = [uv, "pip", "install", "--quiet", "--python", python, *wanted]
    plain = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    if uv is None or subprocess.run([str(part) for part in fast], check=False, cwd=ROOT).returncode:
        subprocess.run([str(part) for part in plain], check=True, cwd=ROOT)
    # Before the tests, whose warnings are errors: what a package's own source is warned about is not ours.
    compiled = [str(python), "-W", "ignore", "-m", "compileall", "-q", "-j", "0", str(venv / "lib")]
    subprocess.run(compiled, check=False, cwd=ROOT)
    ready.touch()
    return python


def versions(python: Path) -> str:
    """What the environment holds."""
    ask = f"from importlib.metadata import version; print(' '.join(map(version, {SHOWN!r})))"
    return subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()


def run(leg: Leg, *, quick: bool) -> tuple[str, ...]:
    """One row of the table: where, with which versions, what came out, and how long it took."""
    found = interpreter(leg.pythons)
    if found is None:
        print(
            f"--- {leg.name}: skipped, no Python {' or '.join(leg.pythons)} was found on PATH or under pyenv",
            flush=True,
        )
        return (leg.name, "-", "-", "skipped: no such Python", "-")
    version, command = found
    begun = time.monotonic()
    python = prepared(leg, command, "all,test" if quick else leg.extras)
    libraries = versions(python)
    folders = [name for name in leg.quick if (ROOT / name).exists() and name not in leg.without] if quick else ["tests"]
    left_out = [f"tests/{name}.py" for name in LONG] if quick else list(leg.without)
    ignored = [f"--ignore={name}" for name in left_out]
    print(f"--- {leg.name}: Python {version}, {', '.join(SHOWN)} {libraries}", flush=True)
    options = ["-q", "-n", "auto", "--dist", "loadfile", "--inline-snapshot=disable", *ignored]
    tests = subprocess.Popen(
        [str(python), "-m", "pytest", *options, *folders], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    last = ""
    for line in tests.stdout or ():
        print(line, end="", flush=True)
        last = line.strip() or last
    failed = tests.wait()
    outcome = re.sub(r" in .*|=+ ?", "", last)
    took = f"{time.monotonic() - begun:.0f} s"
    return (leg.name, version, libraries, f"FAILED: {outcome}" if failed else outcome, took)


def main() -> int:
    """Run every leg, print the table."""
    rows = [("environment", "Python", " ".join(SHOWN), "result", "time")]
    rows += [run(leg, quick="--quick" in sys.argv[1:]) for leg in LEGS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return int(any(row[3].startswith("FAILED") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
