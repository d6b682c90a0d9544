"""Bounds hold: made-up graphs under made-up limits are run as far as they go, every condition leading to all that it may lead to."""

from __future__ import annotations

import operator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send

from governor.policy.load import LoadedPolicy, load
from governor.prices import PriceBook
from governor.structure import analyse
from governor_langgraph import govern, watch
from governor_langgraph.structure import read
from tests.langgraph.fakes import Whole, policy

FAR = 200
"""A run that passes so many steps goes on for ever, as far as this test can tell."""


class Far(BaseException):
    """The run went far enough to know. No Exception: no node and no graph answers it."""


class Bag(TypedDict):
    n: Annotated[int, operator.add]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One made-up graph: for each node what it is and where it leads. `len(nodes)` as a target is the end."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[tuple[int, ...], str], ...]
    deferred: frozenset[int] = frozenset()
    inner: Spec | None = None
    recursion_limit: int | None = None
    joined: tuple[int, int] | None = None


@st.composite
def specs(draw: st.DrawFn, *, nested: bool = True, cyclic: bool = True) -> Spec:
    count = draw(st.integers(1, 4))
    kinds = ["plain", "model", "nested"] if nested else ["plain", "model"]
    nodes = tuple(draw(st.lists(st.sampled_from(kinds), min_size=count, max_size=count)))
    edges: list[tuple[tuple[int, ...], str]] = []
    for index in range(count):
        first = 0 if cyclic and draw(st.booleans()) else index + 1
        targets = draw(st.lists(st.integers(first, count), min_size=1, max_size=2, unique=True))
        edges.append((tuple(targets), draw(st.sampled_from(["always", "choice", "choice", "goto", "send"]))))
    if count == 1 and not cyclic:
        edges = [((1,), "always")]
    acyclic = all(min(targets) > index for index, (targets, _) in enumerate(edges))
    return Spec(
        nodes=nodes,
        edges=tuple(edges),
        deferred=draw(st.frozensets(st.integers(0, count - 1), max_size=1)) if acyclic else frozenset(),
        inner=draw(specs(nested=False)) if "nested" in nodes else None,
        recursion_limit=draw(st.none() | st.integers(1, 12)) if nested else None,  # one inside ends the whole run
        joined=(0, count - 1) if acyclic and count > 2 and draw(st.booleans()) else None,
    )


@dataclass(kw_only=True)
class World:
    """Counts what really runs."""

    width: int
    stop_at: int | None
    only: int | None = None
    """Of the ways that a condition may lead, this one alone; None: all of them."""
    steps: int = 0
    model: Whole = field(default_factory=lambda: Whole(rule=lambda _: "and on"))

    def ways(self, told: list[str]) -> list[str]:
        return told if self.only is None else [told[self.only % len(told)]]

    def ran(self) -> None:
        self.steps += 1
        if self.stop_at is not None and self.steps > self.stop_at:
            raise Far


def built(spec: Spec, world: World) -> Any:
    graph: Any = StateGraph(Bag)
    names = [f"n{index}" for index in range(len(spec.nodes))]
    ends = [*names, END]
    for index, name in enumerate(names):
        targets, how = spec.edges[index]
        body = body_of(spec, index, world)
        more: dict[str, Any] = {"defer": True} if index in spec.deferred else {}
        if how == "goto" and spec.nodes[index] != "nested":
            more["destinations"] = tuple(ends[target] for target in targets)
        graph.add_node(name, body, **more)
    graph.add_edge(START, names[0])
    for index, name in enumerate(names):
        targets, how = spec.edges[index]
        told = [ends[target] for target in targets]
        if how == "always":
            for target in told:
                graph.add_edge(name, target)
        elif how == "send":
            graph.add_conditional_edges(name, sending(told, world), told)
        elif how == "choice" or spec.nodes[index] == "nested":
            graph.add_conditional_edges(name, leading(told, world), told)
    if spec.joined is not None:
        first, last = spec.joined
        graph.add_edge([names[first], names[1]], names[last])
    compiled = graph.compile()
    return compiled if spec.recursion_limit is None else compiled.with_config(recursion_limit=spec.recursion_limit)


def body_of(spec: Spec, index: int, world: World) -> Any:
    kind, (targets, how) = spec.nodes[index], spec.edges[index]
    if kind == "nested":
        assert spec.inner is not None
        return built(spec.inner, world)
    told = [f"n{target}" if target < len(spec.nodes) else END for target in targets]
    model = world.model
    answer = going(told, world) if how == "goto" else staying

    def plain(state: Bag) -> Any:
        world.ran()
        return answer()

    def asking(state: Bag) -> Any:
        world.ran()
        model.invoke("and?")
        return answer()

    return asking if kind == "model" else plain


def staying() -> Any:
    return {"n": 1}


def going(told: list[str], world: World) -> Any:
    return lambda: Command(update={"n": 1}, goto=[way for way in world.ways(told) if way != END])


def leading(told: list[str], world: World) -> Any:
    return lambda state: world.ways(told)


