"""What a policy may say about the time after a call, what is wrong in it, and how it may be tightened."""

from pathlib import Path

import pytest

from governor.errors import PolicyErrors
from governor.policy import load

PARENT = """governor: 1
name: parent
tiers: {big: {model: "a:b"}, small: {model: "a:c", fallback: big}}
routing: {escalate: {after: [loop, refusal]}, hopeless: {after: 3, then: ask}}
"""
HEAD = "governor: 1\nname: child\nextends: ./parent.yaml\n"


def said_of(text: str | Path) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        load(text)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiers: {a: {model: 'x:y', fallback: b}}", "there is no tier `b`. Use one of a."),
        ("tiers: {a: {model: 'x:y', fallback: [a]}}", "tier `a` falls back to itself. Name other tiers."),
        ("routing: {hopeless: {after: 3}}", "`hopeless` counts what `routing.escalate.after` names"),
        ("routing: {check: self_consistency}", "is paid for and `routing.escalate.after` does not name `disagreement`"),
        ("routing: {check: {kind: self_consistency, samples: 1}}", "one answer agrees with itself"),
        ("routing: {check: {kind: self_consistency, samples: 10}}", "Write 2 to 9."),
        ("routing: {rest: {for: 30}}", "30 has no unit"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(text: str, message: str) -> None:
    assert any(message in said for said in said_of(f"governor: 1\nname: t\n{text}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routing: {escalate: {after: loop}, hopeless: {after: 4}}", "is 4, above the 3"),
        ("routing: {escalate: {after: loop}, hopeless: {then: lower}}", "is `lower`, weaker than `ask`"),
        ("tiers: {small: {model: 'a:c', fallback: [new]}, new: {model: 'a:d'}}", "`tiers.small.fallback` is set by"),
    ],
)
def test_a_run_is_given_up_no_later_and_fallbacks_stay(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "parent.yaml").write_text(PARENT, encoding="utf-8")
    child = tmp_path / "child.yaml"
    child.write_text(HEAD + text, encoding="utf-8")

    (said,) = said_of(child)

    assert message in said


def test_a_child_may_give_up_earlier_and_have_answers_repaired(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(PARENT, encoding="utf-8")
    path = tmp_path / "child.yaml"
    more = "routing: {escalate: {after: refusal, repair: true}, hopeless: {after: 2, then: stop}}\n"
    path.write_text(HEAD + more, encoding="utf-8")

    routing = load(path).policy.routing

    assert routing.hopeless is not None
    assert routing.escalate is not None
    assert (2, "stop", True) == (routing.hopeless.after, routing.hopeless.then, routing.escalate.repair)
