"""From a policy with a snapshot and a judge to the tier that answers."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from governor.calls import ModelCall, ModelRef, ModelResponse, RunRef, StepRef
from governor.drive import drive
from governor.effects import Summarise
from governor.pipeline import model_call
from governor.policy.lint import check
from governor.policy.load import load
from governor.routing.snapshot import Snapshot, write_snapshot
from governor.routing.table import Cell
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from governor.usage import Usage
from tests.controls.histories import history, user

POLICY = """
governor: 1
name: judged
mode: enforce
tiers:
  frontier: {{model: "bedrock_converse:anthropic.claude-sonnet-4-5-20250929-v1:0"}}
  student: {{model: "bedrock_converse:amazon.nova-pro-v1:0"}}
  judge: {{model: "openai:gpt-4o-mini"}}
routing:
  default: student
  estimator: {{kind: judge, settings: {{tier: judge, budget_ms: 10000, mode: {mode}}}}}
  frontier_share: 20%
  snapshot: routing.json
"""
CELL = Cell(key=("agent",), n=400, both=340, gain=20, weak_only=10, neither=30, graded=10_000_000)
SNAPSHOT = Snapshot(
    weak="student",
    strong="frontier",
    table=(Cell(key=(), n=400, both=340, gain=20, weak_only=10, neither=30, graded=10_000_000), CELL),
    quantiles=tuple(range(0, 510_000, 10_000)),
)
GOOD = ModelResponse(text="fine", usage=Usage(input=100, output=10), finish="stop")


class Judged:
    """A runtime whose judge gives every dimension the same score."""

    def __init__(self, folder: Path, score: int | None, mode: str = "inline") -> None:
        (folder / "p.yaml").write_text(POLICY.format(mode=mode), encoding="utf-8")
        write_snapshot(folder / "routing.json", SNAPSHOT)
        self.loaded = load(folder / "p.yaml")
        self.runtime = Runtime(self.loaded, store=MemoryStore(), clock=FakeClock(), new_id=FakeIds())
        self.score = score
        self.tiers: list[str | None] = []

    def invoke(self, effect: Any) -> ModelResponse:
        effect.meter.dispatched = True
        if isinstance(effect, Summarise):
            scores = ", ".join(f'"{name}": {self.score}' for name in ("logic_depth", "math", "ambiguity", "precision"))
            text = "too hard to say" if self.score is None else f"{{{scores}}}"
            return ModelResponse(text=text, usage=Usage(input=400, output=30), finish="stop")
        self.tiers.append(effect.request.tier)
        return GOOD

    def answers(self, node: str = "agent") -> str | None:
        step = StepRef(run=RunRef(id="run", thread="t"), node=node, path=node, ns=f"{node}:1")
        call = ModelCall(
            step=step,
            ordinal=0,
            history=history([user("prove it")]),
            model=ModelRef(provider="openai", model="gpt-4o"),
            lane=f"{node}#u",
            max_output_tokens=500,
        )
        flow = model_call(call, self.runtime.controls)
        drive(flow, lambda effect: self.runtime.perform(effect, INVALID_SPAN, self.invoke))
        for thread in tuple(self.runtime.asides._threads):
            thread.join()
        return self.tiers[-1]


@pytest.mark.parametrize(
    ("mode", "score", "tier"),
    [("inline", 3, "frontier"), ("inline", 0, "student"), ("inline", None, "student"), ("shadow", 3, "student")],
    ids=["a demanding step", "an easy one", "no rating: the table decides", "a shadow decides nothing"],
)
def test_a_rating_decides_where_it_may(tmp_path: Path, mode: str, score: int | None, tier: str) -> None:
    assert tier == Judged(tmp_path, score, mode).answers()


def test_of_a_node_without_records_an_easy_rating_says_nothing_and_the_better_tier_answers(tmp_path: Path) -> None:
    assert "frontier" == Judged(tmp_path, 0).answers("another")


def test_a_policy_with_a_judge_is_enforced_and_loads_without_a_remark_about_that(tmp_path: Path) -> None:
    codes = [finding.code for finding in check(Judged(tmp_path, 0).loaded)]

    assert [] == [code for code in codes if code in ("not-yet-enforced", "no-snapshot")]
