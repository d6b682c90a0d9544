"""A run as the loop control sees it, driven by hand, and the strategies that its properties share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

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
from governor.decisions import Verdict
from governor.plans import Admission
from governor.policy.schema import Policy
from governor.runs import RunState, dump_state, parse_state

MODEL = ModelRef(provider="anthropic", model="claude")
LONG = "A page with enough on it to be content rather than an acknowledgement. " * 4


def loop(**loops: Any) -> Loop:
    """The control of a policy with this `loops` part."""
    return Loop(policy(**loops))


def policy(*, mode: str = "enforce", routing: dict[str, Any] | None = None, **loops: Any) -> Policy:
    return Policy.model_validate({"governor": 1, "name": "t", "mode": mode, "loops": loops, "routing": routing or {}})


def message(role: Any, text: str, key: str = "") -> Message:
    return Message(key=key or f"{role}:{text}", role=role, text=text, tokens=1)


@dataclass
class Run:
    """Drives one run through the control, the way the path does, one step after the other."""

    control: Loop
    state: RunState = field(default_factory=RunState)
    now: int = 0
    history: list[Message] = field(default_factory=lambda: [message("user", "Please do it.")])
    steps: int = 0
    stored: bool = False
    """Write the state to bytes and read it back after every change."""

    def keep(self, state: RunState) -> None:
        self.state = parse_state(dump_state(state)) if self.stored else state

    def step(self, ns: str | None = None, *, node: str = "agent", depth: int = 0) -> StepRef:
        self.steps += 1
        return StepRef(run=RunRef(id="r"), node=node, path=node, ns=ns or f"{node}:{self.steps}", depth=depth)

    def model(
        self, text: str = "", *uses: ToolUse, ns: str | None = None, depth: int = 0, tokens: int = 0
    ) -> Admission:
        """One model call; answers what the control said before it. A stop ends it there."""
        messages = list(self.history)
        history = History(messages=messages, cumulative=[1] * len(messages), index={})
        call = ModelCall(step=self.step(ns, depth=depth), ordinal=self.steps, history=history, model=MODEL)
        admission = self.control.admit_model(self.state, call, self.now)
        if admission.decision.refuses:
            return admission
        self.keep(replace(self.state, loop=replace(self.state.loop, note=None)))
        response = ModelResponse(text=text, tool_uses=uses)
        self.keep(self.control.observe_model(self.state, call, response, self.now, tokens))
        self.history.append(message("assistant", text, key=f"a{self.steps}"))
        return admission

    def tool(
        self,
        name: str,
        args: dict[str, object],
        result: str,
        *,
        id: str = "",  # noqa: A002 - a tool call's own word
        ns: str | None = None,
        failed: bool = False,
    ) -> Admission:
        """One tool call; answers what the control said before it. A blocked call is observed as blocked."""
        call = ToolCall(step=self.step(ns), name=name, args=args, id=id or f"call-{self.steps}")
        admission = self.control.admit_tool(self.state, call, self.now)
        if admission.decision.refuses:
            if admission.decision.verdict is Verdict.DENY:
                self.keep(self.control.observe_block(self.state, call, admission))
            return admission
        self.keep(self.control.observe_tool(self.state, call, ToolResult(text=result, failed=failed), self.now))
        return admission

    def turn(self, name: str, args: dict[str, object], result: str, **kwargs: Any) -> str:
        """A model call that asks for one tool call, and the tool call. The strongest word said: allow, nudge, deny or stop."""
        id_ = f"use-{self.steps}"
        before = self.model("", ToolUse(id=id_, name=name, args=args))
        if before.decision.refuses:
            return str(before.decision.verdict)
        after = self.tool(name, args, result, id=id_, **kwargs)
        return str(after.decision.verdict if after.decision.reason else before.decision.verdict)


words = st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", min_size=1, max_size=12)

cycles = st.lists(st.integers(0, 4), min_size=1, max_size=16)
"""One period of a cycle, as letters of an alphabet of five."""

noise = st.fixed_dictionaries(
    {
        "request_id": st.uuids().map(str),
        "timestamp": st.datetimes().map(lambda moment: moment.isoformat()),
        "attempt": st.integers(0, 1_000),
        "nonce": st.text(max_size=8),
    }
)
"""Arguments that say nothing about what is asked for."""

_moments = st.builds(
    "2026-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}Z".format,
    *(st.integers(low, high) for low, high in ((1, 12), (1, 28), (0, 23), (0, 59), (0, 59))),
)

volatile = st.one_of(
    st.uuids().map(str),
    _moments,
    st.integers(1_500_000_000, 1_999_999_999).map(str),
    st.integers(1, 99_999).map(lambda tenths: f"{tenths // 10}.{tenths % 10}s"),
    st.binary(min_size=8, max_size=20).map(bytes.hex).filter(lambda text: any(c.isalpha() for c in text)),
    st.text(alphabet="abcdef0123456789", min_size=4, max_size=8).map(lambda name: f"/tmp/tmp{name}"),
)
"""What results carry that changes from one call to the next of itself."""
