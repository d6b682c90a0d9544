"""What caching and compaction cost on recorded runs: governor's, LangChain's and reference rules, charged alike.

make bench-context CORPUS=dir              a folder of gzipped JSON lines; prints the tables
make bench-context CORPUS=dir JSON=file    writes the figures too
make bench-context CORPUS=dir ARGS="--quick --price sonnet --strategy governor"    while tuning

All of it is replay: recorded runs re-priced, what the agent did held fixed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from tests.bench.context import expiry
from tests.bench.context.accounting import PRICES
from tests.bench.context.corpus import runs_in
from tests.bench.context.expiry import expiries
from tests.bench.context.provenance import uses_of
from tests.bench.context.tables import CHECKS, checked, chosen, figures, rows_of, show
from tests.bench.context.tokens import counter


def main() -> None:
    """Charge every strategy and print what comes of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="plain caching and governor only")
    parser.add_argument("--price", choices=[price.name for price in PRICES], help="this price model only")
    parser.add_argument("--strategy", help="only strategies with this in their name, and plain caching")
    options = parser.parse_args()
    prices = [price for price in PRICES if options.price in (None, price.name)]
    console = Console(width=230)
    tokenizer, count = counter()
    try:
        runs = list(runs_in(options.corpus, count))
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    console.print(f"{len(runs)} runs, {sum(len(run.calls) for run in runs):,} model calls; tokens by {tokenizer}")
    uses = [uses_of(run) for run in runs]
    written = figures(runs, uses, chosen(rows_of(count, quick=options.quick), options.strategy), prices)
    for table in show(written):
        console.print(table)
    if not options.quick:
        console.print(checked(written, CHECKS))
        for price in prices:
            if price.write > price.input:  # only there a marker's TTL has a price of its own
                expired = expiries(runs, uses, price, count)
                for table in expiry.show(price.name, expired):
                    console.print(table)
                written[price.name]["expiry"] = expired
    if options.json:
        options.json.write_text(json.dumps(written, indent=2))


if __name__ == "__main__":
    main()
