"""The degrade ladder in the path, driven without any graph: what is asked of the store, what is in the trace, that it never flaps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.calls import ModelResponse
from governor.effects import Decided
from governor.errors import RunStopped
from governor.runs import RunState, dump_state, parse_state
from governor.testing import FakeClock
from governor.usage import Usage
from governor.values import replace
from tests.core.test_pipeline import GOOD, Path, budget

RUNGS: list[dict[str, Any]] = [
    {"at": "60%", "do": "compact"},
    {"at": "75%", "do": "lower_tier"},
    {"at": "85%", "do": {"max_output_tokens": 300}},
    {"at": "92%", "do": "last_call"},
]
STORED = ("Change", "Reserve", "Settle", "Release")


def ladder_codes(path: Path) -> list[str]:
    decided = [effect.decision for effect in path.effects if isinstance(effect, Decided)]
    return [each.reason.code for each in decided if each.reason and each.reason.code.startswith("ladder.")]


def state(path: Path) -> RunState:
    return path.runtime.store.change("run", lambda before: (before, before))


def until_stopped(path: Path) -> int:
    """Model calls that were answered until the run was stopped."""
    for count in range(1_000):
        try:
            path.model(GOOD)
        except RunStopped:
            return count
    pytest.fail("the run was never stopped")


def test_a_ladder_that_is_not_reached_asks_nothing_more_of_the_store() -> None:
    bare, climbing = Path(**budget(model_calls=100)), Path(**budget(model_calls=100), ladder=RUNGS)

    for path in (bare, climbing):
        path.model(GOOD)

    assert bare.names() == climbing.names()


def test_on_a_rung_that_does_not_change_a_call_asks_no_more_than_on_none() -> None:
    path = Path(**budget(model_calls=100), ladder=RUNGS[:1])
    for _ in range(70):
        path.model(GOOD)

    path.effects.clear()
    path.model(GOOD)

    assert ["Change", "Reserve", "Settle", "Change"] == [name for name in path.names() if name in STORED]


def test_each_rung_that_a_share_reaches_is_in_the_trace_once_and_in_order() -> None:
    path = Path(**budget(model_calls=100), ladder=RUNGS)

    until_stopped(path)

    assert ["ladder.compact", "ladder.lower_tier", "ladder.clamp", "ladder.last_call"] == ladder_codes(path)


def test_a_rung_says_its_share_as_written_and_what_was_seen() -> None:
    path = Path(**budget(model_calls=10), ladder=RUNGS[:1])
    for _ in range(7):
        path.model(GOOD)

    (said,) = [
        each.decision for each in path.effects if isinstance(each, Decided) and each.decision.control == "ladder"
    ]
    assert said.reason is not None
    assert ("modify", "run", "60%") == (said.verdict, said.reason.rule, said.reason.limit)
    assert said.reason.seen is not None
    assert said.reason.seen.startswith("60")


def test_a_call_that_is_prepared_anew_gives_its_first_lease_back() -> None:
    path = Path(**budget(model_calls=10), ladder=RUNGS)

    answered = until_stopped(path)

    held = path.balance("model_calls")
    assert (answered, 0) == (held.spent, held.reserved)
    assert answered == len(path.requests())


def test_the_last_call_is_one_call_and_the_next_one_meets_on_exhausted() -> None:
    path = Path(**budget(model_calls=10), ladder=RUNGS[-1:])

    answered = until_stopped(path)

    assert 10 == answered
    assert [False] * 9 + [True] == [bool(sent.request.view.notes) for sent in path.requests()]


def test_a_last_call_that_fails_unbilled_can_be_made_again() -> None:
    path = Path(**budget(model_calls=10), ladder=RUNGS[-1:])
    for _ in range(9):
        path.model(GOOD)

    with pytest.raises(ValueError, match="no such field"):
        path.model(ValueError("no such field"))
    path.model(GOOD)

    assert path.requests()[-1].request.view.notes


def test_a_call_that_does_not_fit_walks_down_the_ladder_and_no_rung_twice() -> None:
    path = Path(**budget(tokens="700"), ladder=RUNGS)

    until_stopped(path)

    reserves = path.names().count("Reserve")
    assert reserves <= (len(path.requests()) + 1) * 2 * (len(RUNGS) + 1)


def test_what_a_ladder_did_is_kept_in_the_runs_state_and_survives_the_store() -> None:
    path = Path(**budget(model_calls=10), ladder=RUNGS)
    for _ in range(8):
        path.model(GOOD)

    kept = state(path)
    assert kept.ladder == parse_state(dump_state(kept)).ladder
    assert kept.ladder.rung >= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=5, max_size=60), st.integers(5_000, 40_000))
def test_degradation_is_monotone_in_what_was_spent(outputs: list[int], limit: int) -> None:
    path = Path(**budget(tokens=limit), ladder=RUNGS)
    rungs = [0]
    for output in outputs:
        usage = Usage(input=100, output=output)
        try:
            path.model(ModelResponse(text="fine", usage=usage, finish="stop"))
        except RunStopped:
            break
        rungs.append(state(path).ladder.rung)

    held = path.balance("tokens")
    assert all(before <= after for before, after in pairwise(rungs))
    assert held.spent <= limit
    assert 0 == held.reserved


def test_a_new_window_takes_a_run_off_the_last_rung_before_it_has_given_its_last_answer() -> None:
    daily = [{"id": "daily", "scope": "tenant", "per": "day", "limit": {"model_calls": 40}}]
    path = Path(budgets=daily, identity={"tenant": "acme"}, ladder=RUNGS[-1:])
    clock = path.runtime.clock = FakeClock()
    for _ in range(36):
        path.model(GOOD)
    path.runtime.store.change("run", _on_the_last_rung)

    clock.advance(86_400_000)
    path.model(GOOD)
    path.model(GOOD)

    assert [False, False] == [bool(sent.request.view.notes) for sent in path.requests()[-2:]]
    assert 0 == state(path).ladder.rung
    assert all(0 == each.reserved for each in path.runtime.store.balances())


def _on_the_last_rung(before: RunState) -> tuple[RunState, None]:
    return replace(before, ladder=replace(before.ladder, rung=1, used="93%", budget="daily")), None
