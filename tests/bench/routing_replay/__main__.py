"""What routing costs on recorded agent steps, with the prompt cache: placements of a share of steps, and governor's own decisions.

python -m tests.bench.routing_replay --corpus DIR                a folder with the recorded steps; prints the tables
python -m tests.bench.routing_replay --corpus DIR --json FILE    writes the figures too

All figures are costs divided by what the same runs cost when the frontier answers every step from a warm cache. The small model is
simulated: it was never asked, and what it would have written, or whether it would have been right, is not known.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.routing_replay.corpus import Run, half, read
from tests.bench.routing_replay.latency import latencies
from tests.bench.routing_replay.ours import drive, policy_of, route_of, steered
from tests.bench.routing_replay.placements import PLACEMENTS, blocks
from tests.bench.routing_replay.simulator import FRONTIER, STUDENTS, replay

SHARE, HANDOFF, DRAWS = 0.20, 4_000, 5
STEERED, REPORTED = (0, 1), (2, 3, 4)
"""Draws of gains on which the share is steered, and others that are reported; the runs are others as well."""
PRICED = "~1/28"
WAYS: dict[str, dict[str, Any]] = {
    "ours, tier kept for the turn": {"block": None},
    "ours, blocks of 8": {"block": 8, "after": ["refusal"]},
    "ours, blocks of 8, gate on malformed answers": {"block": 8, "after": ["invalid_output"]},
}
"""Policies that are measured. No recorded answer was a refusal, so that gate never fires: those blocks the estimator begins."""


def placed(runs: Sequence[Run], full: float) -> dict[str, dict[str, float]]:
    """Each placement at each price of the student, the mean of some draws; and with every step uncached."""
    naive = {name: SHARE + (1 - SHARE) * student.input / FRONTIER.input for name, student in STUDENTS.items()}
    found: dict[str, dict[str, float]] = {"naive arithmetic": naive | {PRICED: SHARE + (1 - SHARE) / 28}}
    for name, place in PLACEMENTS.items():
        draws = [place(runs, SHARE, Random(seed)) for seed in range(DRAWS)]
        row = {
            price: statistics.fmean(
                sum(replay(run, up, student).cost for run, up in zip(runs, draw, strict=True)) / full for draw in draws
            )
            for price, student in STUDENTS.items()
        }
        broken = [replay(run, up, STUDENTS[PRICED], cached=False) for run, up in zip(runs, draws[0], strict=True)]
        found[name] = row | {"caching broken": sum(each.cost for each in broken) / full}
    for size in (1, 4, 8):
        draw = blocks(size)(runs, SHARE, Random(0))
        found[f"blocks of {size}"] = {
            price: sum(
                replay(run, up, STUDENTS[PRICED], handoff=handoff).cost for run, up in zip(runs, draw, strict=True)
            )
            / full
            for price, handoff in ((PRICED, None), ("4k hand-off", HANDOFF))
        }
    return found


def ours(runs: Sequence[Run], way: str) -> dict[str, Any]:
    """Governor's decisions on the half of the runs that nothing was steered on."""
    student = STUDENTS[PRICED]
    policy = policy_of(student, share=SHARE, **WAYS[way])
    asked = steered(policy, [run for run in runs if half(run) == 0], STEERED, SHARE)
    held = [run for run in runs if half(run) == 1]
    driven = [drive(route_of(policy, seed, asked), run) for seed in REPORTED for run in held]
    held *= len(REPORTED)
    alone = [replay(run, (True,) * len(run.steps), FRONTIER).cost for run in held]
    found: dict[str, Any] = {
        "runs": len(held),
        "steps": sum(len(each.up) for each in driven),
        "asked": round(asked, 4),
        "share": sum(sum(each.up) for each in driven) / sum(len(each.up) for each in driven),
        "switches in a turn": sum(each.in_turn for each in driven),
        "edges of blocks in a turn": sum(each.edges for each in driven),
        "escalations": sum(each.escalations for each in driven),
    }
    none = sum(replay(run, (False,) * len(run.steps), student).cost for run in held) / sum(alone)
    for name, handoff in (("cost", None), ("4k hand-off", HANDOFF)):
        bills = [replay(run, each.up, student, handoff=handoff).cost for run, each in zip(held, driven, strict=True)]
        found[name] = sum(bills) / sum(alone)
        found[f"{name}, interpolated to {SHARE:.0%}"] = at_share(found[name], found["share"], none)
        found[f"worst run, {name}"] = max(bill / other for bill, other in zip(bills, alone, strict=True))
    return found


def at_share(cost: float, share: float, none: float) -> float:
    """The cost at the share that was asked for, on the line from `none`, no step on the frontier, to what was reached: steering misses."""
    return none + (cost - none) * SHARE / share if share else cost


def main() -> None:
    """Print the tables; write the figures where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="the folder that holds the recorded steps")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    given = parser.parse_args()
    runs = read(given.corpus)
    full = sum(replay(run, (True,) * len(run.steps), FRONTIER).cost for run in runs)
    figures: dict[str, Any] = {
        "student": "simulated",
        "runs": len(runs),
        "steps": sum(len(run.steps) for run in runs),
        "all_frontier_cached_usd": full,
        "placements": placed(runs, full),
        "ours": {way: ours(runs, way) for way in WAYS},
        "latency_ms": latencies(),
    }
    show(Console(width=150), figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def show(console: Console, figures: dict[str, Any]) -> None:
    """The figures as tables."""
    console.print(
        f"{figures['runs']} runs, {figures['steps']:,} steps; the small model is SIMULATED (same tokens, no quality)"
    )
    columns = [*STUDENTS, "caching broken", "4k hand-off"]
    table = Table(title=f"Cost / all-frontier cached, {SHARE:.0%} of the steps on the frontier", title_justify="left")
    for name in ("placement", *columns):
        table.add_column(name, justify="left" if name == "placement" else "right")
    for name, row in figures["placements"].items():
        table.add_row(name, *(f"{row[column]:.3f}" if column in row else "" for column in columns))
    console.print(table)
    mine = Table(title=f"Governor's decisions, drawn gains, student at {PRICED}", title_justify="left")
    names = list(next(iter(figures["ours"].values())))
    mine.add_column("")
    for way in figures["ours"]:
        mine.add_column(way, justify="right")
    for name in names:
        cells = (row[name] for row in figures["ours"].values())
        mine.add_row(name, *(f"{cell:.3f}" if isinstance(cell, float) else f"{cell:,}" for cell in cells))
    console.print(mine)
    times = Table(title="A decision, ms", title_justify="left")
    for name in ("what decides", "least", "p50", "p99", "calls"):
        times.add_column(name, justify="left" if name == "what decides" else "right")
    for name, row in figures["latency_ms"].items():
        times.add_row(name, f"{row['least']:.3f}", f"{row['p50']:.3f}", f"{row['p99']:.3f}", f"{row['calls']:,}")
    console.print(times)


if __name__ == "__main__":
    main()
