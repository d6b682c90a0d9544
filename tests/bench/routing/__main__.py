"""Routing on recorded outcomes: ranking, cost at a promised quality, the guard under resampling, time per decision.

make bench-routing CORPUS=dir              a folder of gzipped JSON lines; prints the tables
make bench-routing CORPUS=dir JSON=file    writes the figures too
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.routing.corpus import FOLDS, Corpus, missing, read
from tests.bench.routing.measured import RESAMPLES, guarding, halves, honest, latency, ranking
from tests.bench.routing.methods import METHODS, posthoc

NOTE = (
    "Two models of 2023 on public questions; domains stand in for nodes. Folds of the recorded half only: no claim beyond it. "
    "Costs in `ranking` read the threshold off the curve that is measured, so they are optimistic; `chosen beforehand` is what it gives."
)


def shown(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row for each method."""
    made = Table("", *next(iter(rows.values())), title=title, title_justify="left")
    for name, figures in rows.items():
        made.add_row(name, *(_text(value) for value in figures.values()))
    return made


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def measure(corpora: Mapping[str, Corpus], console: Console) -> dict[str, Any]:
    """All figures, printed as they come."""
    found: dict[str, Any] = {}

    def add(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        found[title] = rows
        console.print(shown(title, rows))

    mmlu, gsm8k, mtbench = (corpora[name] for name in ("mmlu", "gsm8k", "mtbench"))
    for corpus, labels in ((mmlu, 1_000), (mmlu, None), (gsm8k, None), (mtbench, None)):
        learned = sum(len(each) for each, _ in halves(corpus, labels)) // FOLDS
        title = f"{corpus.name}, {learned:,} labels"
        methods = {name: method for name, method in METHODS.items() if corpus.nodes > 1 or "table" not in name}
        if corpus.answered:
            methods["after the call"] = posthoc
        add(f"ranking: {title}", ranking(corpus, labels, methods))
        if corpus.priced:
            add(f"98% of the quality, threshold chosen beforehand: {title}", honest(corpus, labels))
    if not gsm8k.answered:
        console.print(
            "The score after the call cannot be measured here: the file holds no answers. Cascades above go by the prompt."
        )
    for corpus, calibration in ((mmlu, 300), (mmlu, 2_000), (gsm8k, 300)):
        add(
            f"guard: {corpus.name}, {calibration:,} for calibration, {RESAMPLES} resamples",
            guarding(corpus, calibration),
        )
    add("time of a decision", latency(mmlu))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    absent = missing(given.corpus)
    if absent:
        sys.exit(f"skipped: {given.corpus} does not hold {', '.join(absent)}. Name the folder that does: CORPUS=dir")
    console = Console(width=170)
    corpora = [read(given.corpus, f"routellm_{name}") for name in ("mmlu", "gsm8k", "mtbench")]
    found = measure({corpus.name: corpus for corpus in corpora}, console)
    console.print(NOTE)
    if given.json is not None:
        given.json.write_text(json.dumps({"note": NOTE, **found}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
