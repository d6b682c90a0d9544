"""What the structure of a graph says before it runs: cycles that no limit cuts, and how much one run can do at most.

A graph library's integration reads its graphs into a `Structure`; everything here works on that and on a policy, and runs nothing.
"""

from __future__ import annotations

from governor.structure.analysis import Analysis, analyse
from governor.structure.bounds import UNBOUNDED, Bound
from governor.structure.cycles import Cycle
from governor.structure.findings import GraphFinding
from governor.structure.handoffs import pingpong
from governor.structure.shape import END, START, Edge, Held, How, Kind, Node, Shape, Structure, digraph

__all__ = [
    "END",
    "START",
    "UNBOUNDED",
    "Analysis",
    "Bound",
    "Cycle",
    "Edge",
    "GraphFinding",
    "Held",
    "How",
    "Kind",
    "Node",
    "Shape",
    "Structure",
    "analyse",
    "digraph",
    "pingpong",
]
