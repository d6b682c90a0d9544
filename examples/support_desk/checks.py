"""What must hold after the demo. Each check is a sentence that is true, or names what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from examples.support_desk.burst import Burst
from examples.support_desk.false_alarm import LOOKS, FalseAlarm
from examples.support_desk.stuck import Stuck
from examples.support_desk.ways import Way
from governor_sandbox import Meter

__all__ = ["Check", "check"]

GOAL = 0.25
"""The governed bill may be at most this share of the others': 75% below."""
CACHED = 0.98
"""Share of what an ideal prompt cache would have read that the governed desk has to read at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One sentence, and whether it holds."""

    holds: bool
    text: str


def check(
    bare: Way, stock: Way, unrouted: Way, governed: Way, stuck: Sequence[Stuck], alarm: FalseAlarm, burst: Burst
) -> tuple[Check, ...]:
    """All of them, on the sandbox's meter and the database's end state."""
    return (
        *(_cheaper(governed, other) for other in (bare, stock)),
        *(_same_outcome(governed, other) for other in (bare, stock, unrouted)),
        _routed(governed, unrouted),
        _hits(governed),
        *(_ended(one) for one in stuck),
        Check(
            holds=alarm.code == "loop.block" and alarm.looks == LOOKS and "1.84" in alarm.answer,
            text=f"the false alarm is in the trace ({alarm.code}), and exempt the agent waited through {alarm.looks} looks",
        ),
        Check(
            holds=burst.nano_usd <= burst.budget_nano_usd,
            text=f"the tenant's budget of {burst.budget_nano_usd} nano-USD was not passed: the sandbox billed {burst.nano_usd}",
        ),
        Check(
            holds=burst.answered + burst.refused > 0 and burst.answered > 0 and burst.refused > 0,
            text=f"the budget let {burst.answered} runs pass and refused {burst.refused}",
        ),
    )


def _cheaper(governed: Way, other: Way) -> Check:
    share = governed.nano_usd / other.nano_usd if other.nano_usd else 1.0
    return Check(
        holds=share <= GOAL, text=f"the governed bill is {1 - share:.1%} below {other.name} (goal: {1 - GOAL:.0%})"
    )


def _routed(governed: Way, unrouted: Way) -> Check:
    share = governed.nano_usd / unrouted.nano_usd if unrouted.nano_usd else 1.0
    return Check(
        holds=share < 1,
        text=f"on top of caching and compaction, routing takes {1 - share:.1%} off the bill",
    )


def _hits(governed: Way) -> Check:
    bill = Meter().bill(governed.records)
    read, ideal = bill.read_of_ideal_tokens, bill.ideal_tokens
    share = read / ideal if ideal else 1.0
    return Check(
        holds=share >= CACHED,
        text=f"the prompt cache gave {share:.1%} of what an ideal one would have ({read:,} of {ideal:,} tokens; goal: {CACHED:.0%})",
    )


def _same_outcome(governed: Way, other: Way) -> Check:
    return Check(
        holds=governed.end_state == other.end_state,
        text=f"the database ends alike, governed ({governed.end_state}) and {other.name} ({other.end_state})",
    )


def _ended(stuck: Stuck) -> Check:
    by = "stopped" if stuck.reason else "ended by a nudge"
    return Check(
        holds=stuck.calls < stuck.bare_calls and (stuck.reason is not None or stuck.nudged),
        text=f"the agent that {stuck.name} was {by} after {stuck.calls} model calls; bare it made {stuck.bare_calls}",
    )
