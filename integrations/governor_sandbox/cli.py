"""A provider emulator on loopback: Bedrock, OpenAI and Anthropic.

``governor sandbox`` serves a scenario to clients in other processes, or checks one. The main command line mounts `app`.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from governor_sandbox.errors import SandboxError, ScenarioError
from governor_sandbox.meter import Bill
from governor_sandbox.scenario import Scenario
from governor_sandbox.server import Sandbox

app = typer.Typer(
    name="sandbox", help="A provider emulator on loopback: Bedrock, OpenAI and Anthropic.", no_args_is_help=True
)

ScenarioPath = Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.command()
def check(scenario: ScenarioPath, *, as_json: AsJson = False) -> None:
    """Read a scenario and say what is in it. Exits with 2 when something is wrong, naming file and line."""
    with _mistakes_exit_2(as_json=as_json):
        loaded = Scenario.load(scenario)
    if as_json:
        found = {
            "file": str(scenario),
            "name": loaded.name,
            "models": list(loaded.models),
            "faults": len(loaded.faults),
        }
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        typer.echo(f"{scenario}: ok, {len(loaded.models)} extra models, {len(loaded.faults)} faults")


@app.command()
def serve(
    scenario: ScenarioPath,
    *,
    port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Serve a scenario until Ctrl-C, then print the bill. With --json a line with the address, and at the end one with the bill."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with _mistakes_exit_2(as_json=as_json), Sandbox(Scenario.load(scenario), port=port) as box:
        if as_json:
            typer.echo(json.dumps({"url": box.url, "env": box.env()}))
            sys.stdout.flush()
            stopped.wait()
            typer.echo(json.dumps(box.meter.bill().as_json()))
        else:
            _serve_to_terminal(box, stopped)


def bill_table(bill: Bill) -> Table:
    """The bill as a table, a row per model and one for the total."""
    table = Table(title="Bill of the sandbox", title_justify="left", show_footer=True)
    usage = bill.usage
    table.add_column("model", footer="total")
    for name, footer in (
        ("requests", f"{bill.requests:,}"),
        ("input", f"{usage.input:,}"),
        ("cache read", f"{usage.cache_read:,}"),
        ("cache write", f"{usage.cache_write:,}"),
        ("output", f"{usage.output:,}"),
        ("USD", _usd(bill.nano_usd)),
    ):
        table.add_column(name, footer=footer, justify="right")
    for line in bill.lines:
        counts = (line.requests, line.usage.input, line.usage.cache_read, line.usage.cache_write, line.usage.output)
        table.add_row(line.model, *(f"{count:,}" for count in counts), _usd(line.nano_usd))
    return table


def _serve_to_terminal(box: Sandbox, stopped: threading.Event) -> None:
    console = Console()
    console.print(f"Serving on {box.url} (Ctrl-C prints the bill). In another terminal:\n")
    for name, value in box.env().items():
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)
    console.print(
        f"\n  ChatBedrockConverse  endpoint_url={box.url!r}"
        f"\n  ChatOpenAI           base_url={box.openai_kwargs()['base_url']!r}"
        f"\n  ChatAnthropic        base_url={box.url!r}\n",
        highlight=False,
        soft_wrap=True,
    )
    if console.is_terminal:
        with Live(bill_table(box.meter.bill()), console=console, refresh_per_second=2, transient=True) as live:
            while not stopped.wait(0.5):
                live.update(bill_table(box.meter.bill()))
    else:
        stopped.wait()
    console.print(bill_table(box.meter.bill()))


def _usd(nano_usd: int) -> str:
    return f"{nano_usd / 1e9:.6f}"


@contextmanager
def _mistakes_exit_2(*, as_json: bool) -> Generator[None]:
    try:
        yield
    except (ScenarioError, SandboxError) as error:
        typer.echo(json.dumps({"error": _described(error)}) if as_json else f"error: {error}", err=True)
        raise typer.Exit(2) from error


def _described(error: SandboxError) -> dict[str, Any]:
    """The same shape as governor's own errors have, which the sandbox does not import."""
    described = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, ScenarioError):
        return {**described, "message": error.detail, "file": error.source, "line": error.line}
    return described
