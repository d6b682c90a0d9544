"""What a made-up graph consists of, and how to make one up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["KINDS", "GraphSpec", "NodeSpec", "graph_specs"]

PLAIN = (
    *(
        "log",
        "model",
        "streaming",
        "tools",
        "runnable",
        "writer",
        "custom_events",
        "goto",
        "send",
        "retry",
        "cached",
        "deferred",
    ),
    *(
        "interrupt",
        "interrupt_twice",
        "swallow",
        "failing",
        "handled",
        "store",
        "steps_left",
        "runtime",
        "thread",
        "sequence",
    ),
)
NESTED = ("subgraph", "subgraph_in_function", "handoff")
KINDS = (*PLAIN, *NESTED)


@dataclass(frozen=True)
class NodeSpec:
    """One node."""

    kind: str
    number: int = 1
    """How much of it: sends, words, attempts."""
    inner: GraphSpec | None = None


@dataclass(frozen=True)
class GraphSpec:
    """Nodes in topological order, who leads to whom, and how often the end leads back to a node."""

    nodes: tuple[NodeSpec, ...]
    before: tuple[tuple[int, ...], ...]
    """For each node the positions of those that lead to it; empty: it starts."""
    back_to: int = 0
    rounds: int = 0
    asynchronous: bool = False

    def kinds(self) -> set[str]:
        """Of its nodes and of those nested in it."""
        found = {node.kind for node in self.nodes}
        return found.union(*(node.inner.kinds() for node in self.nodes if node.inner))

    def comparable(self) -> bool:
        """Whether two runs of it are alike at all: what fails beside other nodes cancels those that are not done yet."""
        return self.linear() or "failing" not in self.kinds()

    def linear(self) -> bool:
        """Whether never more than one node runs at a time, so that everything has an order."""
        inner = all(node.inner is None or node.inner.linear() for node in self.nodes)
        alone = all(node.kind != "send" for node in self.nodes)
        # The edge back from the last node is taken beside the one to its tools.
        once = not (self.rounds and self.nodes[-1].kind == "tools")
        return inner and alone and once and all(each == (at - 1,) for at, each in enumerate(self.before) if at)


@st.composite
def graph_specs(draw: Any, depth: int = 2, *, asynchronous: bool | None = None) -> GraphSpec:
    """Any graph of up to five nodes, nested up to `depth` deep. Nodes of an async graph are async functions."""
    runs_async = draw(st.booleans()) if asynchronous is None else asynchronous
    count = draw(st.integers(1, 5 if depth == 2 else 3))
    nodes: list[NodeSpec] = []
    before: list[tuple[int, ...]] = []
    for position in range(count):
        kind = draw(st.sampled_from(KINDS if depth else PLAIN))
        inner = draw(graph_specs(depth - 1, asynchronous=runs_async)) if kind in NESTED else None
        nodes.append(NodeSpec(kind, draw(st.integers(1, 3)), inner))
        chosen = draw(st.sets(st.integers(0, position - 1), max_size=2)) if position else set[int]()
        before.append(tuple(sorted(chosen)))
    return GraphSpec(
        nodes=tuple(nodes),
        before=tuple(before),
        back_to=draw(st.integers(0, count - 1)),
        rounds=draw(st.integers(0, 2)),
        asynchronous=runs_async,
    )
