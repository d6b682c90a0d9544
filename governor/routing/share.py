"""How the share of calls that the best tier answers is steered: once for each snapshot, never on the request path."""

from __future__ import annotations

__all__ = ["next_share"]

_MOST = 4.0
"""A share moves by at most this factor from one snapshot to the next: one odd week must not turn routing over."""


def next_share(target: float, asked: float, reached: float) -> float:
    """The share of *decisions* to send up in the next snapshot, 0 to 1.

    `target` is the policy's `frontier_share`, `asked` what the last snapshot's threshold was the quantile for, `reached` the share of
    *calls* that the best tier then answered. They differ, because a decision binds a whole turn or block, gates raise calls that
    nobody had asked for, and prices hold others back.
    """
    if not (0 <= target <= 1 and 0 <= asked <= 1 and 0 <= reached <= 1):
        raise ValueError(f"shares are from 0 to 1, not {target}, {asked} and {reached}")
    if target in (0, 1):
        return target
    base = max(asked, 0.001)
    factor = target / reached if reached else _MOST
    return min(1.0, base * min(_MOST, max(1 / _MOST, factor)))
