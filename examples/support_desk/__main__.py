"""Runs the demo: `python -m examples.support_desk`, or `make demo`. Exits with 1 when a check does not hold."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.support_desk import ways
from examples.support_desk.burst import Burst, run_burst
from examples.support_desk.checks import Check, check
from examples.support_desk.false_alarm import FalseAlarm, run_false_alarm
from examples.support_desk.report import show
from examples.support_desk.savings import Savings, savings
from examples.support_desk.scenario import Ticket, load_tickets
from examples.support_desk.stuck import Stuck, run_stuck
from governor_sandbox import Meter

QUICK = 3
"""Tickets of a quick run: one of them goes wrong on the cheap tier."""

STDOUT = Path("-")
"""Stands for standard output, as in other programs."""


def main() -> None:
    """Answer the queue four ways, run the stuck agents and the burst, print and check."""
    options = _options()
    tickets = load_tickets()[: QUICK if options.quick else None]

    console = Console(quiet=options.json == STDOUT)
    console.print(
        f"{len(tickets)} tickets, answered four ways against a provider emulator on loopback. No key, no network, no cost.\n"
    )
    done = _run(console, tickets)
    stuck, alarm, burst = run_stuck(), run_false_alarm(), run_burst(store=options.store)
    checks = check(*done, stuck, alarm, burst)
    saved = savings(done[0], done[-1])
    show(console, done, saved, stuck, alarm, burst, checks)
    if options.json is not None:
        _write(options.json, json.dumps(_figures(done, saved, stuck, alarm, burst, checks), indent=2))
    sys.exit(0 if all(one.holds for one in checks) else 1)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="governor demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK} tickets")
    parser.add_argument(
        "--store",
        metavar="ADDRESS",
        help="keep the tenant's budget there (redis://host:6379/0); without, in an SQLite file that is gone afterwards",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        type=Path,
        metavar="FILE",
        help="write the figures to FILE too; without FILE print them, and nothing else",
    )
    return parser.parse_args(arguments)


def _write(file: Path, figures: str) -> None:
    if file == STDOUT:
        print(figures)
    else:
        file.write_text(figures, encoding="utf-8")


def _run(console: Console, tickets: Sequence[Ticket]) -> tuple[ways.Way, ways.Way, ways.Way, ways.Way]:
    columns = (
        TextColumn("{task.description:>14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tickets"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def answered(name: str, way: Callable[[Sequence[Ticket], Callable[[], None]], ways.Way]) -> ways.Way:
            task = progress.add_task(name, total=len(tickets))
            return way(tickets, lambda: progress.advance(task))

        return (
            answered("bare", ways.bare),
            answered("stock caching", ways.stock),
            answered("not routed", ways.unrouted),
            answered("governed", ways.governed),
        )


def _figures(
    done: Sequence[ways.Way],
    saved: Savings,
    stuck: Sequence[Stuck],
    alarm: FalseAlarm,
    burst: Burst,
    checks: Sequence[Check],
) -> dict[str, object]:
    return {
        "bills": {way.name: Meter().bill(way.records).as_json() for way in done},
        "end_states": {way.name: way.end_state for way in done},
        "saved_nano_usd": dataclasses.asdict(saved) | {"total": saved.total},
        "stuck": [dataclasses.asdict(one) for one in stuck],
        "false_alarm": dataclasses.asdict(alarm),
        "burst": dataclasses.asdict(burst),
        "checks": [dataclasses.asdict(one) for one in checks],
    }


if __name__ == "__main__":
    main()
