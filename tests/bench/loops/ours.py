"""governor's loop control as the benchmark sees it: driven step by step as the path drives it, with the fields of a step and no more."""

from __future__ import annotations

from typing import Any

from governor.calls import (
    History,
    Message,
    ModelCall,
    ModelRef,
    ModelResponse,
    RunRef,
    StepRef,
    ToolCall,
    ToolResult,
    ToolUse,
)
from governor.controls.loop import Loop
from governor.controls.loop.chant import chants
from governor.decisions import Verdict
from governor.policy.schema import Policy
from governor.runs import RunState
from governor.values import replace
from tests.bench.loops.anchors import HARD, NUDGE, Detector
from tests.bench.loops.corpus import Step

__all__ = ["Ours"]

_MODEL = ModelRef(provider="any", model="any")
_STEP_MS = 5_000
"""The corpus has no times: a step takes as long as an answer and a tool do."""
_LONG_TEXT = 2_000
_CONTROL = Loop(Policy.model_validate({"governor": 1, "name": "bench"}))


class Ours(Detector):
    """The loop control under a policy that says nothing about loops."""

    def __init__(self, control: Loop = _CONTROL) -> None:
        self._control, self._state = control, RunState()
        self._now = self._turn = 0
        self._messages: list[Message] = []
        self._cumulative: list[int] = []
        self._add("user", "task")
        self.refused: Verdict | None = None
        """What the latest step was refused with, if it was: a denial leaves the run going, a stop ends it."""

    @property
    def state(self) -> RunState:
        """What a store would hold of the run."""
        return self._state

    def see(self, step: Step) -> int:
        self._now += _STEP_MS
        self.refused = None
        if len(step.text) > _LONG_TEXT and chants(step.text):
            self.refused = Verdict.STOP
            return HARD  # the answer is cut while it streams
        if step.kind == "model":
            level = self._said(step)
        elif step.kind == "handoff":
            level = self._called(step, f"transfer_to_{step.name}", f"Control was passed to {step.name}.")
        else:
            level = self._called(step, str(step.name), step.result or "")
        if step.user_after:
            self._add("user", f"reply {len(self._messages)}")
        return level

    def _called(self, step: Step, name: str, text: str) -> int:
        """A model call that asks for a tool, unless it is a branch beside others, and the call itself."""
        at, args = self._step(step), dict(step.args or {})
        use = ToolUse(id=f"c{step.i}", name=name, args=args)
        level, branch = 0, step.par is not None
        if branch:
            opened = (*self._state.open_steps, at.ns)
            self._state = replace(self._state, open_steps=opened)
        else:
            if self._state.open_steps:
                self._state = replace(self._state, open_steps=())
            level = self._model(step, at, (use,))
        if level == HARD:
            return HARD
        call = ToolCall(step=at, name=name, args=args, id=use.id)
        admission = self._control.admit_tool(self._state, call, self._now)
        if admission.decision.refuses:
            self.refused = admission.decision.verdict
            self._state = self._control.observe_block(self._state, call, admission)
            return HARD
        result = ToolResult(text=text, failed=False)
        self._state = self._control.observe_tool(self._state, call, result, self._now)
        return max(level, NUDGE if self._state.loop.note else 0)

    def _said(self, step: Step) -> int:
        level = self._model(step, self._step(step), ())
        return max(level, NUDGE if self._state.loop.note else 0)

    def _model(self, step: Step, at: StepRef, uses: tuple[ToolUse, ...]) -> int:
        # The lists go on growing; the control keeps none of them.
        history = History(messages=self._messages, cumulative=self._cumulative, index={})
        call = ModelCall(step=at, ordinal=step.i, history=history, model=_MODEL)
        admission = self._control.admit_model(self._state, call, self._now)
        if admission.decision.refuses:
            self.refused = admission.decision.verdict
            return HARD
        if self._state.loop.note is not None:
            self._state = replace(self._state, loop=replace(self._state.loop, note=None))
        response = ModelResponse(text=step.text, tool_uses=uses)
        self._state = self._control.observe_model(self._state, call, response, self._now)
        self._add("assistant", step.text)
        return 0

    def _step(self, step: Step) -> StepRef:
        return StepRef(
            run=_RUN,
            node=step.agent,
            path=step.agent,
            ns=step.ns or f"{step.agent}:{step.i}",
            depth=int(step.ns is not None),
        )

    def _add(self, role: Any, text: str) -> None:
        self._turn += 1
        self._messages.append(Message(key=f"m{self._turn}", role=role, text=text, tokens=1))
        self._cumulative.append(self._turn)


_RUN = RunRef(id="bench")
