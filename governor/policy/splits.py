"""How the branches of a fan-out share a budget, as an author writes it: `shared`, `even`, `escrow`, or a weight for each node."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from governor.policy.base import Section
from governor.policy.matchers import matches_glob
from governor.policy.scalars import Share

__all__ = ["Split", "Weighted", "at_least_as_tight", "split_text"]

_Glob = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Weighted(Section):
    """What one branch of a node may use of the limit while other branches run beside it."""

    weighted: Annotated[dict[_Glob, Share], Field(min_length=1)]
    """Name or path of a node, or a pattern, to a share of the limit. The first that matches counts; a node that none matches is bounded
    by the limit alone."""

    def of(self, node: str, path: str) -> Share | None:
        """The share of one branch of a node. None: no more than the limit bounds it."""
        for glob, share in self.weighted.items():
            if matches_glob((glob,), node) or matches_glob((glob,), path):
                return share
        return None


def _kind(value: Any) -> str:
    return "a word" if isinstance(value, str) else "weights"


Split = Annotated[
    Annotated[Literal["shared", "even", "escrow"], Tag("a word")] | Annotated[Weighted, Tag("weights")],
    Discriminator(_kind),
]
"""`shared`: one pool. `even`: a branch may use the limit divided by the number of branches. `escrow`: what is left is divided among the
branches and reserved for each when it begins. Weights: a share for each node's branches."""


def at_least_as_tight(theirs: Split, ours: Split) -> bool:
    """Whether a child's split lets no branch use more than its parent's does, whatever the graph."""
    if ours in ("shared", theirs):
        return True
    if isinstance(ours, str) or isinstance(theirs, str):
        # An escrow's branch may use all that others gave back: more than an even part.
        return False  # which of `even` and weights is tighter depends on how many branches there will be
    # The parent's patterns, in the parent's order and before any of the child's own, each with no larger a share.
    pairs = list(zip(ours.weighted.items(), theirs.weighted.items(), strict=False))
    return len(pairs) == len(ours.weighted) and all(
        glob == same and smaller <= share for (glob, share), (same, smaller) in pairs
    )


def split_text(split: Split) -> str:
    """What a split does to a branch, as the end of a sentence; empty for one pool."""
    if split == "shared":
        return ""
    if split == "escrow":
        return "; of branches side by side each has an even part of what is left reserved, and gives back what it does not use"
    if isinstance(split, str):
        return "; of branches side by side each may use an even part of it"
    parts = ", ".join(f"`{glob}` {share.written}" for glob, share in split.weighted.items())
    return f"; of branches side by side each may use at most: {parts}, and any other node's what is left"
