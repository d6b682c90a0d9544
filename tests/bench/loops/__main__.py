"""Loop detectors on labelled runs: governor's and what others ship, by the same rules, in one table.

make bench-loops CORPUS=dir              a folder of gzipped JSON lines; prints the tables
make bench-loops CORPUS=dir JSON=file    writes the figures too
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.loops.anchors import ANCHORS, Detector
from tests.bench.loops.corpus import Run, runs_in
from tests.bench.loops.ours import Ours
from tests.bench.loops.scoring import REAL, Score, Seen, scored

DETECTORS: dict[str, Callable[[], Detector]] = {"governor": Ours, **ANCHORS}


def figures(score: Score) -> dict[str, Any]:
    """What the table shows of a detector, as numbers."""
    levels = {"nudge": score.nudged, "hard": score.stopped}
    groups = ("human", "agentrx", "magentic", "hotpot", "constructed", "clean", "legitimate")
    found: dict[str, Any] = {
        f"{group} {name}": round(score.share(hits, group), 4) for group in groups for name, hits in levels.items()
    }
    found |= {f"F1 {name}": round(score.f1(hits), 3) for name, hits in levels.items()}
    found["macro recall nudge"] = round(score.macro(), 3)
    found["delay"] = statistics.median(score.delays) if score.delays else None
    found["new tokens after onset"] = round(statistics.fmean(score.wasted)) if score.wasted else None
    found["billed tokens after onset"] = round(statistics.fmean(score.billed)) if score.billed else None
    return found


def by_class(every: Sequence[Seen], group: str) -> dict[str, tuple[int, int, int, float | None]]:
    """Class to runs, nudged, stopped, median delay."""
    found: dict[str, list[Seen]] = {}
    for seen in every:
        if seen.run.group == group:
            found.setdefault(seen.run.cls or seen.run.source, []).append(seen)
    return {
        cls: (
            len(seens),
            sum(seen.nudge is not None for seen in seens),
            sum(seen.hard is not None for seen in seens),
            statistics.median(delays)
            if (delays := [s.hard - s.run.onset for s in seens if s.hard is not None])
            else None,
        )
        for cls, seens in sorted(found.items())
    }


def cost_us(runs: Sequence[Run]) -> tuple[float, float]:
    """Median and 99th percentile of CPU microseconds a step of governor's detector takes; in one process, on this machine."""
    spent: list[int] = []
    for run in runs:
        detector = Ours()
        for step in run.steps:
            began = time.perf_counter_ns()
            detector.see(step)
            spent.append(time.perf_counter_ns() - began)
    spent.sort()
    return spent[len(spent) // 2] / 1_000, spent[len(spent) * 99 // 100] / 1_000


def main() -> None:
    """Score every detector and print what comes of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console(width=200)
    try:
        runs = list(runs_in(options.corpus))
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    written: dict[str, Any] = {}
    table = Table(title=f"{len(runs)} labelled runs; nudge / hard; shares of runs")
    columns = ("human", "agentrx", "magentic", "hotpot", "constructed", "clean", "legitimate")
    for name in ("detector", *columns, "F1", "delay", "billed k"):
        table.add_column(name, justify="left" if name == "detector" else "right")
    ours: Sequence[Seen] = ()
    for name, make in DETECTORS.items():
        score, every = scored(runs, make)
        ours = every if name == "governor" else ours
        written[name] = found = figures(score)
        cells = [f"{found[f'{group} nudge']:.0%}/{found[f'{group} hard']:.1%}" for group in columns]
        billed = found["billed tokens after onset"]
        table.add_row(
            name,
            *cells,
            f"{found['F1 nudge']:.2f}/{found['F1 hard']:.2f}",
            str(found["delay"]),
            f"{billed / 1_000:.0f}",
        )
    console.print(table)
    for group, title in (
        ("constructed", "loops, by class"),
        ("legitimate", "legitimate repetition"),
        ("clean", "clean runs"),
    ):
        part = Table(title=f"governor: {title}")
        for name in ("class", "runs", "nudged", "stopped", "delay"):
            part.add_column(name)
        classes = by_class(ours, group)
        for cls, cells in classes.items():
            part.add_row(cls, *("" if cell is None else str(cell) for cell in cells))
        written[f"governor {group}"] = classes
        console.print(part)
    median, p99 = cost_us(runs)
    console.print(
        f"governor: {median:.0f} us a step in the middle, {p99:.0f} us at the 99th percentile; real loops: {', '.join(REAL)}"
    )
    written["us a step"] = {"median": median, "p99": p99}
    if options.json:
        options.json.write_text(json.dumps(written, indent=2))


if __name__ == "__main__":
    main()
