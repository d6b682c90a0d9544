"""Governor's own decisions over recorded steps: the real Route control, driven as the path drives it.

**Simulated**: the small model was never asked, so what a step would gain is not known. The estimator here draws it from a hash of run and
step: it wants the frontier for scattered steps, the worst there is for a cache. What is measured is what locks, blocks and the price of
changing make of such wishes, and nothing about quality.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from governor.calls import (
    History,
    Message,
    ModelCall,
    ModelRef,
    ModelRequest,
    RunRef,
    StepRef,
    ToolCall,
    ToolResult,
    ToolUse,
    View,
)
from governor.controls.route import Route
from governor.plans import Judgement, Routed
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor.record import lane_after
from governor.routing.estimate import Estimate, StepFeatures
from governor.routing.knowledge import Knowledge
from governor.routing.share import next_share
from governor.runs import Lane, RunState
from governor.usage import Usage
from tests.bench.routing_replay.corpus import Run, Step
from tests.bench.routing_replay.simulator import FRONTIER, Model

__all__ = ["Driven", "drive", "policy_of", "route_of", "steered"]

_OWN = ModelRef(provider="anthropic", model="claude-opus-4-8")
_LANE = "agent#task"
_SNAPSHOTS = 5
"""How often the share is steered on the first half of the runs: so many snapshots."""


@dataclass(slots=True)
class Driven:
    """What the control made of one run."""

    up: list[bool] = field(default_factory=list[bool])
    in_turn: int = 0
    """Switches while results of tools were the newest messages, though no gate had fired and no block had ended."""
    edges: int = 0
    """Switches in the middle of a turn where a gate had fired or a block ended."""
    escalations: int = 0
    seconds: list[float] = field(default_factory=list[float])
    codes: dict[str, int] = field(default_factory=dict[str, int])


_MOST_GAIN = 0.288
"""Twice the mean gain of a frontier over a student on agent tasks: 74.4% of 500 solved against 60% (design note, whole-run cascades)."""


class Drawn:
    """Gains drawn from a hash, evenly between 0 and twice the mean that was measured for whole tasks."""

    def __init__(self, seed: int) -> None:
        """`seed`: which draw."""
        self._seed = seed

    def estimate(self, step: StepFeatures) -> Estimate:
        """The path holds the run's name, so that each of its steps has a draw of its own."""
        drawn = hashlib.sha256(f"{self._seed}|{step.path}|{step.step}".encode()).digest()
        gain = _MOST_GAIN * int.from_bytes(drawn[:6], "big") / 2**48
        return Estimate(gain=gain, low=gain, high=gain, records=0, layer="drawn", facts={})


def policy_of(student: Model, *, share: float, block: int | None, after: Sequence[str] = ("invalid_output",)) -> Policy:
    """The policy that is measured. `block`: calls that the frontier answers at a time; None keeps a tier for the whole turn."""
    escalate = {"after": list(after), "for": block, "at_most": 1} if block else None
    routing = {"default": "student", "estimator": "hashed", "frontier_share": share, "escalate": escalate}
    tiers = {
        "frontier": {"model": str(_OWN), "price": _price(FRONTIER), "max_output_tokens": "16k"},
        "student": {
            "model": "openai:gpt-5-mini",
            "price": _price(student),
            "context_window": "1M",
            "max_output_tokens": "16k",
        },
    }
    return Policy.model_validate(
        {
            "governor": 1,
            "name": "replay",
            "tiers": tiers,
            "routing": {key: value for key, value in routing.items() if value is not None},
            "context": {"cache": {"ttl": "5m"}},
        }
    )


def _price(model: Model) -> dict[str, float]:
    return {"input": model.input, "output": model.output, "cache_read": model.read, "cache_write": model.write}


def route_of(policy: Policy, seed: int, asked: float) -> Route:
    """The control with a snapshot whose threshold is for a share of `asked` of the decisions."""
    quantiles = tuple((step / 1000, _MOST_GAIN * step / 1000) for step in range(1001))
    known = Knowledge(
        id=f"drawn-{seed}", weak="student", strong="frontier", estimator=Drawn(seed), quantiles=quantiles, share=asked
    )
    return Route(policy, PriceBook(policy), known)


