"""Where a call was made: whether two calls come of branches side by side, which do the same on purpose.

A branch may have ended when the next one begins, so it is not enough to look at what is running: a place says in which superstep of each
graph around it a call was made. Branches of one superstep are asked for at once, however fast each of them is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Around"]

_AT = ":@"
"""Between a part and its superstep: LangGraph allows no colon in the name of a node."""
_LONGEST = 512
"""Characters of a place that is remembered; a longer one is not, and its call is taken for one that came alone."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a run knows of its steps while one of them calls."""

    open_steps: tuple[str, ...] = ()
    """Namespaces of steps that have begun and not ended."""
    fans: Mapping[str, tuple[str, int, int]] = field(default_factory=dict[str, "tuple[str, int, int]"])
    """Namespace of a graph to the checkpoint and the number of its superstep, and to how many branches that has had."""

    def place(self, ns: str) -> str:
        """The namespace of a step with its superstep's number behind each part, as far as that is known: `worker:ab:@3|tools:cd:@1`."""
        if not self.fans:
            return ns if len(ns) <= _LONGEST else ""
        parts = ns.split("|")
        marked: list[str] = []
        for at, part in enumerate(parts):
            fan = self.fans.get("|".join(parts[:at]))
            marked.append(part if fan is None else f"{part}{_AT}{fan[1]}")
        placed = "|".join(marked)
        return placed if len(placed) <= _LONGEST else ""

    def beside(self, earlier: str, ns: str) -> bool:
        """Whether the step `earlier` (a place) belongs to a branch beside that of the step `ns`.

        Where their namespaces part, the earlier branch is still running, or it ran in the superstep that is running now.
        """
        if not earlier:
            return False
        common = ""
        for theirs, ours in zip(earlier.split("|"), ns.split("|"), strict=False):
            part, _, superstep = theirs.partition(_AT)
            if part != ours:
                fan = self.fans.get(common[:-1])
                return common + part in self.open_steps or (fan is not None and superstep == str(fan[1]))
            common += part + "|"
        return False
