"""What the demo prints: three bills, what saved the money, the loop that was caught, the calls the budget refused, and the checks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from examples.support_desk.burst import Burst
from examples.support_desk.checks import Check
from examples.support_desk.savings import Savings
from examples.support_desk.stuck import Stuck
from examples.support_desk.ways import Way
from governor_sandbox import Meter

__all__ = ["show", "usd"]


def usd(nano: int) -> str:
    """Nano-USD as dollars with four decimals."""
    return f"-${-nano / 1e9:,.4f}" if nano < 0 else f"${nano / 1e9:,.4f}"


def show(
    console: Console, ways: Sequence[Way], saved: Savings, stuck: Sequence[Stuck], burst: Burst, checks: Sequence[Check]
) -> None:
    """Print everything."""
    console.print(_bills(ways))
    console.print(_saved(saved))
    console.print(_stuck(stuck))
    console.print(
        f"[bold]Fifty runs at once, a tenant's budget of {usd(burst.budget_nano_usd)} for ten:[/bold] {burst.answered} answered, "
        f"{burst.refused} refused, {usd(burst.nano_usd)} billed.\n  {burst.refusal}\n"
    )
    for check in checks:
        console.print(
            f"{'[green]ok[/green] ' if check.holds else '[bold red]NO[/bold red] '} {check.text}", highlight=False
        )


def _bills(ways: Sequence[Way]) -> Table:
    table = Table(title="The provider's bills (metered by the sandbox, not by governor)", title_justify="left")
    for column in ("way", "model", "calls", "tokens in", "of them cached", "tokens out", "billed"):
        table.add_column(column, justify="left" if column in ("way", "model") else "right")
    for way in ways:
        bill = Meter().bill(way.records)
        for line in bill.lines:
            usage = line.usage
            shown = (line.requests, usage.input, usage.cache_read, usage.output)
            table.add_row("", line.model, *(f"{number:,}" for number in shown), usd(line.nano_usd), style="dim")
        total, usage = f"[bold]{usd(bill.nano_usd)}[/bold]", bill.usage
        shown = (bill.requests, usage.input, usage.cache_read, usage.output)
        table.add_row(f"[bold]{way.name}[/bold]", "", *(f"{number:,}" for number in shown), total, end_section=True)
    return table


def _saved(saved: Savings) -> Table:
    table = Table(
        title="What saved the money, bare to governed, by repricing the sandbox's records", title_justify="left"
    )
    table.add_column("control")
    table.add_column("saved", justify="right")
    table.add_row("context: history and long results not sent, at the frontier's uncached price", usd(saved.not_sent))
    table.add_row("routing: answered by a cheaper tier", usd(saved.tiers))
    table.add_row("caching: read from the prompt cache, less writing it", usd(saved.cache))
    table.add_row("[bold]together[/bold]", f"[bold]{usd(saved.total)}[/bold]")
    return table


def _stuck(stuck: Sequence[Stuck]) -> Table:
    table = Table(title="Two agents that are stuck", title_justify="left")
    for column in ("agent", "bare: calls", "billed", "governed: calls", "billed", "what happened"):
        table.add_column(column, justify="left" if column in ("agent", "what happened") else "right")
    for one in stuck:
        what = one.reason.text if one.reason else f"nudged, then: {one.answer}"
        table.add_row(one.name, str(one.bare_calls), usd(one.bare_nano_usd), str(one.calls), usd(one.nano_usd), what)
    return table
