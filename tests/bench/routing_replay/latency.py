"""How long a decision takes, by what decides. Processor time of one thread, so that a busy machine does not count; each call differs."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate
from random import Random

from governor.calls import History, Message, ModelCall, ModelRef, RunRef, StepRef, ToolUse
from governor.controls.route import Route
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor.routing.estimate import Estimator
from governor.routing.features import DIMENSIONS
from governor.routing.hashed import Hashed
from governor.routing.knowledge import Knowledge
from governor.routing.learned import SnapshotEstimator
from governor.routing.snapshot import Calibration, Snapshot
from governor.routing.table import Cell
from governor.runs import Lane, RunState, Warm

__all__ = ["latencies"]

_CALLS = 1_000
_OWN = ModelRef(provider="anthropic", model="claude-opus-4-8")
_TIERS = {"frontier": {"model": str(_OWN)}, "student": {"model": "openai:gpt-5-mini"}}
_CHARS_A_TOKEN = 4
_CELL = Cell(key=("agent",), n=400, both=250, gain=60, weak_only=20, neither=70, graded=40_000_000)


def latencies() -> Mapping[str, Mapping[str, float]]:
    """Least, median and 99th percentile, milliseconds, of each way to decide."""
    snapshot = Snapshot(weak="student", strong="frontier", table=(_CELL,))
    weights = Hashed(0.1, array("f", [0.01] * DIMENSIONS))
    learned = _learned(snapshot, weights)
    ruled = [{"id": f"r{number}", "when": {"node": f"node_{number}*"}, "tier": "student"} for number in range(20)]
    return {
        "rules": _timed(_route(None, rules=[*ruled, {"id": "a", "when": {"node": "agent"}, "tier": "student"}]), 2_000),
        "tool loop": _timed(_route(SnapshotEstimator(snapshot)), 2_000, pending=True),
        "table": _timed(_route(SnapshotEstimator(snapshot)), 2_000),
        "hashed, 500 tokens": _timed(_route(learned), 500),
        "hashed, 2,000 tokens": _timed(_route(learned), 2_000),
    }


def _learned(snapshot: Snapshot, weights: Hashed) -> SnapshotEstimator:
    """The estimator of a snapshot that has a hashed model too."""
    calibration = Calibration(offset=0, slope=200_000, spread=300_000, n=400)
    return SnapshotEstimator(
        Snapshot(weak="student", strong="frontier", table=snapshot.table, hashed=weights, calibration=calibration)
    )


def _route(estimator: Estimator | None, **routing: object) -> Route:
    parts = {"default": "student", "estimator": "hashed", "escalate": {"after": "tool_error"}, **routing}
    policy = Policy.model_validate({"governor": 1, "name": "latency", "tiers": _TIERS, "routing": parts})
    known = None if estimator is None else Knowledge(id="x", weak="student", strong="frontier", estimator=estimator)
    return Route(policy, PriceBook(policy), known)


def _timed(route: Route, tokens: int, *, pending: bool = False) -> Mapping[str, float]:
    random, taken = Random(0), list[float]()
    clock: Callable[[], float] = time.thread_time
    for number in range(_CALLS):
        call, state = _call(random, number, tokens, pending=pending)
        began = clock()
        route.choose(state, call, 100_000 + number)
        taken.append((clock() - began) * 1_000)
    taken.sort()
    return {"least": taken[0], "p50": taken[_CALLS // 2], "p99": taken[_CALLS * 99 // 100], "calls": _CALLS}


def _call(random: Random, number: int, tokens: int, *, pending: bool) -> tuple[ModelCall, RunState]:
    """A call late in a conversation whose newest message has so many tokens, and the state of its lane."""
    text = _text(random, tokens * _CHARS_A_TOKEN)
    messages = [Message(key="u", role="user", text="Find the cause.", tokens=9)]
    for turn in range(20):
        uses = (ToolUse(id=f"c{turn}", name="search", args={"query": f"{number} {turn}"}),)
        messages.append(Message(key=f"a{turn}", role="assistant", text="", tokens=30, tool_uses=uses))
        messages.append(
            Message(key=f"t{turn}", role="tool", text="found", tokens=300, answers=f"c{turn}", name="search")
        )
    last = messages[-1]
    messages[-1] = replace(last, text=text, tokens=tokens) if pending else last
    if not pending:
        messages.append(Message(key="v", role="user", text=text, tokens=tokens))
    index = {message.key: position for position, message in enumerate(messages)}
    history = History(messages=messages, cumulative=list(accumulate(each.tokens for each in messages)), index=index)
    step = StepRef(run=RunRef(id="r"), node="agent", path="agent", ns="agent:1")
    others = (Warm(model="openai:gpt-5-mini", prefix_tokens=4_000, last_at_ms=50_000),)
    lane = Lane(model=str(_OWN), tier="frontier", prefix_tokens=6_000, last_at_ms=90_000, calls=7, others=others)
    call = ModelCall(step=step, ordinal=0, history=history, model=_OWN, lane="agent#u")
    return call, RunState(model_calls=8, lanes={"agent#u": replace(lane, previous_last="a19")})


def _text(random: Random, characters: int) -> str:
    words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 9))) for _ in range(400)]
    return " ".join(random.choices(words, k=characters // 5))[:characters]
