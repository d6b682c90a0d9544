"""Rows of governor's other two strategies: masked results, and summaries by a stub that always writes 300 tokens.

    python -m tests.bench.context.cuts --corpus=dir [--every=N]      every N-th run, all of them by default

What a summary says is not measured here: it earns nothing where the question is whether a value is still in the prompt; the ledger does.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.context.accounting import PRICES, Price, Request
from tests.bench.context.corpus import Run, runs_in
from tests.bench.context.ours import Ours
from tests.bench.context.provenance import uses_of
from tests.bench.context.strategies import append_only, uncached
from tests.bench.context.tables import Row, figures
from tests.bench.context.tokens import Count, counter

__all__ = ["Summarised", "rows_of"]

PLAIN, NONE = "2 append-only", "1 no cache"
"""What the others are held against, as `tables` names them."""


class Summarised:
    """`summarise` with the small model of the price model's vendor as the other tier."""

    def __init__(self, count: Count, *, cap: str | None, **compact: Any) -> None:
        """As `Ours`."""
        self._count, self._cap, self._compact = count, cap, compact
        self._made: dict[str, Ours] = {}

    def __call__(self, run: Run, price: Price) -> list[Request]:
        """Every prompt of the run."""
        return self._at(price)(run, price)

    def tools(self, run: Run) -> list[Mapping[str, object]]:
        """The tools that are offered."""
        return self._at(PRICES[0]).tools(run)

    def _at(self, price: Price) -> Ours:
        if price.name not in self._made:
            cost = {"input": price.small[0], "output": price.small[1]}
            tiers = {"small": {"model": "small:small", "price": cost, "context_window": "1M"}}
            made = Ours(self._count, cap=self._cap, tiers=tiers, strategy="summarise", **self._compact)
            self._made[price.name] = made
        return self._made[price.name]


def rows_of(count: Count) -> dict[str, Row]:
    """Plain caching, the ledger, and the two strategies, with and without the cap on results."""
    rows = {PLAIN: Row(append_only), NONE: Row(uncached, cached=False)}
    for cap in ("2k", None):
        name = "" if cap else ", no cap"
        rows[f"ledger{name}"] = Row(Ours(count, cap=cap), ours=True)
        rows[f"mask{name}"] = Row(Ours(count, cap=cap, strategy="mask"), ours=True)
        rows[f"summarise{name}"] = Row(Summarised(count, cap=cap), ours=True)
    return rows


def main() -> None:
    """Print what each row costs against plain caching, and how many values stay in the prompt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    _, count = counter()
    runs = list(runs_in(options.corpus, count))[:: options.every]
    found = figures(runs, [uses_of(run) for run in runs], rows_of(count), PRICES)
    print(f"{len(runs)} runs, {sum(len(run.calls) for run in runs):,} model calls")
    print(
        "| prices | strategy | input/plain | refetched/plain | 50 and more | APR call | cuts | worse .5% | worst | faults |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for price, rows in found.items():
        for name, groups in rows.items():
            told, long = groups["all"], groups.get("50 and more", {})
            parts = [told["input/plain"], told["refetched/plain"], long.get("input/plain", "-"), told["APR call"]]
            parts += [told["cuts"], told["worse .5%"], told["worst"], told["faults"] or 0]
            print(f"| {price} | {name} | {' | '.join(map(str, parts))} |")


if __name__ == "__main__":
    main()
