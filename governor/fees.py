"""Fees of tools that the provider runs itself: what the request lets them do is held, what the answer says they did is charged.

The amounts come from the vendor packages, which say where each is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["HostedTool", "due", "most_uses"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class HostedTool:
    """A tool of the provider's that a request offers to the model."""

    name: str
    """As the answer counts its uses; two versions of one tool share it."""
    fee: int | None
    """Nano-USD of one use. None: not known before it is used."""
    uses: int | None = None
    """Most uses in one answer. None: the request sets no limit."""
    settable: bool = False
    """Whether governor can set that limit on the request."""


def most_uses(tools: Sequence[HostedTool], default: int) -> dict[str, int]:
    """Uses by tool that an answer reports at most, where a tool without a limit gets `default`."""
    most: dict[str, int] = {}
    for tool in tools:
        most[tool.name] = most.get(tool.name, 0) + (default if tool.uses is None else tool.uses)
    return most


def due(tools: Sequence[HostedTool], uses: Mapping[str, int]) -> int:
    """Nano-USD for these uses, each at the dearest fee that is known for a tool of its name."""
    fees: dict[str, int] = {}
    for tool in tools:
        fees[tool.name] = max(fees.get(tool.name, 0), tool.fee or 0)
    return sum(fees.get(name, 0) * count for name, count in uses.items())
