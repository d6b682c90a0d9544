"""What the demo prints: four bills, what saved the money, the loop that was caught, the calls the budget refused, and the checks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from examples.support_desk.burst import Burst
from examples.support_desk.checks import Check
from examples.support_desk.false_alarm import EXEMPTION, FalseAlarm
from examples.support_desk.savings import Savings
from examples.support_desk.stuck import Stuck
from examples.support_desk.ways import Way
from governor_sandbox import Meter, Usage

__all__ = ["show", "usd"]


def usd(nano: int) -> str:
    """Nano-USD as dollars with four decimals."""
    return f"-${-nano / 1e9:,.4f}" if nano < 0 else f"${nano / 1e9:,.4f}"


def show(
    console: Console,
    ways: Sequence[Way],
    saved: Savings,
    stuck: Sequence[Stuck],
    alarm: FalseAlarm,
    burst: Burst,
    checks: Sequence[Check],
) -> None:
    """Print everything."""
    console.print(_bills(ways))
    console.print(_saved(saved))
    console.print(_on_top(*ways[-2:]), highlight=False)
    console.print(_stuck(stuck), highlight=False)
    console.print(_false_alarm(alarm), highlight=False)
    console.print(
        f"[bold]Fifty runs at once, a tenant's budget of {usd(burst.budget_nano_usd)} for ten:[/bold] {burst.answered} answered, "
        f"{burst.refused} refused, {usd(burst.nano_usd)} billed.\n  {escape(burst.refusal)}\n",
        highlight=False,
    )
    for check in checks:
        console.print(
            f"{'[green]ok[/green] ' if check.holds else '[bold red]NO[/bold red] '} {check.text}", highlight=False
        )


def _bills(ways: Sequence[Way]) -> Table:
    table = Table(
        title="The provider's bills (metered by the sandbox, not by governor)", title_justify="left", pad_edge=False
    )
    for column in ("way and model", "calls", "tokens in", "cached", "out", "billed"):
        table.add_column(column, justify="left" if column == "way and model" else "right", no_wrap=True)
    for way in ways:
        bill = Meter().bill(way.records)
        for line in bill.lines:
            table.add_row(
                f"  {_short(line.model)}", *_counts(line.requests, line.usage), usd(line.nano_usd), style="dim"
            )
        total = f"[bold]{usd(bill.nano_usd)}[/bold]"
        table.add_row(f"[bold]{way.name}[/bold]", *_counts(bill.requests, bill.usage), total, end_section=True)
    return table


def _counts(requests: int, usage: Usage) -> Sequence[str]:
    return [f"{number:,}" for number in (requests, usage.input, usage.cache_read, usage.output)]


def _short(model: str) -> str:
    """`anthropic.claude-sonnet-4-5-20250929-v1:0` as `claude-sonnet-4-5`."""
    return re.sub(r"(-\d{8})?-v\d+:\d+$", "", model.partition(".")[2] or model)


def _saved(saved: Savings) -> Table:
    table = Table(
        title="What saved the money, bare to governed (the sandbox's records, repriced)",
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("control")
    table.add_column("saved", justify="right")
    table.add_row("context: history and long results that were not sent, uncached", usd(saved.not_sent))
    table.add_row("routing: tokens that a cheaper tier took", usd(saved.tiers))
    table.add_row("caching: tokens read from the prompt cache, less writing it", usd(saved.cache))
    table.add_row("[bold]together[/bold]", f"[bold]{usd(saved.total)}[/bold]")
    return table


def _on_top(unrouted: Way, governed: Way) -> str:
    """What routing alone does, where the cache and compaction are at work already."""
    before, after = unrouted.nano_usd, governed.nano_usd
    alike = "alike" if unrouted.end_state == governed.end_state else "otherwise"
    return (
        f"[bold]Routing on top of caching and compaction:[/bold] {usd(before)} with the frontier model alone, {usd(after)} routed "
        f"({after / before - 1:+.1%}); the database ends {alike}.\n"
    )


def _stuck(stuck: Sequence[Stuck]) -> str:
    """Two agents in a few lines each."""
    lines = ["[bold]Two agents that are stuck[/bold]"]
    for one in stuck:
        what = f"stopped. {one.reason.text}" if one.reason else f"nudged, and then it answered: {one.answer}"
        lines.append(
            f"- One {one.name}. Bare: {one.bare_calls} model calls, {usd(one.bare_nano_usd)}, until a step limit. "
            f"Governed: {one.calls} calls, {usd(one.nano_usd)}: {escape(what)}"
        )
    return "\n".join(lines) + "\n"


def _false_alarm(alarm: FalseAlarm) -> str:
    """What the trace says, and the line that changes it."""
    ended = "was ended" if alarm.stopped else "went on"
    return (
        "[bold]A false alarm[/bold]\n"
        f"An agent that waits for a scale looks like a loop, and {ended}. Its trace: {alarm.code}: {escape(alarm.reason)}\n"
        f"{escape(alarm.remedy)}\n"
        f"With `{escape(EXEMPTION)}` in the policy it looked {alarm.looks} times and answered: {escape(alarm.answer)}\n"
    )
