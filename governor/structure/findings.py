"""Remarks about a graph under a policy, each with a code that stays, the path that proves it and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.structure.shape import END, places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.findings import Severity
    from governor.policy.schema import Policy
    from governor.structure.cycles import Cycle, Cycles
    from governor.structure.shape import Structure

__all__ = ["GraphFinding", "remarks", "uncut"]

_STEPS = "Set `limits: {steps: N}`, which cuts every cycle"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFinding:
    """A remark about a graph. `code` is stable: tools and CI may filter by it."""

    severity: Severity
    code: str
    graph: str
    """The graph as it was named."""
    witness: str
    """Where: the cycle, or the node."""
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.graph}: {self.severity}: {self.message} {self.remedy} [{self.code}]"


def remarks(structure: Structure, policy: Policy, cycles: Cycles) -> tuple[GraphFinding, ...]:
    """Everything to remark on, errors first."""
    found = [
        *(remark for cycle in cycles.named for remark in _of_cycle(structure.name, cycle)),
        *_undeclared(structure, policy),
        *_fans(structure, policy),
    ]
    rank = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda finding: rank[finding.severity]))


def _of_cycle(graph: str, cycle: Cycle) -> Iterator[GraphFinding]:
    if not cycle.exit and not cycle.nests:
        ends = f"only {_names(cycle)} ends it" if cycle.cut_by else "nothing ends it"
        yield GraphFinding(
            severity="error",
            code="graph.no_exit",
            graph=graph,
            witness=cycle.witness,
            message=f"`{cycle.witness}` has no way out: no condition on it leads anywhere else, so {ends}.",
            remedy="Make one of its edges a condition that can lead to END.",
        )
    if not cycle.declared:
        return  # `graph.undeclared` says so, once for all the cycles that one node may close
    if not cycle.cut_by:
        yield uncut(graph, cycle)
    elif not any(cut.counts for cut in cycle.cut_by):
        yield GraphFinding(
            severity="info",
            code="graph.uncounted_cycle",
            graph=graph,
            witness=cycle.witness,
            message=f"`{cycle.witness}` is ended by {_names(cycle)}, after no certain number of rounds{_why(cycle)}.",
            remedy=f"{_STEPS} after a number that you know.",
        )


def uncut(graph: str, cycle: Cycle) -> GraphFinding:
    """The remark about a cycle that nothing cuts."""
    instead = "`limits: {depth: N}`" if cycle.nests else "a hard budget on `model_calls` of a run, if it calls a model"
    return GraphFinding(
        severity="warning",
        code="graph.uncut_cycle",
        graph=graph,
        witness=cycle.witness,
        message=f"`{cycle.witness}` can go on for ever: no step, loop, depth or budget limit of the policy cuts it.",
        remedy=f"{_STEPS}, or {instead}.",
    )


def _names(cycle: Cycle) -> str:
    return " and ".join(f"`{cut.name}`" for cut in cycle.cut_by)


def _why(cycle: Cycle) -> str:
    return ": rounds that bring something new are no loop" if any(cut.name == "loops" for cut in cycle.cut_by) else ""


def _undeclared(structure: Structure, policy: Policy) -> Iterator[GraphFinding]:
    for shape, prefix in places(structure):
        for source in dict.fromkeys(edge.source for edge in shape.edges if edge.how == "unknown"):
            yield GraphFinding(
                severity="info" if policy.limits.steps is not None and policy.mode == "enforce" else "warning",
                code="graph.undeclared",
                graph=structure.name,
                witness=prefix + source,
                message=f"`{prefix}{source}` does not say where it may lead, so it is taken to lead to every node of its graph.",
                remedy='Declare it: a path map, `destinations=`, or a return type such as `Command[Literal["next"]]`.',
            )


def _fans(structure: Structure, policy: Policy) -> Iterator[GraphFinding]:
    limits = policy.limits
    if policy.mode == "enforce" and (limits.steps is not None or limits.fan_out is not None):
        return
    for shape, prefix in places(structure):
        for edge in shape.edges:
            if edge.fans and edge.target != END and edge.how != "unknown":
                witness = f"{prefix}{edge.source} -> {prefix}{edge.target}"
                yield GraphFinding(
                    severity="info",
                    code="graph.unbounded_fan_out",
                    graph=structure.name,
                    witness=witness,
                    message=f"`{witness}` may send any number of branches at once, and the policy has no `limits.fan_out`.",
                    remedy="Set `limits: {fan_out: N}`, or `steps`.",
                )
