"""Policies, calls and verdicts, as the tests of tool access write them."""

from __future__ import annotations

from typing import Any

from governor.calls import RunRef, StepRef, ToolCall
from governor.controls.access import Access
from governor.policy.schema import Policy
from governor.runs import RunState

NOON = 1_700_000_000_000
STATE = RunState()


def access(*rules: dict[str, Any], default: str = "deny", mode: str = "enforce", **parts: Any) -> Access:
    tools = {"default": default, "rules": list(rules)}
    return Access(Policy.model_validate({"governor": 1, "name": "t", "mode": mode, "tools": tools, **parts}))


def rule(id_: str, tool: Any, decide: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "tool": tool, "decide": decide, **more}


def call(name: str, *, node: str = "agent", path: str | None = None, known: bool = True, **args: object) -> ToolCall:
    run = RunRef(id="r", thread="t", scopes={"tenant": "acme", "user": "u7"})
    step = StepRef(run=run, node=node, path=path or node, ns=f"{node}:1")
    return ToolCall(step=step, name=name, args=args, id="c1", known=known)


def verdict(control: Access, made: ToolCall, state: RunState = STATE) -> tuple[str, str]:
    """Verdict and reason code."""
    decision = control.decide(state, made, NOON)
    return str(decision.verdict), decision.reason.code if decision.reason else ""
