"""Small structures, written as text: `agent -> tools?`, one edge a word, `?` for a condition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from governor.policy.load import LoadedPolicy, load
from governor.structure import END, START, Edge, Held, Node, Shape, Structure

HOW: dict[str, Any] = {"?": "choice", "!": "unknown", "+": "join", "~": "error"}


def policy(**parts: Any) -> LoadedPolicy:
    """A policy that stops nothing but by the parts given."""
    return load({"governor": 1, "name": "t", "loops": {"mode": "observe"}, **parts})


def shape(edges: str, *nodes: Node, key: int = 0, **more: Any) -> Shape:
    """`edges`: `a>b` always, `a?b` by a condition, `a!b` undeclared, `a+b` joined, `a*b` sent. `S` and `E`: start and end."""
    made: list[Edge] = []
    for word in edges.split():
        at = next(index for index, letter in enumerate(word) if letter in ">?!+~*")
        source, target = (_name(part) for part in (word[:at], word[at + 1 :]))
        made.append(Edge(source=source, target=target, how=HOW.get(word[at], "always"), fans=word[at] == "*"))
    known = {node.name: node for node in nodes}
    names = dict.fromkeys(name for edge in made for name in (edge.source, edge.target) if name not in (START, END))
    listed = tuple(known.get(name, Node(name=name)) for name in names)
    return Shape(key=key, name=f"g{key}", nodes=listed, edges=tuple(made), **more)


def structure(*shapes: Shape) -> Structure:
    """The first is the root."""
    return Structure(name="app:graph", root=shapes[0].key, shapes={each.key: each for each in shapes})


def model(name: str, **more: Any) -> Node:
    return Node(name=name, kind="model", asks=True, **more)


def tools(name: str, *, calls: int | None = 1) -> Node:
    return Node(name=name, kind="tool", calls=calls)


def nest(name: str, graph: int, **more: Any) -> Node:
    return Node(name=name, kind="nested", holds=(Held(graph=graph),), **more)


def agent(*, key: int = 0, **more: Any) -> Shape:
    """A model that calls one tool at a time until it is done."""
    return shape("S>agent agent?tools agent?E tools>agent", model("agent"), tools("tools"), key=key, **more)


def with_limit(one: Shape, limit: int) -> Shape:
    return replace(one, recursion_limit=limit)


def _name(part: str) -> str:
    return {"S": START, "E": END}.get(part, part)
