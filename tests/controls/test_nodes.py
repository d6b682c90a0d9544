"""Which nodes may run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import PolicyError
from governor.calls import RunRef, StepRef
from governor.controls.access import NodeAccess
from governor.decisions import ALLOWED, Verdict
from governor.policy import load

RUN = RunRef(id="r", thread=None, scopes={}, policy_hash="h", started_ms=0)


def access(mode: str = "enforce", **nodes: Any) -> NodeAccess:
    return NodeAccess(load({"governor": 1, "name": "n", "mode": mode, "nodes": nodes}).policy)


def step(path: str) -> StepRef:
    return StepRef(run=RUN, node=path.rpartition("/")[2], path=path, ns=f"{path}:1")


def rule(name: str, node: Any, decide: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "node": node, "decide": decide, **more}


def test_without_rules_every_node_runs() -> None:
    assert access().decide(step("orders/worker")) is ALLOWED


def test_under_default_deny_only_declared_nodes_run_by_name_or_path() -> None:
    control = access(default="deny", rules=[rule("own", ["planner", "orders/*"], "allow")])

    assert ALLOWED == control.decide(step("planner"))
    assert ALLOWED == control.decide(step("orders/worker"))
    refused = control.decide(step("refunds/worker"))
    assert (Verdict.STOP, "nodes.default") == (refused.verdict, refused.reason and refused.reason.rule)
    assert refused.reason is not None
    assert "refunds/worker" == refused.reason.seen


def test_an_observed_denial_is_reported_and_lets_the_node_run() -> None:
    decision = access(rules=[rule("try", "planner", "deny", mode="observe")]).decide(step("planner"))

    assert decision.observed
    assert not decision.refuses


@given(st.permutations([rule("a", "*", "allow"), rule("b", "plan*", "deny"), rule("c", "planner", "allow")]))
def test_a_denial_wins_in_any_order(rules: list[dict[str, Any]]) -> None:
    control = access(rules=rules)

    assert Verdict.STOP is control.decide(step("planner")).verdict
    assert ALLOWED == control.decide(step("worker"))


@pytest.mark.parametrize(
    "child",
    [
        {"default": "allow"},
        {"rules": [rule("no", "shell", "allow")]},
        {"rules": [rule("no", "shell_1", "deny")]},
        {"rules": [rule("yes", "*", "allow")]},
    ],
)
def test_a_policy_that_extends_another_cannot_loosen_its_nodes(child: dict[str, Any], tmp_path: Any) -> None:
    parent = tmp_path / "parent.yaml"
    parent.write_text(
        "governor: 1\nname: parent\nnodes:\n  default: deny\n  rules:\n"
        '    - {id: "no", node: "shell*", decide: deny}\n    - {id: "yes", node: ["planner", "worker"], decide: allow}\n'
    )

    with pytest.raises(PolicyError, match="nodes"):
        load({"governor": 1, "name": "child", "extends": str(parent), "nodes": child})


def test_it_may_tighten_them(tmp_path: Any) -> None:
    parent = tmp_path / "parent.yaml"
    parent.write_text(
        'governor: 1\nname: parent\nnodes: {rules: [{id: "yes", node: ["planner", "worker"], decide: allow}]}\n'
    )
    nodes = {"default": "deny", "rules": [rule("yes", "planner", "allow")]}

    merged = load({"governor": 1, "name": "child", "extends": str(parent), "nodes": nodes})

    control = NodeAccess(merged.policy)
    assert ALLOWED == control.decide(step("planner"))
    assert Verdict.STOP is control.decide(step("worker")).verdict
