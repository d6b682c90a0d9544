"""What holds of any two policies that are merged."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.policy import Policy, evaluate, matches_glob, tighten
from governor.policy.merge_rules import globs_within
from governor.policy.rules import STRENGTH
from tests.policy.strategies import policies


def limits_of(policy: Policy) -> dict[str, int]:
    """Every limit of a policy by name."""
    found: dict[str, Any] = {f"limits.{name}": value for name, value in policy.limits}
    found |= {f"{budget.id}.{unit}": value for budget in policy.budgets for unit, value in budget.limit}
    found |= {f"loops.{name}": getattr(policy.loops, name) for name in ("nudge_at", "block_at", "stop_at")}
    found |= {"input": policy.context.max_input_tokens, "cap": policy.context.tool_results.cap}
    return {name: value for name, value in found.items() if value is not None}


def decision(policy: Policy, tool: str, amount: int) -> tuple[int, bool]:
    """How strictly a call is answered, and whether by a rule (else by default)."""
    facts = {"args": {"amount": amount}}
    matching = [
        STRENGTH[rule.decide]
        for rule in policy.tools.rules
        if policy.mode_of(rule.mode) == "enforce" and matches_glob(rule.tool, tool) and evaluate(rule.when, facts)
    ]
    return (max(matching), True) if matching else (STRENGTH[policy.tools.default], False)


@given(policies, policies)
def test_no_limit_of_a_merged_policy_is_above_its_parents(parent: Policy, child: Policy) -> None:
    merged, _ = tighten(parent, child)
    ours, theirs = limits_of(parent), limits_of(merged)

    assert set(ours) <= set(theirs)
    assert all(theirs[name] <= ours[name] for name in ours)


@given(policies, policies)
def test_where_nothing_is_loosened_the_child_is_taken_at_its_word(parent: Policy, child: Policy) -> None:
    merged, loosened = tighten(parent, child)
    theirs, wanted = limits_of(merged), limits_of(child)

    if not loosened:
        assert all(theirs[name] == wanted[name] for name in wanted)


@given(policies, policies, st.sampled_from(["get_a", "issue_refund", "run_sql", "other"]), st.integers(-10, 510))
def test_whatever_a_rule_of_the_parent_forbids_stays_as_forbidden(
    parent: Policy, child: Policy, tool: str, n: int
) -> None:
    merged, _ = tighten(parent, child)
    ours, by_rule = decision(parent, tool, n)
    theirs, _ = decision(merged, tool, n)

    if by_rule and ours > 0:
        assert theirs >= ours


@given(policies, policies)
def test_words_only_get_stricter(parent: Policy, child: Policy) -> None:
    merged, _ = tighten(parent, child)
    strict = ("observe", "enforce").index

    assert strict(merged.mode) >= strict(parent.mode)
    assert all(mine.hard or not base.hard for mine, base in zip(merged.budgets, parent.budgets, strict=False))
    assert STRENGTH[merged.tools.default] >= STRENGTH[parent.tools.default]
    ranks = ("full", "redacted", "none").index
    assert ranks(merged.trace.content) >= ranks(parent.trace.content)
    assert strict(merged.mode_of(merged.loops.mode)) >= strict(parent.mode_of(parent.loops.mode))


@given(policies, policies, st.sampled_from(["get_a", "search_b", "send_email", "other"]))
def test_only_a_tool_that_is_named_stops_being_judged_under_a_parent_that_answers_loops(
    parent: Policy, child: Policy, tool: str
) -> None:
    merged, _ = tighten(parent, child)

    def judged(policy: Policy) -> bool:
        return not any(each.never_judged and matches_glob(each.tool, tool) for each in policy.loops.tools)

    named = any(tool in each.tool for each in child.loops.tools)
    if parent.mode_of(parent.loops.mode) == "enforce" and judged(parent) and not named:
        assert judged(merged)


@given(policies, policies)
def test_merging_twice_changes_nothing(parent: Policy, child: Policy) -> None:
    merged, _ = tighten(parent, child)

    assert (merged, ()) == tighten(parent, merged)


@given(policies)
def test_a_policy_extends_itself_to_itself(policy: Policy) -> None:
    merged, loosened = tighten(policy, policy)

    assert (policy, ()) == (merged, loosened)


@pytest.mark.parametrize(
    ("narrow", "wide", "within"),
    [
        (["get_a"], ["get_*"], True),
        (["get_*"], ["*"], True),
        (["get_*"], ["get_*", "x"], True),
        (None, ["*"], True),
        (["x"], None, True),
        (None, ["get_*"], False),
        (["get_*"], ["get_a"], False),
        (["get_a", "x"], ["get_*"], False),
    ],
    ids=repr,
)
def test_patterns_lie_within_others_when_it_is_sure(
    narrow: list[str] | None, wide: list[str] | None, within: bool
) -> None:
    assert within is globs_within(narrow, wide)
