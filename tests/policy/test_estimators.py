"""Settings of `routing.estimator`: what each kind takes, where a mistake is, and what is said about them."""

from pathlib import Path

import pytest

from governor.errors import PolicyErrors
from governor.policy import load
from governor.policy.estimators import JudgeSettings, settings_of
from governor.policy.explain import explain

HEAD = 'governor: 1\nname: p\ntiers: {small: {model: "a:b", max_output_tokens: 1k, price: {input: 1, output: 2}}}\n'
ENCODER = "model: m.onnx, tokenizer: t.json"


def written(kind: str, settings: str = "") -> str:
    return HEAD + f"routing:\n  estimator:\n    kind: {kind}\n    settings: {{{settings}}}\n"


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("hashed", ""),
        ("off", ""),
        ("encoder", ENCODER),
        ("encoder", f"{ENCODER}, threads: 2, max_tokens: 128, pooling: cls, method: mean, when: always"),
        ("judge", "tier: small"),
        ("judge", "tier: small, mode: inline, budget_ms: 90, when: first, max_cost: 0.01, max_tokens: 64"),
        ("judge", "tier: small, send_temperature: false"),
        ("custom", "name: mine, anything: [1, 2]"),
    ],
)
def test_a_kind_takes_its_settings(kind: str, settings: str) -> None:
    estimator = load(written(kind, settings)).policy.routing.estimator

    assert kind == estimator.kind
    assert settings_of(estimator.kind, estimator.settings)


@pytest.mark.parametrize(
    ("kind", "settings", "message", "remedy"),
    [
        ("hashed", "depth: 3", "`estimator: hashed` has no setting `depth`", "Remove it."),
        (
            "encoder",
            "model: m.onnx",
            "`estimator: encoder` needs the setting `tokenizer`",
            "settings: {tokenizer: ...}",
        ),
        ("encoder", f"{ENCODER}, treads: 2", "has no setting `treads`", "Did you mean `threads`?"),
        ("encoder", f"{ENCODER}, threads: 3", "`threads`: input should be less than or equal to 2", "README"),
        ("encoder", f"{ENCODER}, threads: true", "`threads`: expected a whole number", "Write an integer."),
        ("encoder", f"{ENCODER}, method: best", "`best` is not one of `clusters`, `failures`", "Write `clusters`"),
        ("judge", "mode: inline", "`estimator: judge` needs the setting `tier`", "settings: {tier: ...}"),
        ("judge", "tier: smal", "there is no tier `smal`", "Did you mean `small`?"),
        ("judge", "tier: small, budget_ms: 0", "`budget_ms`: input should be greater than or equal to 1", "README"),
        ("judge", "tier: small, max_cost: -1", "`max_cost`: -1", "Write it like"),
        ("judge", "tier: small, send_temperature: 'no'", "`send_temperature`: ", "true"),
        ("custom", "anything: 1", "`estimator: custom` needs the setting `name`", "settings: {name: ...}"),
    ],
    ids=lambda value: value[:30],
)
def test_a_mistake_is_told_at_its_place_with_its_remedy(kind: str, settings: str, message: str, remedy: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load(written(kind, settings))

    (error,) = caught.value.errors
    assert message in str(error)
    assert remedy in (error.remedy or "")
    assert error.line in (5, 6, 7)


def test_a_judge_only_records_unless_it_is_told_otherwise() -> None:
    settings = load(written("judge", "tier: small")).policy.routing.estimator.settings

    judge = JudgeSettings.model_validate(settings)

    assert ("shadow", 150, "boundary", None) == (judge.mode, judge.budget_ms, judge.when, judge.max_cost)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (
            "judge",
            "tier: small",
            "`small` rates model calls that follow no tool's result by a rubric; this is recorded",
        ),
        ("judge", "tier: small, mode: inline, max_cost: 0.01", "for at most 0.01 a run; after 150 ms nobody waits"),
        ("encoder", ENCODER, "A local sentence encoder (m.onnx) tells steps"),
        ("custom", "name: mine", "A `mine (custom)` estimator"),
        ("hashed", "", "A `hashed` estimator"),
    ],
)
def test_it_is_read_aloud(kind: str, settings: str, said: str) -> None:
    assert [said] == [said for sentence in explain(load(written(kind, settings))) if said in sentence.text]


@pytest.mark.parametrize(
    ("child", "loosens"),
    [("max_cost: 0.02", True), ("mode: inline", True), ("max_cost: 0.01", False), ("max_cost: 0.005", False)],
)
def test_a_judge_that_is_extended_may_be_given_less_money_and_not_more(
    tmp_path: Path, child: str, loosens: bool
) -> None:
    (tmp_path / "parent.yaml").write_text(written("judge", "tier: small, max_cost: 0.01"), encoding="utf-8")
    text = f"governor: 1\nname: c\nextends: ./parent.yaml\nrouting: {{estimator: {{kind: judge, settings: {{tier: small, {child}}}}}}}\n"
    (tmp_path / "child.yaml").write_text(text, encoding="utf-8")

    if not loosens:
        assert load(tmp_path / "child.yaml").policy.routing.estimator.kind == "judge"
        return
    with pytest.raises(PolicyErrors, match=r"above the 0\.01 it may only lower"):
        load(tmp_path / "child.yaml")
