"""What is said of a degrade ladder that does not do what it seems to say."""

import pytest

from governor.policy.explain import explain
from governor.policy.lint import check
from governor.policy.load import load

TIERS = "tiers: {a: {model: 'openai:gpt-5.4'}, b: {model: 'openai:gpt-5.4-mini'}}\nrouting: {default: a}\n"
BUDGET = "budgets: [{id: run, scope: run, limit: {model_calls: 9}}]\n"
WHOLE = "[{at: 60%, do: compact}, {at: 75%, do: lower_tier}, {at: 85%, do: {max_output_tokens: 512, fan_out: 2}}, {at: 92%, do: last_call}]"


def remarks(ladder: str, before: str = TIERS + BUDGET) -> list[tuple[str, str]]:
    loaded = load(f"governor: 1\nname: p\n{before}ladder: {ladder}\n")
    return [(each.code, each.path) for each in check(loaded) if each.code.startswith("ladder")]


def test_the_ladder_of_the_design_has_nothing_against_it() -> None:
    assert [] == remarks(WHOLE)


@pytest.mark.parametrize(
    ("ladder", "code", "path"),
    [
        ("[{at: 50%, do: lower_tier}, {at: 60%, do: compact}]", "ladder-out-of-order", "ladder.1"),
        ("[{at: 50%, do: {fan_out: 2}}, {at: 60%, do: lower_tier}]", "ladder-out-of-order", "ladder.1"),
        ("[{at: 50%, do: last_call}, {at: 60%, do: compact}]", "ladder-after-last-call", "ladder.1"),
        (
            "[{at: 50%, do: {fan_out: 2}}, {at: 60%, do: {fan_out: 3}}]",
            "ladder-loosens",
            "ladder.1.do.fan_out",
        ),
        (
            "[{at: 50%, do: {max_output_tokens: 500}}, {at: 60%, do: {max_output_tokens: 1k}}]",
            "ladder-loosens",
            "ladder.1.do.max_output_tokens",
        ),
    ],
)
def test_a_rung_that_comes_in_the_wrong_place_is_reported_there(ladder: str, code: str, path: str) -> None:
    assert [(code, path)] == remarks(ladder)


@pytest.mark.parametrize("tiers", ["", "tiers: {a: {model: 'openai:gpt-5.4'}}\nrouting: {default: a}\n"])
def test_lowering_the_tier_needs_a_tier_to_go_down_to(tiers: str) -> None:
    assert [("ladder-without-tiers", "ladder.0.do")] == remarks("[{at: 75%, do: lower_tier}]", tiers + BUDGET)


@pytest.mark.parametrize(
    "budgets",
    [
        "",
        "budgets: [{id: run, scope: run, hard: false, limit: {model_calls: 9}}]\n",
        "budgets: [{id: run, scope: run, mode: observe, limit: {model_calls: 9}}]\n",
    ],
)
def test_a_ladder_without_a_hard_budget_is_never_reached(budgets: str) -> None:
    assert [("ladder-without-budget", "ladder")] == remarks(WHOLE, TIERS + budgets)


def test_each_rung_is_read_in_a_sentence_that_says_what_changes() -> None:
    loaded = load(f"governor: 1\nname: p\n{TIERS}{BUDGET}ladder: {WHOLE}\n")
    said = [each.text for each in explain(loaded) if each.text.startswith("From ")]

    assert ["60%", "75%", "85%", "92%"] == [text.split()[1] for text in said]
    assert "answers have at most 512 tokens and a run makes at most 2 model calls at once" in said[2]
    assert "one last model call, without tools" in said[3]
