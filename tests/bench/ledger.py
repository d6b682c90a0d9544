"""The ledger's promises, measured: fan-out, broken streams, latency, round trips, false denials.

    make bench-ledger                       prints the tables
    make bench-ledger JSON=figures.json     writes their figures too
    python -m tests.bench.ledger --stores memory sqlite --operations 100000

Counts and ratios of one run: how fast the machine is, and what else it does, is in all of them alike. What cannot be measured here is
said to be missing, with the reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import ledger_fanout as fanout
from tests.bench import ledger_stores as stores
from tests.bench import ledger_streams as streams
from tests.redis_server import private
from tests.stores.places import lacking

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv-peers"
PARTS = ["fan-out", "streams", "latency", "denials"]


class Addresses:
    """A fresh, empty store for each measurement."""

    def __init__(self, folder: Path, stack: ExitStack, wanted: list[str]) -> None:
        self._folder = folder
        self.missing = {kind: lacking(kind) for kind in wanted if lacking(kind)}
        self.kinds = [kind for kind in wanted if kind not in self.missing]
        if "redis" in self.kinds and shutil.which("redis-server") is None:
            self.missing["redis"] = "no redis-server on PATH"
            self.kinds.remove("redis")
        self._server = stack.enter_context(private(folder)) if "redis" in self.kinds else None

    def fresh(self, kind: str) -> str:
        """Its address."""
        if self._server is not None and kind == "redis":
            self._server.flush()
            return self._server.url
        return "memory:" if kind == "memory" else f"sqlite:///{self._folder / uuid.uuid4().hex}.db"


def fan_out(at: Addresses, processes: list[int]) -> Iterator[tuple[str, ...]]:
    """How many of fifty calls arrived, cell by cell; then the peers."""
    for kind in at.kinds:
        for number in processes if kind != "memory" else [1]:
            for graph in ("create_agent", "raw graph"):
                found = [
                    str(fanout.sent(at.fresh(kind), graph, processes=number, asynchronous=asynchronous))
                    for asynchronous in (False, True)
                ]
                yield (f"governor, {kind}", str(number), graph, *found)
    langchain = [str(fanout.sent_by_langchain(asynchronous=asynchronous)) for asynchronous in (False, True)]
    yield ("LangChain ModelCallLimitMiddleware", "1", "create_agent", *langchain)
    yield ("pydantic-ai UsageLimits", "1", "Agent.run", "-", pydantic_ai())


def pydantic_ai() -> str:
    """The same by pydantic-ai, installed on demand; else why not."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "pydantic-ai-slim[openai]"]
        if subprocess.run(install, check=False, capture_output=True).returncode:
            shutil.rmtree(PEERS)
            return "not installed: no index has it"
    with fanout.provider() as box:
        client = box.openai_kwargs()
        words = [str(client["base_url"]), str(client["api_key"])]
        script = str(Path(__file__).with_name("ledger_peers.py"))
        done = subprocess.run([str(python), script, *words], check=False, capture_output=True, text=True, timeout=120)
        return str(len(box.meter.records)) if done.returncode == 0 else f"failed: {done.stderr.strip()[-80:]}"


def broken_streams() -> Iterator[tuple[str, ...]]:
    """Recorded / true for each provider's client."""
    for family in streams.CLIENTS:
        for warm in (True, False):
            for prompt in streams.PROMPTS:
                row = [
                    f"{streams.ratio(family, parallel=parallel, asynchronous=asynchronous, warm=warm, prompt=prompt):.3f}"
                    for parallel in (False, True)
                    for asynchronous in (False, True)
                ]
                yield (f"{family}, {'warm' if warm else 'cold'}, {prompt}", *row)


def latency(at: Addresses) -> Iterator[tuple[str, ...]]:
    """Reserve and settle together, in microseconds, unless the row says otherwise; beside them yardsticks of the machine."""
    yield _row("this machine: 100,000 additions in a loop", stores.additions(), "")
    if "memory" in at.kinds:
        yield _row("memory: reserve + settle", stores.memory(), "p50 <= 20")
    if "sqlite" in at.kinds:
        bare = stores.bare_sqlite(at.fresh("sqlite").removeprefix("sqlite://"), 3_000)
        yield _row("SQLite: two bare transactions, four rows each", bare, "")
        for processes in (1, 4):
            taken = stores.in_processes(at.fresh("sqlite"), processes, 3_000)
            ratio = stores.quantiles(taken)[0] / stores.quantiles(bare)[0]
            name = f"SQLite, {processes} processes: reserve + settle, {ratio:.2f} x bare"
            yield _row(name, taken, "p50 <= 80, p99 <= 1000")
    if "redis" in at.kinds:
        reserved, settled, pinged = stores.beside_ping(at.fresh("redis"), 3_000)
        base = stores.quantiles(pinged)[0]
        yield _row("Redis: bare PING", pinged, "")
        for name, taken in (("reserve", reserved), ("settle", settled)):
            ratio = stores.quantiles(taken)[0] / base
            yield _row(f"Redis: {name}, {ratio:.2f} x PING", taken, "p50 <= 1.5 x PING")
        taken, rate = asyncio.run(stores.by_tasks(at.fresh("redis"), 20_000))
        yield _row(f"Redis, asyncio, 50 tasks: one operation, {rate:.0f}/s", taken, "p99 <= 5000, 20000/s")


def denials(at: Addresses, operations: int) -> Iterator[tuple[str, ...]]:
    """Answers that were wrong, in so many random operations."""
    for kind in at.kinds:
        store = stores.opened(at.fresh(kind))
        times = operations if kind == "memory" else operations // 50
        wrong, denied = stores.false_denials(store, times)
        store.close()
        yield (kind, str(times), str(denied), str(wrong))


def _row(name: str, taken: list[float], goal: str) -> tuple[str, ...]:
    p50, p99 = stores.quantiles(taken)
    return (name, f"{p50:.1f}", f"{p99:.1f}", goal)


def main() -> None:
    """Measure, print, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "redis"])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console, figures = Console(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        at = Addresses(Path(folder), stack, options.stores)
        for kind, reason in at.missing.items():
            console.print(f"{kind}: left out, {reason}")
        parts: dict[str, tuple[str, tuple[str, ...], Callable[[], Iterator[tuple[str, ...]]]]] = {
            "fan-out": (
                "50 calls at once against a budget for 10: how many arrived at the provider",
                ("who", "processes", "how", "threads", "asyncio"),
                lambda: fan_out(at, options.processes),
            ),
            "streams": (
                "Streams left after 3 chunks, prompts of 5, 100, 1,000, 10,000 tokens: recorded / true (goal 1.0 to 1.1)",
                ("client, prompt", "sync", "async", "parallel sync", "parallel async"),
                broken_streams,
            ),
            "latency": ("Four levels, microseconds", ("what", "p50", "p99", "goal"), lambda: latency(at)),
            "denials": (
                "Random operations",
                ("store", "operations", "denied", "denied or admitted wrongly"),
                lambda: denials(at, options.operations),
            ),
        }
        for part in options.only:
            title, columns, measured = parts[part]
            table = Table(title=title)
            for column in columns:
                table.add_column(column)
            rows = list(measured())
            for row in rows:
                table.add_row(*row)
            console.print(table)
            figures[part] = [dict(zip(columns, row, strict=True)) for row in rows]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
