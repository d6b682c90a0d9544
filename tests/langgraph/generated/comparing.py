"""Runs one specification both ways and says where the two differ."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import unified_diff
from itertools import zip_longest
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.types import Command, Interrupt

from governor_langgraph import govern
from tests.langgraph.fakes import OPEN, Runs
from tests.langgraph.generated.building import compiled
from tests.langgraph.generated.specs import GraphSpec
from tests.langgraph.generated.world import World

STREAM_MODES = ["values", "updates", "custom", "messages", "checkpoints", "tasks", "debug"]
_IDS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b|\d{4}-\d\d-\d\dT[\d:.+]+|lc_run-+\S+|\b0x[0-9a-f]{6,}"
)
ROUNDS = 6
"""Resumes after interrupts and errors before one is enough."""


def shape(value: Any) -> str:
    """Everything a value says, without ids, addresses and times."""
    return _IDS.sub("<id>", repr(_shape(value)))


def _shape(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return value.model_dump(exclude={"id"})
    if isinstance(value, dict):
        return {
            key: sorted(map(repr, map(_shape, each))) if key == "interrupts" else _shape(each)
            for key, each in value.items()
            if key not in ("id", "run_id", "parent_run_id", "parent_ids")
        }
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(each, Interrupt) for each in value):
            return sorted(map(repr, value))  # branches side by side ask in any order
        return [_shape(each) for each in value]
    return value


class Side:
    """One of the two: the graph, and everything that was seen of it, in order."""

    def __init__(self, spec: GraphSpec, change: Callable[[Any], Any]) -> None:
        self.world = World()
        self.linear = spec.linear()
        self.app = change(compiled(spec, self.world))
        self.seen: list[tuple[str, str]] = []

    def saw(self, what: str, value: Any) -> None:
        self.seen.append((what, shape(value)))

    def saw_parts(self, what: str, parts: list[Any]) -> None:
        """What came bit by bit: in order, unless branches run side by side and have none between them."""
        shapes = [shape(part) for part in parts]
        self.seen.append((what, "\n".join(shapes if self.linear else sorted(shapes))))


def config(thread: str, handler: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"configurable": {"thread_id": thread}, "recursion_limit": 60, "tags": ["mine"]}
    return {**found, "callbacks": [handler]} if handler else found


def differences(spec: GraphSpec, sides: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None) -> list[str]:
    """Where the governed graph differs from the bare one; empty when nowhere. For graphs of sync functions."""
    bare, governed = (Side(spec, change) for change in sides or _WAYS)
    for side in (bare, governed):
        _drawn(side)
        _driven(side, "invoke", lambda app, given, conf: app.invoke(given, conf))
        _driven(side, "stream", _streamed)
        _driven(side, "invoke again", lambda app, given, conf: app.invoke(given, conf))
        _past(side)
    return _compared(bare, governed)


async def adifferences(
    spec: GraphSpec, sides: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None
) -> list[str]:
    """The async twin of `differences`, with events of the second version."""
    bare, governed = (Side(spec, change) for change in sides or _WAYS)
    for side in (bare, governed):
        _drawn(side)
        await _adriven(side, "ainvoke", lambda app, given, conf: app.ainvoke(given, conf))
        await _adriven(side, "astream", _astreamed)
        await _adriven(side, "astream_events", _events)
        await _apast(side)
    return _compared(bare, governed)


def _govern(app: Any) -> Any:
    return govern(app, OPEN)


def _bare(app: Any) -> Any:
    return app


_WAYS: tuple[Callable[[Any], Any], Callable[[Any], Any]] = (_bare, _govern)
BARE_TWICE: tuple[Callable[[Any], Any], Callable[[Any], Any]] = (_bare, _bare)
"""What differs between two bare runs has no one way to go, and says nothing about governor."""


def _compared(bare: Side, governed: Side) -> list[str]:
    for side in (bare, governed):
        side.saw_parts("bodies that ran", side.world.bodies)
        side.saw_parts("models asked", [[each.text for each in asked] for _, asked, _ in side.world.model.calls.seen])
    return [
        _difference(mine or ("", ""), theirs or ("", ""))
        for mine, theirs in zip_longest(bare.seen, governed.seen)
        if mine != theirs
    ]


def _difference(mine: tuple[str, str], theirs: tuple[str, str]) -> str:
    """The lines that only one of the two has; - is bare, + is governed."""
    lines = unified_diff(mine[1].split("\n"), theirs[1].split("\n"), n=0, lineterm="")
    return "\n".join([f"{mine[0] or theirs[0]}:", *(line[:2000] for line in lines)])


def _drawn(side: Side) -> None:
    side.saw("drawing", side.app.get_graph(xray=True).draw_mermaid())
    side.saw("json", side.app.get_graph().to_json())
    side.saw("subgraphs", [name for name, _ in side.app.get_subgraphs(recurse=True)])


def _streamed(app: Any, given: Any, conf: Any) -> Any:
    return list(app.stream(given, conf, stream_mode=STREAM_MODES, subgraphs=True))


async def _astreamed(app: Any, given: Any, conf: Any) -> Any:
    return [chunk async for chunk in app.astream(given, conf, stream_mode=STREAM_MODES, subgraphs=True)]


async def _events(app: Any, given: Any, conf: Any) -> Any:
    return [event async for event in app.astream_events(given, conf, version="v2")]


def _driven(side: Side, name: str, run: Callable[[Any, Any, Any], Any]) -> None:
    """Run to the end through every interrupt and every error, looking at the state in between."""
    handler, given = Runs(), _given()
    for number in range(ROUNDS):
        try:
            result = run(side.app, given, config(name, handler))
            side.saw_parts(f"{name} {number}", result if isinstance(result, list) else [result])
        except Exception as error:
            side.saw(f"{name} {number} raised", (type(error), str(error)))
        state = side.app.get_state(config(name), subgraphs=True)
        side.saw(f"{name} {number} state", _of(state))
        if not state.next:
            break
        given = Command(resume=f"answer {number}") if state.interrupts else None
    side.saw_parts(f"{name} callbacks", [*handler.starts, *handler.tokens, *handler.tools, *handler.chains])
    side.saw(f"{name} ends", (handler.ends, handler.errors))
    side.saw(f"{name} history", [_of(each) for each in side.app.get_state_history(config(name))])


async def _adriven(side: Side, name: str, run: Callable[[Any, Any, Any], Any]) -> None:
    handler, given = Runs(), _given()
    for number in range(ROUNDS):
        try:
            result = await run(side.app, given, config(name, handler))
            side.saw_parts(f"{name} {number}", result if isinstance(result, list) else [result])
        except Exception as error:
            side.saw(f"{name} {number} raised", (type(error), str(error)))
        state = await side.app.aget_state(config(name), subgraphs=True)
        side.saw(f"{name} {number} state", _of(state))
        if not state.next:
            break
        given = Command(resume=f"answer {number}") if state.interrupts else None
    side.saw_parts(f"{name} callbacks", [*handler.starts, *handler.tokens, *handler.tools, *handler.chains])
    side.saw(f"{name} ends", (handler.ends, handler.errors))
    side.saw(f"{name} history", [_of(each) async for each in side.app.aget_state_history(config(name))])


def _past(side: Side) -> None:
    """Travel to the middle of a thread's history, run on from there, and fork it there with a change of the state."""
    history = list(side.app.get_state_history(config("invoke")))
    middle = history[len(history) // 2].config
    for name, given in (("time travel", None), ("fork", {"log": ["forked"], "count": 0})):
        try:
            start = middle if given is None else side.app.update_state(middle, given)
            conf = {**config("invoke"), "configurable": start["configurable"]}
            side.saw(name, side.app.invoke(None, conf))
        except Exception as error:
            side.saw(f"{name} raised", (type(error), str(error)))
    side.saw("history after", [_of(each) for each in side.app.get_state_history(config("invoke"))])


async def _apast(side: Side) -> None:
    history = [each async for each in side.app.aget_state_history(config("ainvoke"))]
    middle = history[len(history) // 2].config
    for name, given in (("time travel", None), ("fork", {"log": ["forked"], "count": 0})):
        try:
            start = middle if given is None else await side.app.aupdate_state(middle, given)
            conf = {**config("ainvoke"), "configurable": start["configurable"]}
            side.saw(name, await side.app.ainvoke(None, conf))
        except Exception as error:
            side.saw(f"{name} raised", (type(error), str(error)))
    side.saw("history after", [_of(each) async for each in side.app.aget_state_history(config("ainvoke"))])


def _given() -> Any:
    return {"log": ["start"], "count": 0, "messages": [("user", "what is x?")]}


def _of(state: Any) -> Any:
    tasks = [
        (
            task.name,
            task.path,
            shape(task.error),
            shape(task.interrupts),
            shape(task.result),
            task.state and type(task.state).__name__,
        )
        for task in state.tasks
    ]
    return state.values, state.next, state.metadata, tasks, state.interrupts
