"""A policy read aloud."""

from pathlib import Path

import pytest
from hypothesis import given

from governor.policy import Policy, load
from governor.policy.explain import as_text, explain
from tests.policy.strategies import policies

EXAMPLE = Path(__file__).with_name("example.yaml")


def test_every_rule_is_read_in_a_sentence_of_its_own() -> None:
    said = {sentence.rule: sentence.text for sentence in explain(load(EXAMPLE)) if sentence.rule}

    assert "A call of tool `issue_refund` when `args.amount_usd` is at most `100` is allowed." == said["small-refunds"]
    assert said["big-refunds"].endswith("needs a person's approval; no answer within 15m means no.")
    assert said["no-writes"].endswith('The model is told: "This database is read-only. Ask for a report instead."')
    assert "tool `read_customer_*` was called before needs" in said["read-then-send"]
    assert "Node `legal_review` is answered by `frontier`, and nothing may change that." == said["pinned"]
    assert "Each run may spend at most $0.50 and 400k tokens and 60 model calls and 120 tool calls." == said["run"]
    assert "Each tenant may spend at most $25 in each fixed window of 1d (UTC)." == said["tenant-day"]
    assert "Each org may spend at most $5000 a month; beyond that there is an alert, no refusal." == said["org-month"]
    assert said["search-fees"].endswith("20 calls on tool `web_search` (each call costs $0.01).")


def test_what_is_not_enforced_yet_is_read_as_such() -> None:
    sentences = explain(load(EXAMPLE))

    pending = {sentence.text for sentence in sentences if not sentence.enforced}
    assert "Removed from text: email, card_number." in pending
    assert "A rising `state.todo_done` counts as progress." in {said.text for said in sentences if said.enforced}
    paced = "`frontier` takes at most 400k tokens and 100 calls a minute; a call beyond that waits up to 20s."
    assert paced in {sentence.text for sentence in sentences if sentence.enforced}
    assert "A run takes at most 200 steps." not in pending


def test_text_in_traces_is_read_as_not_yet_there_and_its_absence_as_a_fact() -> None:
    for word, enforced in (("none", True), ("redacted", False), ("full", False)):
        sentences = explain(load(f"governor: 1\nname: t\ntrace: {{content: {word}}}\n"))

        (said,) = [sentence for sentence in sentences if sentence.topic == "telemetry"]
        assert enforced is said.enforced
        assert enforced is not as_text(sentences).endswith("(accepted, not yet enforced)")


def test_the_reading_names_the_parents_and_the_lines() -> None:
    loaded = load(EXAMPLE)
    sentences = explain(loaded)

    assert any("It tightens `baseline`" in sentence.text for sentence in sentences)
    (mail,) = [sentence for sentence in sentences if sentence.rule == "read-then-send"]
    assert "read-then-send" in EXAMPLE.read_text(encoding="utf-8").splitlines()[mail.line - 1]
    assert "TOOLS\n  - A tool call that no rule names is refused.\n" in as_text(sentences)
    assert "[no-writes]" in as_text(sentences)


def test_observing_is_never_read_as_protection() -> None:
    text = """governor: 1
name: t
tools:
  rules:
    - {id: a, tool: x, node: planner, when: {args.q: {exists: false}, args.b: true, user: {one_of: [u, v]}}, decide: deny, mode: observe}
    - {id: b, tool: "*", decide: nudge, tell: Try y., when: args.x < 5}
budgets: [{id: m, scope: run, limit: {usd: $1}, mode: observe}]
loops: {mode: observe, tools: [{tool: z, as: off}]}
"""  # fmt: skip
    said = {sentence.rule: sentence.text for sentence in explain(load(text)) if sentence.rule}

    assert said["a"] == (
        "A call of tool `x` from node `planner` when `args.q` is not given and `args.b` is true and `user` is one of `u`, `v`"
        " is refused (recorded only)."
    )
    assert said["b"].startswith("A call of any tool when the expression `args.x < 5` holds is not made")
    assert "Each run may spend at most $1 (recorded only)." == said["m"]
    assert "It only observes" in as_text(explain(load("governor: 1\nname: t\nmode: observe\n")))


@pytest.mark.parametrize(("word", "says"), [("refuse", "the run is stopped"), ("open", "calls go on unmetered")])
def test_what_happens_without_a_store_is_said(word: str, says: str) -> None:
    assert says in as_text(explain(load({"governor": 1, "name": "t", "on_store_loss": word})))


@given(policies)
def test_every_policy_can_be_read(policy: Policy) -> None:
    sentences = explain(load(policy))

    assert {rule.id for rule in (*policy.tools.rules, *policy.budgets)} <= {sentence.rule for sentence in sentences}
    assert as_text(sentences)


def test_what_happens_after_a_call_is_read_aloud() -> None:
    text = """governor: 1
name: t
tiers: {big: {model: "a:b"}, small: {model: "a:c", fallback: [big]}}
routing:
  default: small
  escalate: {after: [refusal, disagreement], repair: true}
  check: self_consistency
  hopeless: {after: 4, then: lower}
  rest: {after: 3, share: 50%, for: 20s}
"""
    said = " ".join(sentence.text for sentence in explain(load(text)) if sentence.enforced)

    for part in (
        "first asked for once more of the same model",
        "is asked for 3 times; 66% must agree with it",
        "When the best model has failed 4 times in a row, the run goes on without that model.",
        "When the provider of `small` fails, `big` answers in its stead",
        "failed 3 calls in a row, or 50% of its latest 20, is left alone for 20s",
    ):
        assert part in said


def test_what_is_kept_of_routed_steps_and_which_calls_are_made_twice_is_read_aloud() -> None:
    routing = "{outcomes: o.db, quality: {max_loss: 2%, shadow: 1%, shadow_per_day: 5}}"
    said = [each.text for each in explain(load(f"governor: 1\nname: t\nrouting: {routing}\n"))]

    assert "Routed steps and what came of them are kept in `o.db`, without text." in said
    assert any(text.startswith("Another tier answers 1% of the calls too, unseen, for at most ") for text in said)
