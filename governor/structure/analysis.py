"""A graph under a policy: everything that is known before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.structure.bounds import Bound, bounds_of
from governor.structure.cuts import cuts_of
from governor.structure.cycles import LIBRARY_DEFAULT, Cycles, find
from governor.structure.findings import GraphFinding, remarks
from governor.structure.shape import Node, places

if TYPE_CHECKING:
    from governor.policy.schema import Policy
    from governor.prices import PriceBook
    from governor.structure.shape import Structure

__all__ = ["Analysis", "analyse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What is known of a graph under a policy."""

    cycles: Cycles
    findings: tuple[GraphFinding, ...]
    bounds: tuple[Bound, ...]
    """Steps, model calls, tool calls, money."""
    assumptions: tuple[str, ...]
    """What the bounds take for granted, since it is decided by code that only runs."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "cycles": [
                {
                    "witness": cycle.witness,
                    "cut_by": [{"name": cut.name, "limit": cut.written} for cut in cycle.cut_by],
                    "exit": cycle.exit,
                    "declared": cycle.declared,
                }
                for cycle in self.cycles.named
            ],
            "more_cycles": self.cycles.more,
            "more_cycles_at_least": self.cycles.at_least,
            "findings": [
                {name: getattr(finding, name) for name in ("severity", "code", "witness", "message", "remedy")}
                | {"text": str(finding)}
                for finding in self.findings
            ],
            "bounds": {
                bound.unit: {"most": bound.most, "written": bound.written, "why": bound.why} for bound in self.bounds
            },
            "assumptions": list(self.assumptions),
        }


def analyse(structure: Structure, policy: Policy, prices: PriceBook | None = None) -> Analysis:
    """Cycles, remarks and bounds of a graph under a policy. `prices` price its tiers; absent, the money of a call is unknown."""
    cycles = find(structure, cuts_of(policy))
    return Analysis(
        cycles=cycles,
        findings=remarks(structure, policy, cycles),
        bounds=bounds_of(structure, policy, prices),
        assumptions=tuple(_assumed(structure, policy)),
    )


def _assumed(structure: Structure, policy: Policy) -> Iterator[str]:
    if policy.mode == "observe":
        yield "`mode: observe` refuses nothing: no limit of the policy is counted on."
    nodes = [(f"`{prefix}{node.name}`", node) for shape, prefix in places(structure) for node in shape.nodes]
    for what, holds in _ASSUMED:
        names = [path for path, node in nodes if holds(node)]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield f"Code of {', '.join(names[:_NAMED])}{more} {what}."
    limits = [shape.recursion_limit for shape in structure.shapes.values()]
    if any(limit is not None and limit < LIBRARY_DEFAULT for limit in limits):
        yield "A recursion limit is that of the graph: whoever runs it gives no other, and a resumed run begins to count anew."


_NAMED = 8
_ASSUMED: tuple[tuple[str, Callable[[Node], bool]], ...] = (
    (
        "calls its model once each time it runs",
        lambda node: (node.own_code and node.asks) or bool(node.asked_after),
    ),
    ("calls one tool each time it runs", lambda node: node.own_code and node.kind == "tool"),
    ("starts each graph that it knows once each time it runs", lambda node: any(held.called for held in node.holds)),
    ("starts each task that it names once for each place where it does", lambda node: bool(node.tasks)),
)
