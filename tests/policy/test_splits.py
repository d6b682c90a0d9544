"""How branches share a budget, as policies say it: what is read, refused, merged, remarked on and put into words."""

from typing import Any

import pytest

from governor.errors import PolicyErrors
from governor.policy import load
from governor.policy.explain import explain
from governor.policy.lint import check
from governor.policy.merge import tighten
from governor.policy.schema import Policy
from governor.policy.splits import Weighted

HEAD = "governor: 1\nname: p\nidentity: {tenant: config.tenant}\n"


def ruled(split: Any) -> Policy:
    budget = {"id": "b", "scope": "run", "limit": {"calls": 9}, **({} if split is None else {"split": split})}
    return Policy.model_validate({"governor": 1, "name": "p", "budgets": [budget]})


def weighted(**weights: str) -> dict[str, Any]:
    return {"weighted": weights}


def remarks(budget: str) -> list[tuple[str, str, str]]:
    loaded = load(f"{HEAD}budgets: [{{id: b, limit: {{calls: 9}}, {budget}}}]\n")
    found = [each for each in check(loaded) if "split" in each.code or "weights" in each.code]
    return [(each.severity, each.code, each.path) for each in found]


def test_branches_share_one_pool_unless_the_policy_says_otherwise() -> None:
    assert "shared" == ruled(None).budgets[0].split


@pytest.mark.parametrize(
    "split", ["equal", "{weighted: {}}", "{weighted: {a: 0%}}", "{weighted: {a: 120%}}", "{even: 1}", "5"]
)
def test_what_is_no_split_is_refused_at_its_place(split: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load(f"{HEAD}budgets:\n  - {{id: b, scope: run, limit: {{calls: 9}}, split: {split}}}\n")

    assert {5} == {error.line for error in caught.value.errors}
    assert "split" in str(caught.value.errors[0])


def test_the_first_pattern_that_matches_a_nodes_name_or_path_is_its_weight() -> None:
    split = ruled(weighted(**{"desk/writer": "10%", "writer*": "20%", "*": "5%"})).budgets[0].split

    assert isinstance(split, Weighted)
    assert ["10%", "20%", "5%"] == [
        share.written
        for share in (split.of("writer", "desk/writer"), split.of("writer", "writer"), split.of("x", "x"))
        if share
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "tighter"),
    [
        (None, "even", True),
        ("shared", weighted(a="10%"), True),
        ("even", None, True),
        ("even", "even", True),
        ("even", "shared", False),
        ("shared", "escrow", True),
        ("escrow", "escrow", True),
        ("escrow", "even", False),
        ("even", "escrow", False),
        ("even", weighted(a="10%"), False),
        (weighted(a="50%"), "even", False),
        (weighted(a="50%"), "shared", False),
        (weighted(a="50%"), weighted(a="40%"), True),
        (weighted(a="50%"), weighted(a="50%", b="90%"), True),
        (weighted(a="50%"), weighted(b="10%"), False),
        (weighted(a="50%"), weighted(b="10%", a="50%"), False),
        (weighted(a="50%"), weighted(a="60%"), False),
    ],
    ids=str,
)
def test_a_child_may_share_a_budget_out_and_never_pool_it_again(ours: Any, theirs: Any, tighter: bool) -> None:
    parent, child = ruled(ours), ruled(theirs)

    merged, loosened = tighten(parent, child)

    assert ([] if tighter else [("budgets", 0, "split")]) == [each.path for each in loosened]
    kept = child if tighter and theirs is not None else parent
    assert kept.budgets[0].split == merged.budgets[0].split


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("scope: run, split: even", []),
        ("scope: run, split: {weighted: {a: 60%, b: 40%}}", []),
        ("scope: run, hard: false, split: even", [("error", "split-without-effect", "budgets.0.split")]),
        ("scope: run, mode: observe, split: even", [("error", "split-without-effect", "budgets.0.split")]),
        ("scope: node, split: even", [("warning", "split-of-node", "budgets.0.split")]),
        ("scope: tool, split: even", [("warning", "split-of-tool", "budgets.0.split")]),
        (
            "scope: run, split: {weighted: {a: 60%, b: 50%}}",
            [("warning", "weights-above-limit", "budgets.0.split")],
        ),
    ],
)
def test_a_split_that_does_not_do_what_it_seems_to_say_is_remarked_on(budget: str, expected: list[Any]) -> None:
    assert expected == remarks(budget)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("even", "; of branches side by side each may use an even part of it."),
        (
            weighted(a="50%"),
            "; of branches side by side each may use at most: `a` 50%, and any other node's what is left.",
        ),
        ("escrow", "each has an even part of what is left reserved, and gives back what it does not use."),
        ("shared", "9 calls."),
    ],
    ids=str,
)
def test_a_policy_is_explained_with_how_branches_share(split: Any, words: str) -> None:
    sentences = [each.text for each in explain(load(ruled(split)))]

    assert any(words in sentence for sentence in sentences)


def test_a_budget_that_other_runs_count_on_is_better_not_reserved_by_one_runs_branches() -> None:
    loaded = load(f"{HEAD}budgets: [{{id: b, limit: {{calls: 9}}, scope: tenant, split: escrow}}]\n")
    own = load(f"{HEAD}budgets: [{{id: b, limit: {{calls: 9}}, scope: run, split: escrow}}]\n")

    assert ["warning"] == [each.severity for each in check(loaded) if each.code == "escrow-of-shared"]
    assert [] == [each for each in check(own) if "escrow" in each.code]
