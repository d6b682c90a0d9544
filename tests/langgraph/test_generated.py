"""A policy that allows everything changes nothing, for graphs that nobody thought of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.langgraph.generated.comparing import adifferences, differences
from tests.langgraph.generated.specs import KINDS, GraphSpec, NodeSpec, graph_specs

EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def one(kind: str, *, asynchronous: bool) -> GraphSpec:
    """The smallest graph with a node of this kind in its middle, twice around."""
    leaf = GraphSpec((NodeSpec("model"), NodeSpec("interrupt")), ((), (0,)), asynchronous=asynchronous)
    inner = leaf if kind in ("subgraph", "subgraph_in_function", "handoff") else None
    nodes = (NodeSpec("log"), NodeSpec(kind, 2, inner), NodeSpec("log"))
    return GraphSpec(nodes, ((), (0,), (1,)), back_to=1, rounds=1, asynchronous=asynchronous)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_with_such_a_node_is_the_same_governed(kind: str) -> None:
    assert [] == differences(one(kind, asynchronous=False))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_the_same_governed_on_an_event_loop(kind: str, asynchronous: bool) -> None:
    assert [] == await adifferences(one(kind, asynchronous=asynchronous))


@EXAMPLES
@given(graph_specs(asynchronous=False).filter(GraphSpec.comparable))
def test_any_graph_is_the_same_governed(spec: GraphSpec) -> None:
    assert [] == differences(spec)


@EXAMPLES
@given(graph_specs().filter(GraphSpec.comparable))
async def test_any_graph_is_the_same_governed_on_an_event_loop(spec: GraphSpec) -> None:
    assert [] == await adifferences(spec)


def test_the_comparison_sees_a_node_that_runs_twice_and_a_chunk_that_is_lost() -> None:
    """A comparison that cannot fail proves nothing."""
    spec = one("writer", asynchronous=False)

    def losing(app: Any) -> Any:
        stream = app.stream

        def shorter(*args: Any, **kwargs: Any) -> Any:
            yield from list(stream(*args, **kwargs))[:-1]

        app.stream = shorter
        return app

    def doubling(app: Any) -> Any:
        node = app.nodes["g1"]
        once = node.bound.func
        node.bound.func = lambda *args, **kwargs: (once(*args, **kwargs), once(*args, **kwargs))[1]
        return app

    assert [] == differences(spec, (lambda app: app, lambda app: app))
    assert [] != differences(spec, (lambda app: app, losing))
    assert [] != differences(spec, (lambda app: app, doubling))
