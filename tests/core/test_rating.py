"""The judge's call: what is asked of whom, what it is charged, and that no failure of it decides anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from governor.calls import Message, ModelResponse
from governor.controls.rate import Rate
from governor.drive import drive
from governor.effects import InvokeModel, Summarise
from governor.errors import RunStopped
from governor.routing.judge import Rating, key_of
from governor.usage import Usage
from tests.controls.histories import answer, asks, system, use, user
from tests.core.rated import ASKED, BIG, FEATURES, GOOD, RATED, SCORES, Path, asked, spent


def test_the_judge_is_shown_the_rubric_and_the_step_in_quotes_and_nothing_else() -> None:
    path = Path({"mode": "inline"})

    path.model()

    (effect,) = path.judged()
    request = effect.request
    assert ("small", "gpt-4o-mini", 96, False) == (
        request.tier,
        request.model.model,
        request.max_output_tokens,
        effect.appended,
    )
    rubric, step = request.view.history.messages
    assert ["system", "user"] == [rubric.role, step.role]
    assert '{"node": "agent", "newest_message": "prove it"}' == step.text
    assert effect.form is not None
    assert ("rate", 0) == (effect.form.name, effect.form.temperature)


def test_a_rating_is_known_when_the_call_is_routed_and_asked_for_once() -> None:
    path = Path({"mode": "inline", "budget_ms": 10_000})

    path.model()
    path.model()

    assert Rating(logic_depth=3, math=2, ambiguity=0, precision=1) == path.rating()
    assert [Summarise, InvokeModel, InvokeModel] == [type(effect) for effect in path.effects]
    told = path.estimator.estimate(FEATURES)
    assert told is not None
    assert ("judge", "3") == (told.layer, told.facts["judge_logic_depth"])


def test_it_is_held_and_charged_on_the_runs_budget_and_on_a_line_of_its_own() -> None:
    path = Path({"mode": "inline", "budget_ms": 10_000}, budgets=[{"id": "run", "scope": "run", "limit": {"usd": 1}}])

    path.model()

    charged = (400 * 150 + 30 * 600) * 1  # gpt-4o-mini: $0.15 and $0.60 a million
    assert [(charged, 0)] == spent(path, "judge/run=run")
    ((run, held),) = spent(path, "run")
    assert (run > charged, 0) == (True, held)


def test_the_trace_names_the_step_by_a_digest_and_tells_the_scores() -> None:
    path = Path({"mode": "inline", "budget_ms": 10_000})

    path.model()

    facts = path.facts()
    assert facts["governor.judge"] is True
    assert [3, 2, 0, 1] == [facts[f"governor.judge.{name}"] for name in SCORES]
    assert facts["governor.judge.key"] == key_of("agent", "prove it").hex()[:32]
    assert path.beside[0][4] == "judge"
    assert [] == [value for value in facts.values() if "prove" in str(value)]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (replace(RATED, finish="refusal"), "the judge refused"),
        (replace(RATED, finish="length"), "cut by length"),
        (replace(RATED, invalid=True), "no valid form"),
        (ModelResponse(text="easy", usage=Usage(input=400, output=2), finish="stop"), "no JSON"),
        (TimeoutError(), "failed with TimeoutError"),
        (ValueError("bad request"), "failed with ValueError"),
        (RunStopped, "failed"),
    ],
    ids=["refusal", "length", "invalid", "prose", "timeout", "rejected", "a bug"],
)
def test_whatever_goes_wrong_the_next_estimator_speaks_and_the_call_is_made(answer: Any, why: str) -> None:
    path = Path(
        {"mode": "inline", "budget_ms": 10_000},
        judge=RuntimeError() if answer is RunStopped else answer,
        budgets=[{"id": "run", "scope": "run", "limit": {"usd": 1}}],
    )

    assert path.model() is GOOD

    assert [why in reason for reason in path.reasons()] == [True]
    assert path.rating() is None
    assert path.estimator.estimate(FEATURES) is None
    assert all(reserved == 0 for _, reserved in spent(path, ""))
    ((charged, _),) = spent(path, "judge/run=run")
    assert (charged == 0) is isinstance(answer, ValueError)


def test_a_run_spends_no_more_on_ratings_than_its_cap() -> None:
    path = Path({"mode": "inline", "budget_ms": 10_000, "max_cost": "0.0003", "when": "always"})

    for number in range(12):
        path.model([user(f"prove {number}")])

    ((charged, _),) = spent(path, "judge/run=run")
    assert 0 < charged <= 300_000
    assert 0 < len(path.judged()) < 12
    assert 12 == len(path.judged()) + len(path.reasons())
    assert "judge" in path.reasons()[-1]


def test_a_budget_that_runs_out_is_not_spent_on_ratings() -> None:
    path = Path(
        {"mode": "inline", "budget_ms": 10_000}, budgets=[{"id": "run", "scope": "run", "limit": {"tokens": 2_600}}]
    )
    path.runtime.store.change("run", lambda state: (replace(state, model_calls=1), None))

    path.model()
    calls = len(path.effects)

    assert calls == len(path.judged()) + 1


def test_under_a_cap_in_money_a_judge_without_a_price_is_not_asked() -> None:
    tiers = {
        "big": {"model": BIG, "max_output_tokens": "1k"},
        "small": {"model": "nobody:knows", "max_output_tokens": 64},
    }
    path = Path({"mode": "inline", "budget_ms": 10_000, "max_cost": "0.01"}, tiers=tiers)

    path.model()

    assert [] == path.judged()
    assert ["nobody knows the price" in reason for reason in path.reasons()] == [True]


CALLED = [*ASKED, asks("a", use("look")), answer("r", "look", "42")]


@pytest.mark.parametrize(
    ("when", "messages", "calls_before", "asks"),
    [
        ("boundary", ASKED, 5, True),
        ("boundary", CALLED, 0, False),
        ("always", CALLED, 5, True),
        ("first", ASKED, 0, True),
        ("first", ASKED, 1, False),
        ("always", [system("Nothing was said.")], 0, False),
        ("always", [user("  ")], 0, False),
    ],
)
def test_only_calls_that_the_policy_names_are_rated(
    when: str, messages: list[Message], calls_before: int, asks: bool
) -> None:
    path = Path({"mode": "inline", "budget_ms": 10_000, "when": when})
    path.runtime.store.change("run", lambda state: (replace(state, model_calls=calls_before), None))

    path.model(messages)

    assert asks is (len(path.judged()) == 1)


@pytest.mark.parametrize(
    ("policy", "call"),
    [
        ({"mode": "observe"}, {}),
        ({}, {"locked": True}),
        ({"rule": "agent"}, {}),
        ({"estimator": "hashed"}, {}),
    ],
    ids=["the policy observes", "provider state", "a rule decides", "another estimator"],
)
def test_nobody_is_asked_where_nothing_hangs_on_the_answer(policy: dict[str, Any], call: dict[str, Any]) -> None:
    routing: dict[str, Any] = {"default": "big", "estimator": {"kind": "judge", "settings": {"tier": "small"}}}
    if rule := policy.pop("rule", None):
        routing["rules"] = [{"id": "r", "when": {"node": rule}, "tier": "big"}]
    if estimator := policy.pop("estimator", None):
        routing["estimator"] = estimator
    path = Path(**{"routing": routing, **policy})

    path.model(**call)

    assert [] == path.judged()


def test_an_operator_who_halted_the_run_stops_the_judge_too() -> None:
    from governor.ledger import Adjustment, AdjustmentKind

    path = Path({"mode": "inline", "budget_ms": 10_000})
    halt = Adjustment(id="h", kind=AdjustmentKind.HALT, subject="run=run", who="ops", why="stop", at_ms=1)
    path.runtime.store.adjust(halt)

    with pytest.raises(RunStopped):
        path.model()

    assert [] == path.effects


def test_the_policy_side_is_pure() -> None:
    policy = Path().runtime.policy.policy
    rate = Rate(policy, Path().runtime.prices)
    state = drive(_state(), lambda effect: effect)

    first, second = rate.asking(state, asked()), rate.asking(state, asked())

    assert first == second
    assert first is not None


def _state() -> Any:
    from governor.runs import RunState

    yield from ()
    return RunState(model_calls=1)
