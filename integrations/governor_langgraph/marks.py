"""Where prompt-cache markers end up: the plan, reconciled with what user code marked itself and what the vendor allows.

Rules of Anthropic and Bedrock alike: at most four markers in a request, and lifetimes must not grow from tools over system to messages
(a request that breaks either is refused as invalid).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

    from governor.calls import CachePlan, Ttl

__all__ = ["TOOLS", "Mark", "blocks_of", "blocks_with", "end_of_system", "place"]

TOOLS = -1
"""The position of a marker after the last tool; messages count from 0."""

MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One marker: after the tools (`TOOLS`) or after the message at that position."""

    at: int
    ttl: Ttl


def place(
    plan: CachePlan, existing: Sequence[Mark], *, system: int | None, eligible: Callable[[int], bool]
) -> tuple[Mark, ...]:
    """The markers to add, by position. `existing` ones stay as user code put them and use up slots.

    A message that cannot carry a marker hands it to the nearest one before it: a shorter prefix is still a prefix. When slots are short
    the deepest markers win, since a read goes as far as the last one that matches.
    """
    taken = {mark.at for mark in existing}
    wanted: dict[int, Ttl] = {}
    for at, ttl in _wishes(plan, system):
        spot = at if at == TOOLS else next((i for i in range(at, -1, -1) if eligible(i)), None)
        if spot is not None and spot not in taken:
            wanted.setdefault(spot, ttl)
    kept = sorted(wanted, reverse=True)[: max(0, MOST - len(existing))]
    return _ordered([Mark(at=at, ttl=wanted[at]) for at in kept], existing)


def _wishes(plan: CachePlan, system: int | None) -> list[tuple[int, Ttl]]:
    wishes: list[tuple[int, Ttl]] = [(point.position, point.ttl) for point in plan.messages]
    if plan.system and system is not None:
        wishes.append((system, plan.system))
    if plan.tools:
        wishes.append((TOOLS, plan.tools))
    return wishes


def _ordered(ours: list[Mark], existing: Sequence[Mark]) -> tuple[Mark, ...]:
    """Give up lifetimes that would grow: ours shrink after a short one, and go when a long one of user code follows a short one."""
    kept: list[Mark] = []
    for mark in sorted(ours, key=lambda mark: mark.at):
        before = [other.ttl for other in (*existing, *kept) if other.at < mark.at]
        after = [other.ttl for other in existing if other.at > mark.at]
        ttl: Ttl = "5m" if "5m" in before else mark.ttl
        if ttl == "1h" or "1h" not in after:
            kept.append(Mark(at=mark.at, ttl=ttl))
    return tuple(kept)


def end_of_system(messages: Sequence[BaseMessage]) -> int | None:
    """Position of the last leading system message, or None."""
    last = None
    for position, message in enumerate(messages):
        if message.type != "system":
            break
        last = position
    return last


def blocks_of(message: BaseMessage) -> list[dict[str, Any]]:
    """The content as a list of new dicts: text becomes a text block, blank text nothing."""
    content = cast("str | list[str | dict[str, Any]]", message.content)
    parts: list[str | dict[str, Any]] = [content] if isinstance(content, str) else content
    whole = ({"type": "text", "text": part} if isinstance(part, str) else dict(part) for part in parts)
    return [block for block in whole if block.get("type") != "text" or str(block.get("text", "")).strip()]


def blocks_with(messages: Sequence[BaseMessage], keys: frozenset[str]) -> list[tuple[int, dict[str, Any]]]:
    """Position and block of all content blocks that have one of the keys, uncopied: this walks the whole history at each call."""
    found: list[tuple[int, dict[str, Any]]] = []
    for at, message in enumerate(messages):
        if isinstance(message.content, list):
            blocks = cast("list[Any]", message.content)
            found += [
                (at, block) for block in blocks if isinstance(block, dict) and not keys.isdisjoint(cast("Any", block))
            ]
    return found