def steered(policy: Policy, runs: Sequence[Run], seed: int, target: float) -> float:
    """The share of decisions that brings the share of *calls* nearest to the target on these runs, one snapshot after the other."""
    asked, best, off = target, target, 2.0
    for _ in range(_SNAPSHOTS):
        route = route_of(policy, seed, asked)
        driven = [drive(route, run) for run in runs]
        reached = sum(sum(each.up) for each in driven) / sum(len(each.up) for each in driven)
        if abs(reached - target) < off:
            best, off = asked, abs(reached - target)
        asked = next_share(target, asked, reached)
    return best


def drive(route: Route, run: Run, *, clock: Callable[[], float] = time.perf_counter) -> Driven:
    """Take every step of a run through the control, and carry its state on as the path does."""
    driven, state, said = Driven(), RunState(), _Conversation(run)
    for position, step in enumerate(run.steps):
        state = replace(state, model_calls=state.model_calls + 1)
        call, now = said.call(position), step.at_s * 1000
        began = clock()
        chosen = route.choose(state, call, now)
        driven.seconds.append(clock() - began)
        _count(driven, chosen, call)
        state = _after(route, state, call, chosen, step, now)
    driven.escalations = state.route.escalations
    return driven


def _count(driven: Driven, chosen: Routed, call: ModelCall) -> None:
    reason = chosen.decision.reason
    code = reason.code if reason is not None else ""
    driven.codes[code] = driven.codes.get(code, 0) + 1
    strong = chosen.tier == "frontier"
    if driven.up and driven.up[-1] != strong and call.history.messages[-1].role == "tool":
        ended = reason is not None and reason.evidence.get("boundary") == "block"
        fired = code == "route.escalated"
        back = code == "route.default" or ended
        driven.edges += fired or back
        driven.in_turn += not (fired or back)
    driven.up.append(strong)


def _after(route: Route, state: RunState, call: ModelCall, chosen: Routed, step: Step, now: int) -> RunState:
    """The state once the step was answered: signals, the block, and the lane with what is cached now."""
    request = ModelRequest(
        call=call, tier=chosen.tier, model=chosen.model, view=View(history=call.history), base=chosen.base
    )
    block = state.route.tier
    judged = Judgement(signal="invalid_output") if step.malformed else Judgement()
    state = route.observe_model(state, request, judged)
    before = state.lanes.get(call.lane, Lane())
    usage = Usage(input=step.prompt, output=step.output)
    lane = lane_after(replace(before, calls=before.calls + 1), request, usage, now)
    state = replace(state, lanes={call.lane: replace(lane, escalated=request.tier in (block, state.route.tier))})
    if step.failed:
        state = route.observe_tool(
            state, ToolCall(step=call.step, name="bash", args={}, id="c"), ToolResult(text="", failed=True)
        )
    return state


class _Conversation:
    """The messages of a run, with the recorded number of tokens. An answer without one command is answered by the harness, as a user."""

    def __init__(self, run: Run) -> None:
        self._step = StepRef(run=RunRef(id=run.id), node="agent", path=f"{run.id}/agent", ns="agent")
        messages = [Message(key="task", role="user", text="", tokens=run.steps[0].prompt)]
        for position, step in enumerate(run.steps[:-1]):
            added = run.steps[position + 1].prompt - step.prompt
            answered = min(step.output, max(0, added))
            uses = () if step.malformed else (ToolUse(id=f"c{position}", name="bash", args={"command": step.command}),)
            messages.append(Message(key=f"a{position}", role="assistant", text="", tokens=answered, tool_uses=uses))
            result = Message(key=f"t{position}", role="tool", text="", tokens=added - answered, name="bash")
            if step.malformed:
                messages.append(replace(result, role="user", name=None))
            else:
                messages.append(replace(result, answers=f"c{position}", failed=step.failed))
        self._messages, self._cumulative = messages, list(accumulate(message.tokens for message in messages))
        self._index = {message.key: position for position, message in enumerate(messages)}

    def call(self, position: int) -> ModelCall:
        """The model call of a step."""
        end = 1 + 2 * position
        history = History(messages=self._messages[:end], cumulative=self._cumulative, index=self._index)
        return ModelCall(step=self._step, ordinal=0, history=history, model=_OWN, lane=_LANE)