def sending(told: list[str], world: World) -> Any:
    def send(state: Bag) -> Any:
        return [
            Send(target, {"n": 0}) for target in world.ways(told) if target != END for _ in range(world.width)
        ] or END

    return send


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in (("steps", st.integers(1, 30)), ("fan_out", st.integers(1, 4)), ("depth", st.integers(1, 2))):
        if draw(st.integers(0, 3)) == 0:
            found[name] = draw(values)
    budget: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        budget[draw(st.sampled_from(["model_calls", "calls"]))] = draw(st.integers(1, 10))
    parts: dict[str, Any] = {"limits": found} if found else {}
    return {**parts, "budgets": [{"id": "run", "scope": "run", "limit": budget}]} if budget else parts


@settings(max_examples=settings().max_examples // 2)  # each builds and runs a graph
@given(spec=specs(), parts=limits(), width=st.integers(1, 4))
def test_no_run_passes_its_bounds(spec: Spec, parts: dict[str, Any], width: int) -> None:
    world = World(width=width, stop_at=250)
    graph = built(spec, world)
    written = load(policy(**parts))
    bounds = {bound.unit: bound for bound in analyse(read(graph), written.policy).bounds}

    with watch() as runs:
        run(govern(graph, written))

    steps, calls = bounds["steps"], bounds["model_calls"]
    assert steps.most is None or world.steps <= steps.most, steps
    assert calls.most is None or len(world.model.calls) <= calls.most, calls
    assert steps.most is None or all(one.state.steps <= steps.most for one in runs), steps


@settings(max_examples=settings().max_examples // 2)  # each builds and runs a graph
@given(spec=specs(), parts=limits())
def test_unbounded_is_said_only_of_graphs_that_a_run_takes_far(spec: Spec, parts: dict[str, Any]) -> None:
    parts.get("limits", {}).pop("fan_out", None)  # ends graphs that always branch, which no bound counts on
    assume(spec.inner is None or comes_to_an_end(spec.inner))  # else what follows on the nested graph is never run
    assume("budgets" not in parts or not any(how == "always" and len(to) > 1 for to, how in every_edge(spec)))
    written = load(policy(**parts))
    bound = analyse(read(built(spec, World(width=1, stop_at=FAR))), written.policy).bounds[0]

    if bound.most is None:
        assert any(goes_far(spec, written, width, only) for width in (FAR + 1, 1) for only in (None, 0, 1)), bound


def comes_to_an_end(spec: Spec) -> bool:
    """Whether a run of the graph can end: no node that it reaches goes on to another one whatever happens."""
    reached, left = {0}, [0]
    while left:
        targets, how = spec.edges[left.pop()]
        if how != "always" or len(spec.nodes) in targets:
            return True
        left += set(targets) - reached
        reached |= set(targets)
    return False


def every_edge(spec: Spec) -> list[tuple[tuple[int, ...], str]]:
    return [*spec.edges, *(spec.inner.edges if spec.inner else ())]


def goes_far(spec: Spec, written: LoadedPolicy, width: int, only: int | None) -> bool:
    world = World(width=width, stop_at=FAR, only=only)
    run(govern(built(spec, world), written))
    return world.steps > FAR


def run(app: Any) -> None:
    with suppress(GraphRecursionError, Far):
        app.invoke({"n": 0})


@st.composite
def agent_policies(draw: st.DrawFn) -> dict[str, Any]:
    """Limits of which at least one ends an agent that never stops."""
    limits = {name: draw(st.integers(2, 9)) for name in ("steps", "fan_out") if draw(st.booleans())}
    units = ("model_calls", "tool_calls", "calls", "tokens")
    budget: dict[str, Any] = {unit: draw(st.integers(2, 9)) for unit in units if draw(st.booleans())}
    if "tokens" in budget:
        budget["tokens"] *= 1_000
    if "steps" not in limits:
        budget.setdefault("model_calls", draw(st.integers(2, 9)))
    spent = {"id": "spent", "scope": "run", "limit": {"usd": 100}, "hard": False}
    hard = [{"id": "run", "scope": "run", "limit": budget}] if budget else []
    return {"limits": limits, "budgets": [*hard, spent], "tiers": TIERS}


TIERS = {
    "small": {
        "model": "openai:made-up",
        "price": {"input": 1, "output": 4},
        "max_output_tokens": 100,
        "context_window": "8k",
    }
}


@given(parts=agent_policies(), at_once=st.integers(1, 4))
def test_an_agent_that_never_stops_keeps_to_its_bounds(parts: dict[str, Any], at_once: int) -> None:
    done: list[str] = []

    @tool
    def look(q: str) -> str:
        """Look."""
        done.append(q)
        return f"{len(done)} more"

    def on(messages: list[Any]) -> AIMessage:
        made = [
            {"name": "look", "args": {"q": f"{len(messages)} {n}"}, "id": f"{len(messages)}-{n}"}
            for n in range(at_once)
        ]
        return AIMessage("", tool_calls=made)

    model = Whole(rule=on)
    graph: Any = create_agent(model, [look])
    written = load(policy(**parts))
    bounds = {bound.unit: bound for bound in analyse(read(graph), written.policy, PriceBook(written.policy)).bounds}

    with watch() as runs:
        govern(graph, written, clients={"small": model}).invoke({"messages": [("user", "go")]})

    seen = {
        "steps": runs[0].state.steps,
        "model_calls": len(model.calls),
        "tool_calls": len(done),
        "nano_usd": next(balance.spent for balance in runs[0].budgets if balance.budget == "spent"),
    }
    assert {} == {
        unit: (seen[unit], bound) for unit, bound in bounds.items() if (bound.most or seen[unit]) < seen[unit]
    }
