"""Where a request carries prompt-cache markers, and how long what they write lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from governor.values import cheap

__all__ = ["Breakpoint", "CachePlan", "Ttl"]

Ttl = Literal["5m", "1h"]
"""How long a provider keeps what a marker wrote, since it was last read."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Breakpoint:
    """A prompt-cache marker after the `position`-th message of the rendered view (0-based; notes not counted)."""

    position: int
    ttl: Ttl


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan:
    """Where prompt-cache markers go. At most 4 in all; TTLs never increase from tools over system to messages."""

    tools: Ttl | None = None
    system: Ttl | None = None
    messages: tuple[Breakpoint, ...] = ()
    key: str | None = None
    """`prompt_cache_key` for providers that cache by themselves (OpenAI)."""
    planned: bool = False
    """Whether the conversation's requests get markers as soon as they are long enough: one without is already written as those will be."""
