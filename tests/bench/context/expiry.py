"""What is left of the saving when cache entries expire: the recorded gaps between calls, and the same runs with long pauses.

An entry lives 300 s after its last use, or 3,600 s where a write costs twice the input; a hit makes it live on. Inside an autonomous run
calls follow each other in seconds; a run that waits for people does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table

from tests.bench.context import strategies as reference
from tests.bench.context.accounting import Price
from tests.bench.context.corpus import Run
from tests.bench.context.ours import Ours
from tests.bench.context.provenance import Use
from tests.bench.context.score import charged
from tests.bench.context.strategies import Strategy
from tests.bench.context.tokens import Count

__all__ = ["LIVES", "expiries", "hourly", "paused", "show"]

LIVES: Mapping[str, float] = {"5m": 300.0, "1h": 3_600.0}
"""Seconds that an entry lives after its last use, by the marker's TTL."""
_BASE = "append-only, 5m"
_PAUSE_S, _ONE_IN = 1_200.0, 10
"""A pause: longer than the one TTL, shorter than the other; before one call in ten."""
_GAP_S = 5.0
"""Between two calls where nobody noted the times (the median of the runs that have them is 4 s)."""


def hourly(price: Price) -> Price:
    """The price model of markers that ask for an hour: a write costs twice the input."""
    return price._replace(write=2 * price.input)


def paused(run: Run) -> Run:
    """The run with a pause of 20 minutes before one call in ten, the same ones at every replay."""
    times, now = list[float](), 0.0
    for call in range(len(run.calls)):
        drawn = hashlib.sha256(f"{run.id} {call}".encode()).digest()[0]
        now += _PAUSE_S if call and drawn % _ONE_IN == 0 else _GAP_S
        times.append(now)
    return replace(run, times=times)


def expiries(
    runs: Sequence[Run], uses: Sequence[Sequence[Use]], price: Price, count: Count
) -> dict[str, dict[str, Any]]:
    """By suite and row: dollars of input, against plain caching under markers of five minutes; APR; cuts."""
    timed = [(run, use) for run, use in zip(runs, uses, strict=True) if run.times]
    suites = {
        "recorded gaps": timed,
        "long pauses": [(paused(run), use) for run, use in zip(runs, uses, strict=True)],
    }
    rows: dict[str, tuple[Strategy, str]] = {
        _BASE: (reference.append_only, "5m"),
        "append-only, 1h": (reference.append_only, "1h"),
        "governor, 5m": (Ours(count, ttl="5m"), "5m"),
        "governor, 1h": (Ours(count, ttl="1h"), "1h"),
    }
    found: dict[str, dict[str, Any]] = {}
    for suite, each in suites.items():
        if not each:
            continue
        found[suite] = {}
        for name, (strategy, ttl) in rows.items():
            asked = price if ttl == "5m" else hourly(price)
            bills = [charged(run, asked, strategy(run, asked), use, ttl=LIVES[ttl]) for run, use in each]
            spent = sum(bill.spent for bill in bills)
            calls = [sum(bill.calls[i] for bill in bills) for i in (0, 1)]
            base = found[suite].get(_BASE, {"input $": spent})["input $"]
            found[suite][name] = {
                "runs": len(bills),
                "input $": round(spent, 4),
                "input/plain": round(spent / base, 4),
                "APR call": round(calls[0] / calls[1], 4) if calls[1] else 1.0,
                "cuts": sum(bill.cuts for bill in bills),
            }
    return found


def show(price: str, found: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """One table for all suites."""
    columns = ("runs", "input $", "input/plain", "APR call", "cuts")
    table = Table(
        "suite", "strategy", *columns, title=f"{price}: where cache entries expire, against append-only with 5m"
    )
    for suite, rows in found.items():
        for name, figures in rows.items():
            table.add_row(suite, name, *(str(figures[column]) for column in columns))
    yield table
