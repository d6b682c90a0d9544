"""Loop detectors on labelled runs: governor's and what others ship, by the same rules, in one table.

make bench-loops CORPUS=dir              a folder of gzipped JSON lines; prints the tables
make bench-loops CORPUS=dir JSON=file    writes the figures too
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.loops.agents import agents
from tests.bench.loops.anchors import Detector
from tests.bench.loops.corpus import Run, runs_in
from tests.bench.loops.costs import costs
from tests.bench.loops.ours import Ours
from tests.bench.loops.rivals import ANCHORS
from tests.bench.loops.scoring import REAL, Score, Seen, scored

DETECTORS: dict[str, Callable[[], Detector]] = {"governor": Ours, **ANCHORS}
GROUPS = ("human", "agentrx", "magentic", "hotpot", "constructed", "clean", "legitimate")
TITLES = {
    "constructed": "loops, by class",
    "legitimate": "legitimate repetition, by class",
    "clean": "clean runs, by source",
}


def figures(score: Score) -> dict[str, Any]:
    """What the table shows of a detector, as numbers."""
    levels = {"nudge": score.nudged, "hard": score.stopped}
    found: dict[str, Any] = {
        f"{group} {name}": round(score.share(hits, group), 4) for group in GROUPS for name, hits in levels.items()
    }
    found |= {f"F1 {name}": round(score.f1(hits), 3) for name, hits in levels.items()}
    found |= {f"recall {name}": round(score.recall(hits), 3) for name, hits in levels.items()}
    found |= {f"macro recall {name}": round(score.macro(hits), 3) for name, hits in levels.items()}
    found["delay"] = statistics.median(score.delays) if score.delays else None
    found["new tokens after onset"] = round(statistics.fmean(score.wasted)) if score.wasted else None
    found["billed tokens after onset"] = round(statistics.fmean(score.billed)) if score.billed else None
    return found


def by_class(every: Sequence[Seen], group: str) -> dict[str, dict[str, Any]]:
    """Class, or source where there are none, to what happened to its runs."""
    found: dict[str, list[Seen]] = {}
    for seen in every:
        if seen.run.group == group:
            found.setdefault(seen.run.cls or seen.run.source, []).append(seen)
    return {cls: _of_class(seens) for cls, seens in sorted(found.items())}


def _of_class(seens: Sequence[Seen]) -> dict[str, Any]:
    delays = [seen.hard - seen.run.onset for seen in seens if seen.hard is not None and seen.run.loop]
    loops = [seen for seen in seens if seen.run.loop]
    return {
        "runs": len(seens),
        "nudged": sum(seen.nudge is not None for seen in seens),
        "hard": sum(seen.hard is not None for seen in seens),
        "delay": statistics.median(delays) if delays else None,
        "new tokens after onset": round(statistics.fmean(seen.wasted for seen in loops)) if loops else None,
        "billed tokens after onset": round(statistics.fmean(seen.billed for seen in loops)) if loops else None,
    }


# --- tables


def detectors(found: Mapping[str, Mapping[str, Any]], runs: int) -> Table:
    """All detectors beside each other."""
    table = Table(
        title=f"{runs} labelled runs; nudge / hard; shares of runs; billed: thousand tokens after onset, per constructed loop"
    )
    for name in ("detector", *GROUPS, "recall", "macro", "F1", "delay", "billed k"):
        table.add_column(name, justify="left" if name == "detector" else "right")
    for name, row in found.items():
        billed = row["billed tokens after onset"]
        table.add_row(
            name,
            *(f"{row[f'{group} nudge']:.1%}/{row[f'{group} hard']:.1%}" for group in GROUPS),
            f"{row['recall nudge']:.2f}/{row['recall hard']:.2f}",
            f"{row['macro recall nudge']:.2f}",
            f"{row['F1 nudge']:.2f}/{row['F1 hard']:.2f}",
            _cell(row["delay"]),
            "-" if billed is None else f"{billed / 1_000:.1f}",
        )
    return table


def rows(title: str, first: str, found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Figures by name, a row each."""
    table = Table(title=title)
    columns = list(next(iter(found.values()), {}))
    for name in (first, *columns):
        table.add_column(name, justify="left" if name == first else "right")
    for name, row in found.items():
        table.add_row(name, *(_cell(row[column]) for column in columns))
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def main() -> None:
    """Score every detector and print what comes of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        runs = list(runs_in(options.corpus))
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    console = Console(width=230)
    written = measured(runs)
    console.print(detectors(written["detectors"], len(runs)))
    for group, title in TITLES.items():
        console.print(rows(f"governor: {title}", "class", written["by class"][group]))
    console.print(rows("agents that are told of their loop", "agent", written["agents"]))
    timed = {name: row for name, row in written["us a step"].items() if name != "bytes of state"}
    console.print(rows("governor: microseconds of CPU time a step", "steps", timed))
    sizes = ", ".join(f"{size:,} bytes after {at}" for at, size in written["us a step"]["bytes of state"].items())
    console.print(f"state, serialised: {sizes}. Recall and F1 are of {', '.join(REAL)} against the clean runs.")
    if options.json:
        options.json.write_text(json.dumps(written, indent=2))


def measured(runs: Sequence[Run]) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {}
    ours: Sequence[Seen] = ()
    for name, make in DETECTORS.items():
        score, every = scored(runs, make)
        ours = every if name == "governor" else ours
        found[name] = figures(score)
    return {
        "detectors": found,
        "by class": {group: by_class(ours, group) for group in TITLES},
        "agents": agents(runs),
        "us a step": costs(runs),
    }


if __name__ == "__main__":
    main()
