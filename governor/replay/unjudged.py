"""What a record does not tell, and which rules of the policy could therefore not be judged. Said, never guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from governor.replay.recorded import Entered

if TYPE_CHECKING:
    from governor.policy.schema import Policy
    from governor.replay.recorded import Recorded

__all__ = ["unjudged"]

_ANYONE = ("run", "thread", "agent", "node", "tool")
"""Scopes that need no name from outside."""


def unjudged(
    run: Recorded,
    policy: Policy,
    scopes: Mapping[str, str],
    *,
    estimated: int,
    unpriced: Sequence[str],
    unanswered: int,
) -> Iterator[str]:
    """Sentences, the most important first."""
    yield from run.remarks
    yield from _of_content(run, policy, estimated)
    if unpriced:
        names = ", ".join(unpriced)
        yield f"money: not judged, no price is known for {names} (--model names a model where the record has none)."
    yield from _of_times(run, policy)
    yield from _of_places(run, policy)
    missing = sorted({each.scope for each in policy.budgets if each.scope not in (*_ANYONE, *scopes)})
    if missing:
        yield f"budgets per {', '.join(missing)}: not judged, the record names none (--scope {missing[0]}=NAME)."
    if any(each.scope == "agent" for each in policy.budgets) and "agent" not in scopes:
        yield "budgets per agent: not judged, the record names none (--scope agent=NAME)."
    if policy.rates:
        yield "rates: not judged, since they depend on what other runs did at the same time."
    if policy.ladder:
        yield "ladder: not judged, since a degraded call would have had another answer."
    if unanswered:
        yield f"{unanswered} tool calls have no recorded result: judged by access alone."


def _of_content(run: Recorded, policy: Policy, estimated: int) -> Iterator[str]:
    if not run.content:
        yield "loop, compaction: not judged, since spans hold no content."
        if any(rule.when is not None for rule in policy.tools.rules):
            yield "access: judged by the names of tools; a rule that looks at arguments sees none."
        return
    if estimated:
        of = f"{estimated} of {len(run.turns)} model calls"
        yield f"tokens: {of} record no usage; theirs are estimated by governor.tokens, on the high side."
        if run.tools is None:
            yield "tokens: the descriptions of the offered tools are not recorded and not in the estimate."


def _of_times(run: Recorded, policy: Policy) -> Iterator[str]:
    turns = run.turns
    timed = sum(turn.at_ms is not None for turn in turns)
    if timed == len(turns):
        return
    kept = [
        *(["limits.time"] if policy.limits.time is not None else []),
        *(["windows of budgets"] if any(each.per is not None for each in policy.budgets) else []),
        *(["time of budgets"] if any(each.limit.time is not None for each in policy.budgets) else []),
        *(["pauses of polls"] if any(tool.as_ == "poll" for tool in policy.loops.tools) else []),
        "expiry of prompt caches",
    ]
    if timed == 0:
        yield f"time: not recorded; not judged: {', '.join(kept)}."
    else:
        yield f"time: recorded for {timed} of {len(turns)} model calls; between them it stands still ({', '.join(kept)})."


def _of_places(run: Recorded, policy: Policy) -> Iterator[str]:
    """Nodes and nesting, which messages do not have."""
    placed = any(isinstance(event, Entered) for event in run.events)
    named = placed or any(turn.node for turn in run.turns)
    rules = [
        *(["nodes"] if policy.nodes.rules or policy.nodes.default == "deny" else []),
        *(["tools.rules with a node"] if any(rule.node for rule in policy.tools.rules) else []),
        *(["routing.rules"] if policy.routing.rules else []),
    ]
    if rules and not named:
        yield f"nodes: not recorded, so that {', '.join(rules)} are judged as if every model call were of node `agent`."
    limits = [name for name in ("depth", "fan_out") if getattr(policy.limits, name) is not None]
    if limits and not placed:
        yield f"limits.{', limits.'.join(limits)}: nested graphs are not recorded; the calls of one turn count as branches side by side."
