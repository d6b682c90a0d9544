"""A tier whose price nobody knows, under a limit in money: refused at its place, however the policy is put to work."""

from pathlib import Path

import pytest

from governor.controls import Controls
from governor.errors import PolicyError
from governor.policy import check, load
from governor.policy.pricing import unpriced
from governor.prices import PriceBook

TEXT = """governor: 1
name: child
extends: ./parent.yaml
budgets: [{id: mine, scope: run, limit: {tokens: 5k}}, {id: money, scope: run, limit: {usd: 1}, hard: false}]
"""
PARENT = """governor: 1
name: parent
tiers:
  known: {model: "openai:gpt-4o"}
  mine: {model: "ollama:mine"}
"""


@pytest.fixture
def child(tmp_path: Path) -> Path:
    (tmp_path / "parent.yaml").write_text(PARENT, encoding="utf-8")
    (tmp_path / "child.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path / "child.yaml"


def test_the_error_is_at_the_model_in_the_file_that_names_it(child: Path) -> None:
    loaded = load(child)

    with pytest.raises(PolicyError) as caught:
        Controls.of(loaded.policy, PriceBook(loaded.policy), loaded.error_at)

    error = caught.value
    assert ("parent.yaml", 5, 17, "money") == (Path(error.file or "").name, error.line, error.column, error.rule)
    assert "tier mine (ollama:mine) has no known price, and budget money limits money" == error.message
    remedy = (
        "Add `price: {input: ..., output: ...}` to tiers.mine, in dollars per million tokens, or, where the name is an alias, "
        "`serves: [provider:model]`: the models that may answer under it."
    )
    assert remedy == error.remedy


def test_without_a_file_it_still_says_what_is_wrong(child: Path) -> None:
    policy = load(child).policy

    with pytest.raises(PolicyError, match=r"^tier mine \(ollama:mine\) has no known price") as caught:
        Controls.of(policy, PriceBook(policy))

    assert (None, None) == (caught.value.file, caught.value.line)


def test_a_mapping_has_no_lines_to_name() -> None:
    tiers = {"a": {"model": "ollama:mine"}}
    budgets = [{"id": "b", "scope": "run", "limit": {"usd": 1}}]
    loaded = load({"governor": 1, "name": "m", "tiers": tiers, "budgets": budgets})

    with pytest.raises(PolicyError, match=r"^<mapping>: tier a") as caught:
        Controls.of(loaded.policy, PriceBook(loaded.policy), loaded.error_at)

    assert caught.value.line is None


@pytest.mark.parametrize(
    "budget",
    [
        "{id: b, scope: run, limit: {usd: 1}}",
        "{id: b, scope: run, limit: {usd: 1}, hard: false}",
        "{id: b, scope: run, limit: {usd: 1}, mode: observe}",
        "{id: b, scope: run, limit: {tokens: 5k}}",
        "{id: b, scope: run, limit: {usd: 1}, tool: search}",
        "{id: b, scope: tool, limit: {usd: 1}}",
    ],
)
@pytest.mark.parametrize("model", ["ollama:mine", "openai:gpt-4o"])
def test_policy_check_and_a_governed_graph_refuse_the_same_policies(budget: str, model: str) -> None:
    loaded = load(f"governor: 1\nname: t\ntiers: {{a: {{model: '{model}'}}}}\nbudgets: [{budget}]\n")
    prices = PriceBook(loaded.policy)

    try:
        Controls.of(loaded.policy, prices, loaded.error_at)
    except PolicyError as error:
        refused = [(error.line, error.message)]
    else:
        refused = []

    remarks = [finding for finding in check(loaded) if finding.code == "unknown-price"]
    assert [line for line, _ in refused] == [finding.line for finding in remarks]
    assert [message for _, message in refused] == [message for _, message, _ in unpriced(loaded.policy, prices)]
