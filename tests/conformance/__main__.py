"""Transparency, judged by others: suites written for LangGraph, once as they are and then with every graph governed.

    make conformance                        everything, both ways
    make conformance JSON=figures.json      writes the figures too
    python -m tests.conformance --suite langgraph --way each -k test_time_travel

Makes an environment of its own in .venv-conformance (the versions of constraints.txt, what the suites import beside them, this tree),
downloads the suites there, and fails when a test that passes bare does not pass governed. Some of these tests measure milliseconds and
fail bare, too, on a machine that is busy: what fails is run once more with nothing beside it, and named when it passes then. Tests that
need Docker are left out by the suites themselves. The ways of governing are those of `governed_suite.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.suites import HERE, ROOT, SUITES, Suite, fetched

HOME = ROOT / ".venv-conformance"
PYTHON = HOME / "bin" / "python"
BARE = "bare"
WAYS = ("each", "shared", "wide")
TEST_TIMEOUT_S = 120


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What became of one suite, run one way."""

    tests: Mapping[str, str] = field(default_factory=dict[str, str])
    """Node id to passed, failed or skipped."""
    graphs: int = 0
    """Graphs that were governed."""
    runs: int = 0
    """Governed runs that ended, where they were counted."""
    news: Sequence[str] = ()
    """Tests that passed bare and did not now."""
    hurried: Sequence[str] = ()
    """Tests that did not pass in the crowd and did by themselves. They count as passed."""


def prepared() -> None:
    """Make the environment, unless it was made for these very requirements."""
    mark = HOME / ".ready"
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt", HERE / "requirements.txt"]
    if mark.exists() and mark.stat().st_mtime >= max(path.stat().st_mtime for path in files):
        return
    venv.create(HOME, with_pip=True)
    wanted = ["-c", ROOT / "constraints.txt", "-r", HERE / "requirements.txt", "-e", f"{ROOT}[all]"]
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--no-compile", *wanted], check=True)
    mark.touch()


def run(suite: Suite, way: str, folder: Path, args: argparse.Namespace, only: Sequence[str] = ()) -> Outcomes:
    """Run one suite one way, or `only` some of its tests, one by one. What pytest says goes to a log beside the suite."""
    name = f"{way}-again" if only else way
    found = folder / f"{name}.json"
    found.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "NO_DOCKER": "true",
        "LANGSMITH_TRACING": "false",
        "GOVERNED": "" if way == BARE else way,
        "ALONE": "1" if suite.alone else "",
        "OUTCOMES": str(found),
        "PYTHONPATH": str(HERE),  # the plugin alone: the suite's own package is called `tests` as this project's is
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    options = ["-p", "governed_suite", "-p", "no:cacheprovider", "-q", "-o", "addopts=", f"--timeout={TEST_TIMEOUT_S}"]
    options += ["-n", "0" if only else str(args.workers), "--dist", "loadfile"]
    options += ["-o", "asyncio_mode=auto"] if suite.asyncio else []
    options += ["-k", args.k] if args.k else []
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        command = [PYTHON, "-m", "pytest", *options, *(only or [suite.tests])]
        ended = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if not found.exists():
        sys.exit(f"{suite.distribution}, {way}: pytest ended with {ended.returncode} before it told; see {log.name}")
    return Outcomes(**json.loads(found.read_text(encoding="utf-8")))


def run_all(suite: Suite, folder: Path, args: argparse.Namespace) -> Mapping[str, Outcomes]:
    """Run a suite every way, and find what passed bare and did not governed: failed, was skipped, or never ran."""
    bare = run(suite, BARE, folder, args)
    _again(suite, BARE, folder, args, bare, [test for test, outcome in bare.tests.items() if outcome == "failed"])
    passed = [test for test, outcome in bare.tests.items() if outcome == "passed"]
    by_way = {BARE: bare}
    for way in args.way or WAYS:
        outcomes = by_way[way] = run(suite, way, folder, args)
        _again(suite, way, folder, args, outcomes, [test for test in passed if outcomes.tests.get(test) != "passed"])
        outcomes.news = [test for test in passed if outcomes.tests.get(test) != "passed"]
    return by_way


def _again(
    suite: Suite, way: str, folder: Path, args: argparse.Namespace, outcomes: Outcomes, suspects: Sequence[str]
) -> None:
    """Give the suspects a second try, by themselves, and note which of them only the crowd had made fail."""
    tried = run(suite, way, folder, args, suspects).tests if suspects else {}
    outcomes.hurried = [test for test in suspects if tried.get(test) == "passed"]
    outcomes.tests = {**outcomes.tests, **dict.fromkeys(outcomes.hurried, "passed")}


def told(suite: Suite, by_way: Mapping[str, Outcomes]) -> Sequence[str]:
    """Print a suite's table, a row a file; answers what is newly failing, by test and way."""
    bare = by_way[BARE]
    files = sorted({test.partition("::")[0] for test in bare.tests})
    width = max(map(len, [*files, suite.distribution])) + 2
    head = "".join(f"{way + ' pass/fail':>18}" for way in by_way)
    print(f"\n{suite.distribution:<{width}}{head}{'new failures':>16}")
    for file in [*files, ""]:
        cells = "".join(f"{_counts(outcomes, file):>18}" for outcomes in by_way.values())
        news = sum(test.startswith(file) for outcomes in by_way.values() for test in outcomes.news)
        print(f"{file or 'all':<{width}}{cells}{news:>16}")
    for way, outcomes in by_way.items():
        for test in outcomes.hurried:
            print(f"{way}: {test} failed in the crowd and passed by itself")
    return [f"{way}: {test}" for way, outcomes in by_way.items() for test in outcomes.news]


def _counts(outcomes: Outcomes, file: str) -> str:
    counts = Counter(outcome for test, outcome in outcomes.tests.items() if not file or test.partition("::")[0] == file)
    return f"{counts['passed']}/{counts['failed']}"


def figures(suite: Suite, by_way: Mapping[str, Outcomes]) -> Mapping[str, Any]:
    """What a suite's runs came to, for a machine."""
    return {
        way: {
            **Counter(outcomes.tests.values()),
            "tests": len(outcomes.tests),
            "graphs_governed": outcomes.graphs,
            "runs_governed": outcomes.runs,
            "new_failures": outcomes.news,
            "failed_in_the_crowd_only": outcomes.hurried,
        }
        for way, outcomes in by_way.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument(
        "--suite", action="append", choices=[suite.distribution for suite in SUITES], help="default: all"
    )
    parser.add_argument("--way", action="append", choices=WAYS, help=f"how to govern; default: {', '.join(WAYS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--workers", default="2", help="processes; default: 2")
    parser.add_argument("-k", metavar="EXPRESSION", help="as pytest's")
    args = parser.parse_args()
    prepared()
    every: dict[str, Any] = {}
    fresh: list[str] = []
    for suite in SUITES:
        if args.suite and suite.distribution not in args.suite:
            continue
        folder = fetched(suite, PYTHON, HOME / "suites")
        by_way = run_all(suite, folder, args)
        fresh += told(suite, by_way)
        every[suite.distribution] = figures(suite, by_way)
    if args.json:
        args.json.write_text(json.dumps(every, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"\n{len(fresh)} new failures", *fresh, sep="\n  ")
    sys.exit(bool(fresh))


if __name__ == "__main__":
    main()
