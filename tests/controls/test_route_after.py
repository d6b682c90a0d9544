"""After the call: gates, repair, the cap for hopeless runs, stand-ins. The path around them: `tests/core/test_after_path.py`."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelCall, ModelResponse, ToolResult, ToolSpec, ToolUse
from governor.controls.loop import Loop
from governor.controls.route import Route
from governor.decisions import Verdict
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor.routing.estimate import StepFeatures
from governor.routing.knowledge import Knowledge
from governor.runs import RunState
from tests.controls.histories import policy
from tests.controls.test_route import BAD, ESCALATE, GOOD, TIERS, _tool_call, at, code, request, route, routing, state

SEARCH = ToolSpec(
    name="search",
    tokens=10,
    schema={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)
WORDS = [*ESCALATE["after"], "invalid_arguments", "duplicate_call", "disagreement"]  # type: ignore[misc]


def every(**fields: object) -> Policy:
    return routing(escalate={**ESCALATE, "after": WORDS, **fields})


def calls(*uses: tuple[str, Any]) -> ModelResponse:
    made = tuple(ToolUse(id=str(number), name=name, args=args) for number, (name, args) in enumerate(uses))
    return ModelResponse(tool_uses=made, finish="tool_use")


def asking(**fields: object) -> ModelCall:
    return replace(at(), tools=(SEARCH,), **fields)


FORM = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


@pytest.mark.parametrize(
    ("answer", "form", "failed", "signal"),
    [
        (calls(("search", None)), None, None, "invalid_output"),
        (calls(("search", {})), None, None, "invalid_arguments"),
        (calls(("search", {"query": "a"})), None, "search", "duplicate_call"),
        (calls(("search", {"query": "a"})), None, None, None),
        (calls(("unknown", {})), None, None, None),
        (ModelResponse(text="about ten"), FORM, None, "invalid_output"),
        (ModelResponse(text='{"sum": 1}'), FORM, None, "invalid_output"),
        (ModelResponse(text='{"total": 1}', finish="stop"), FORM, None, None),
        (ModelResponse(text="I will not.", finish="refusal"), FORM, None, "refusal"),
        (ModelResponse(text='{"tot', finish="length"), FORM, None, "cut_off"),
        (calls(("search", {"query": "a"})), FORM, None, None),
    ],
)
def test_each_gate_has_its_word(answer: ModelResponse, form: Any, failed: str | None, signal: str | None) -> None:
    judged = route(every()).judge(state(), request(asking(form=form), "student"), answer, failed=failed)

    assert signal == judged.signal
    assert (signal is not None) == (judged.again is not None)
    assert signal is None or judged.decision.reason is not None


def test_a_gate_that_the_policy_does_not_name_is_told_and_moves_nothing() -> None:
    judged = route().judge(state(), request(asking(), "student"), calls(("search", {})))

    assert ("invalid_arguments", None) == (judged.signal, judged.again)


# --- the same call that failed before


def failing(*results: tuple[dict[str, Any], str, bool]) -> RunState:
    """The state after calls of `search` with these arguments, results, and whether they failed."""
    loop, now = Loop(policy()), state()
    for number, (args, text, failed) in enumerate(results):
        call = replace(_tool_call(), args=args, id=str(number))
        now = loop.observe_tool(now, call, ToolResult(text=text, failed=failed), number)
    return now


LONG = "Found: " + "a line of a document that was really there. " * 20


@pytest.mark.parametrize(
    ("before", "again"),
    [
        ([({"query": "a"}, "no such index", True)], True),
        ([({"query": "b"}, "no such index", True)], False),
        ([({"query": "a"}, "no such index", True), ({"query": "b"}, "no such index", True)], True),
        ([({"query": "a"}, "no such index", True), ({"query": "b"}, LONG, False)], False),
        ([({"query": "a"}, "no such index", True), ({"query": "b"}, "saved", False)], False),
        ([({"query": "a"}, "503 service unavailable", True)], False),
        ([({"query": "a"}, LONG, False)], False),
    ],
)
def test_a_call_is_a_duplicate_when_it_failed_before_and_nothing_went_well_since(before: Any, again: bool) -> None:
    found = Loop(policy()).fails_again(failing(*before), at(), calls(("search", {"query": " A "})))

    assert ("search" if again else None) == found


def test_a_poll_may_be_asked_again_whatever_came_of_it() -> None:
    loop = Loop(policy(loops={"tools": [{"tool": "search", "as": "poll"}]}))

    assert loop.fails_again(failing(({"query": "a"}, "no", True)), at(), calls(("search", {"query": "a"}))) is None


# --- repair


def test_the_same_tier_repairs_once_what_can_be_said_and_then_a_better_one_is_asked() -> None:
    control, call = route(every(repair=True)), asking()
    chosen = control.choose(state(), call)

    first = control.judge(state(), request(call, "student"), calls(("search", {})), chosen)
    assert first.again is not None
    assert ("student", "route.repair", False) == (first.again.tier, code(first.again), first.again.escalated)
    assert "`query` is missing" in str(first.again.note)
    kept = control.observe_model(state(), request(call, "student"), first, chosen)
    assert state() == kept

    second = control.judge(state(), request(call, "student"), calls(("search", {})), first.again)
    assert second.again is not None
    assert ("frontier", True) == (second.again.tier, second.again.escalated)


@pytest.mark.parametrize("answer", [BAD["refusal"], BAD["empty"], BAD["cut_off"]])
def test_what_no_words_would_mend_goes_to_the_better_tier_at_once(answer: ModelResponse) -> None:
    control = route(every(repair=True))
    judged = control.judge(state(), request(at(), "student"), answer, control.choose(state(), at()))

    assert judged.again is not None
    assert "frontier" == judged.again.tier


# --- hopeless runs


def hopeless(then: str = "stop", after: int = 2) -> Route:
    dumped = every(at_most=50).model_dump(by_alias=True, exclude_defaults=True)
    dumped["routing"]["hopeless"] = {"after": after, "then": then}
    made = Policy.model_validate(dumped)
    return Route(made, PriceBook(made))


EVENTS = st.lists(st.sampled_from(["fine", "tool", "answer"]), min_size=1, max_size=25)


@given(EVENTS, st.integers(1, 4), st.sampled_from(["stop", "ask", "lower"]))
def test_a_run_whose_best_tier_fails_that_often_in_a_row_pays_for_it_no_more(
    events: list[str], after: int, then: str
) -> None:
    control, now, row, call = hopeless(then, after), state(0), 0, at("planner")
    for event in events:
        now = replace(now, model_calls=now.model_calls + 1)
        chosen = control.choose(now, call)
        given_up = row >= after
        stops = chosen.decision.verdict is Verdict.STOP
        assert stops == (given_up and then != "lower")
        assert (chosen.tier != "frontier") == (given_up and then == "lower")
        if given_up:
            assert "route.hopeless" == code(chosen)
            if stops:
                return
        answer = BAD["refusal"] if event == "answer" else GOOD
        judged = control.judge(now, request(call, chosen.tier), answer, chosen)
        now = control.observe_model(now, request(call, chosen.tier), judged, chosen)
        if event == "tool":
            now = control.observe_tool(now, _tool_call(), ToolResult(text="no", failed=True))
        if chosen.tier == "frontier":
            row = row + 1 if event != "fine" else 0


def test_failures_of_a_cheaper_tier_do_not_count() -> None:
    rules = every(at_most=1)
    control = hopeless(after=1)
    now = state(5, signals=("tool_error",))

    assert not route(rules).choose(now, at()).decision.refuses
    assert not control.choose(now, at()).decision.refuses


# --- stand-ins


def standing(**fields: Any) -> Route:
    tiers = {name: {**tier, **({"fallback": fields[name]} if name in fields else {})} for name, tier in TIERS.items()}
    parts: dict[str, Any] = {
        "default": "student",
        "rules": [{"id": "p", "when": {"node": "legal"}, "tier": "commodity", "lock": True}],
    }
    if "rest" in fields:
        parts["rest"] = fields["rest"]
    rules = policy(tiers=tiers, routing=parts)
    return Route(rules, PriceBook(rules))


@pytest.mark.parametrize(
    ("fields", "call", "found"),
    [
        ({}, at(), (None, ())),
        ({"student": ["commodity", "frontier"]}, at(), ("student", ("commodity", "frontier"))),
        ({"rest": {"after": 2}}, at(), ("student", ("frontier",))),
        ({"rest": {"after": 2}, "student": ["commodity"]}, at(), ("student", ("commodity",))),
        ({"commodity": ["student"], "rest": {}}, at("legal"), (None, ())),
        ({"student": ["commodity"]}, at(locked=True), (None, ())),
    ],
)
def test_who_may_stand_in(fields: dict[str, Any], call: ModelCall, found: Any) -> None:
    control = standing(**fields)

    assert found == control.alternates(state(), call, control.choose(state(), call))


def test_a_stand_in_brings_its_own_price_and_is_no_escalation() -> None:
    control = standing(student=["frontier"])
    chosen = control.choose(state(), at())
    other = control.stand_in(at(), chosen, "frontier", resting=False)

    assert (PriceBook(policy()).rates(other.model), 4_000, "student", False) == (
        other.rates,
        other.max_output_tokens,
        other.instead_of,
        other.escalated,
    )
    rules = Policy.model_validate(every().model_dump(by_alias=True, exclude_defaults=True))
    seen = route(rules).observe_model(
        state(), request(at(), "frontier"), route(rules).judge(state(), request(at(), "frontier"), GOOD), other
    )
    assert 0 == seen.route.escalations


def test_a_stand_in_that_fails_too_is_followed_by_the_next_of_the_first_ones_list() -> None:
    control = standing(student=["commodity", "frontier"])
    second = control.stand_in(at(), control.choose(state(), at()), "commodity", resting=False)

    assert ("commodity", ("commodity", "frontier")) == control.alternates(state(), at(), second)


# --- what was learned of answers


class Scored:
    """Gains by the first letter of the answer."""

    def __init__(self) -> None:
        self.asked = 0

    def gain(self, step: StepFeatures, answer: str) -> float:
        assert step.node == "agent"
        self.asked += 1
        return {"a": 0.1, "b": 0.4}[answer[0]]

    def estimate(self, step: StepFeatures) -> None:
        return None


@pytest.mark.parametrize(
    ("tier", "answer", "signal"),
    [
        ("student", ModelResponse(text="bad", finish="stop"), "low_score"),
        ("student", ModelResponse(text="all right", finish="stop"), None),
        ("commodity", ModelResponse(text="bad", finish="stop"), None),
        ("student", ModelResponse(text="bad", tool_uses=(ToolUse(id="1", name="search", args={"query": "a"}),)), None),
        ("student", ModelResponse(text="bad", finish="refusal"), "refusal"),
    ],
)
def test_a_learned_score_above_the_threshold_is_a_signal_of_its_own(
    tier: str, answer: ModelResponse, signal: str | None
) -> None:
    scorer = Scored()
    known = Knowledge(id="s", weak="student", strong="frontier", estimator=scorer, answers=scorer, answers_above=0.3)
    rules = routing(escalate={**ESCALATE, "after": ["low_score", "refusal"]})
    control = Route(rules, PriceBook(rules), known)

    judged = control.judge(state(), request(at(), tier), answer)

    assert signal == judged.signal
    assert (signal is not None) == (judged.again is not None)


def test_a_score_that_nobody_listens_to_is_not_worked_out() -> None:
    scorer = Scored()
    known = Knowledge(id="s", weak="student", strong="frontier", estimator=scorer, answers=scorer, answers_above=0.3)
    Route(routing(), PriceBook(routing()), known).judge(state(), request(at(), "student"), ModelResponse(text="bad"))

    assert 0 == scorer.asked
