"""A call that is billed beyond what was held for it is charged in full, and said to be."""

from __future__ import annotations

from typing import Any

import pytest

from governor.calls import ModelResponse
from governor.decisions import Decision
from governor.effects import Decided
from governor.errors import RunStopped
from governor.usage import Usage
from tests.core.test_pipeline import GOOD, Path
from tests.core.test_telemetry import STEP, Recorded, recorded

__all__ = ["recorded"]

BUDGET: dict[str, Any] = {"id": "t", "scope": "tenant", "limit": {"output_tokens": 600}}
BEYOND = ModelResponse(text="long", usage=Usage(input=100, output=900), finish="stop")


def breaches(path: Path) -> list[Decision]:
    decisions = [effect.decision for effect in path.effects if isinstance(effect, Decided)]
    return [each for each in decisions if each.reason is not None and each.reason.code == "budget.breach"]


def test_a_bill_beyond_the_hold_is_reported_once_charged_in_full_and_the_next_call_is_refused() -> None:
    path = Path(budgets=[BUDGET])

    assert "long" == path.model(BEYOND).text
    assert [(500, 900)] == [
        (each.reason.evidence["held"], each.reason.evidence["charged"]) for each in breaches(path) if each.reason
    ]
    assert [(900, 300)] == [(each.spent, each.debt) for each in path.runtime.store.balances()]
    with pytest.raises(RunStopped):
        path.model(GOOD)


@pytest.mark.parametrize(
    "budget", [BUDGET, BUDGET | {"limit": {"time": "1h"}}, BUDGET | {"hard": False}], ids=["within", "time", "soft"]
)
def test_what_was_no_hard_bound_or_was_kept_is_no_breach(budget: dict[str, Any]) -> None:
    path = Path(budgets=[budget])

    path.model(GOOD if budget is BUDGET else BEYOND)

    assert [] == breaches(path)


def test_a_breach_is_counted_by_budget(recorded: Recorded) -> None:
    path = Path(budgets=[BUDGET])
    path.model(BEYOND)

    for decision in breaches(path):
        recorded.telemetry.decided(recorded.telemetry.step(STEP, None), STEP, decision)

    assert [({"budget": "t"}, 1)] == recorded.points("governor.breach")
