"""Made-up graphs, bare and governed: the differences between the two, which have to be none.

    python -m tests.soak.generated                    2,000 graphs, each run both ways
    python -m tests.soak.generated --graphs 100 --seed 7 --json figures.json

Sync graphs run sync, and again on an event loop; async graphs on an event loop. A graph is run to its end through interrupts and errors,
streamed in every mode, resumed, forked and drawn (`tests/langgraph/generated/`). A graph that differs is run bare against bare as well:
only when those two never differ is it governor that changed something; the others are counted and shown apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from rich.console import Console
from rich.table import Table

from tests.langgraph.generated.comparing import BARE_TWICE, adifferences, differences
from tests.langgraph.generated.specs import GraphSpec, graph_specs

Found = tuple[int, Counter[str], list[tuple[str, list[str], bool]]]
"""How many were run, of which kinds their nodes were, and what differed: the graph, where, and whether two bare runs of it differ too."""
BARE_PAIRS = 100
"""Bare runs against bare runs of a graph that differs."""


def compared(part: tuple[int, int]) -> Found:
    """Runs made-up graphs: (seed, how many)."""
    number, graphs = part
    kinds: Counter[str] = Counter()
    wrong: list[tuple[str, list[str], bool]] = []
    ran = 0
    warnings.simplefilter("ignore")

    @seed(number)
    @settings(
        max_examples=graphs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(graph_specs().filter(GraphSpec.comparable))
    def one(spec: GraphSpec) -> None:
        nonlocal ran
        ran += 1
        kinds.update(spec.kinds())
        found = _differences(spec)
        if found:
            wrong.append((repr(spec), found, any(_differences(spec, BARE_TWICE) for _ in range(BARE_PAIRS))))

    one()
    return ran, kinds, wrong


def _differences(spec: GraphSpec, sides: Any = None) -> list[str]:
    found = [] if spec.asynchronous else differences(spec, sides)
    return found + asyncio.run(adifferences(spec, sides))


def main() -> None:
    """Run them, print a table, exit 1 when any differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    started = time.monotonic()
    size = 100  # a process for each hundred, so that none grows old
    parts = [(options.seed * 10_000 + at, min(size, options.graphs - at)) for at in range(0, options.graphs, size)]
    with multiprocessing.get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
        results = pool.map(compared, parts, chunksize=1)
    ran = sum(result[0] for result in results)
    kinds = sum((result[1] for result in results), Counter[str]())
    wrong = [each for result in results for each in result[2]]
    table = Table(title=f"{ran} generated graphs, bare and governed ({time.monotonic() - started:.0f} s)")
    table.add_column("graphs with a node of this kind")
    table.add_column("graphs", justify="right")
    for kind, count in sorted(kinds.items()):
        table.add_row(kind, str(count))
    console = Console()
    console.print(table)
    for spec, found, unstable in wrong[:10]:
        console.print("two bare runs differ too:" if unstable else "DIFFERS:", spec, *found[:3], sep="\n", markup=False)
    unsettled = sum(unstable for *_, unstable in wrong)
    different = len(wrong) - unsettled
    console.print(
        f"graphs that differ: [bold]{different}[/bold] of {ran}; set aside, two bare runs differ too: {unsettled}"
    )
    if options.json:
        figures = {"graphs": ran, "different": different, "bare runs differ": unsettled, "kinds": kinds}
        options.json.write_text(json.dumps(figures, indent=2))
    sys.exit(1 if different or ran < options.graphs else 0)


if __name__ == "__main__":
    main()
