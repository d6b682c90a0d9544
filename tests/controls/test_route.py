"""Which tier answers, and what a bad answer leads to."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelCall, ModelRef, ModelRequest, ModelResponse, ToolCall, ToolResult, ToolUse, View
from governor.controls.route import Route
from governor.decisions import Verdict
from governor.plans import Judgement, Routed
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor.runs import Lane, RouteState, RunState
from tests.controls.histories import LANE, NOVA, SONNET, STEP, model_call, policy, turns

MICRO = ModelRef(provider="bedrock_converse", model="amazon.nova-micro-v1:0")
OWN = ModelRef(provider="openai", model="gpt-5")
TIERS = {
    "frontier": {"model": str(SONNET), "max_output_tokens": "4k"},
    "student": {"model": str(NOVA), "max_output_tokens": "2k"},
    "commodity": {"model": str(MICRO), "max_output_tokens": "1k"},
}
ESCALATE = {"after": ["tool_error", "invalid_output", "loop", "refusal", "empty", "cut_off"], "for": 3, "at_most": 2}
RULES = [
    {"id": "planning", "when": {"node": ["planner", "replan*"]}, "tier": "frontier"},
    {"id": "pinned", "when": {"node": "legal"}, "tier": "commodity", "lock": True},
    {"id": "extraction", "when": {"node": "*/extract_*"}, "tier": "commodity"},
]


def routing(**fields: object) -> Policy:
    parts: dict[str, object] = {"default": "student", "rules": RULES, "escalate": ESCALATE, **fields}
    return policy(tiers=TIERS, routing={key: value for key, value in parts.items() if value is not None})


def route(rules: Policy | None = None) -> Route:
    rules = rules or routing()
    return Route(rules, PriceBook(rules))


def at(node: str = "agent", path: str | None = None, **fields: object) -> ModelCall:
    call = model_call(turns(2, 100), OWN, **fields)
    return replace(call, step=replace(STEP, node=node, path=path or node))


def state(calls: int = 1, **fields: object) -> RunState:
    return RunState(model_calls=calls, route=replace(RouteState(), **fields))


def code(chosen: Routed) -> str:
    assert chosen.decision.reason is not None
    return chosen.decision.reason.code


def request(call: ModelCall, tier: str | None) -> ModelRequest:
    model = {"frontier": SONNET, "student": NOVA, "commodity": MICRO}.get(tier or "", call.model)
    return ModelRequest(call=call, tier=tier, model=model, view=View(history=call.history))


GOOD = ModelResponse(text="Done.", finish="stop")
BAD = {
    "invalid_output": ModelResponse(text="{", finish="stop", invalid=True),
    "refusal": ModelResponse(text="I cannot.", finish="refusal"),
    "empty": ModelResponse(text="  \n", finish="stop"),
    "cut_off": ModelResponse(text="It was the", finish="length"),
}


def test_the_first_rule_that_matches_the_node_or_its_path_decides() -> None:
    found = {node: route().choose(state(), call) for node, call in _calls().items()}

    assert {
        "planner": ("frontier", "route.rule", "planning"),
        "replan_late": ("frontier", "route.rule", "planning"),
        "legal": ("commodity", "route.locked", "pinned"),
        "extract_dates": ("commodity", "route.rule", "extraction"),
        "agent": ("student", "route.default", "routing.default"),
    } == {node: (chosen.tier, code(chosen), _rule(chosen)) for node, chosen in found.items()}


def _calls() -> dict[str, ModelCall]:
    calls = {node: at(node) for node in ("planner", "replan_late", "legal", "agent")}
    return calls | {"extract_dates": at("extract_dates", "orders/extract_dates")}


def _rule(chosen: Routed) -> str:
    assert chosen.decision.reason is not None
    return chosen.decision.reason.rule


def test_a_tier_brings_its_model_its_prices_and_its_output_limit() -> None:
    chosen = route().choose(state(), at())

    assert (NOVA, 2_000, Verdict.MODIFY) == (chosen.model, chosen.max_output_tokens, chosen.decision.verdict)
    assert PriceBook(routing()).rates(NOVA) == chosen.rates
    assert chosen.rates is not None


def test_a_tier_with_the_model_that_the_graph_uses_modifies_nothing() -> None:
    chosen = route().choose(state(), replace(at(), model=NOVA))

    assert ("student", Verdict.ALLOW) == (chosen.tier, chosen.decision.verdict)


def test_without_tiers_the_graphs_own_model_answers_at_its_own_price() -> None:
    chosen = route(policy()).choose(state(), at())

    assert (None, OWN, None, "route.no_tiers") == (chosen.tier, chosen.model, chosen.max_output_tokens, code(chosen))
    assert PriceBook(policy()).rates(OWN) == chosen.rates


def test_without_a_default_the_graphs_own_model_answers_what_no_rule_names() -> None:
    chosen = route(routing(default=None)).choose(state(), at())

    assert (None, OWN, Verdict.ALLOW, "route.default") == (
        chosen.tier,
        chosen.model,
        chosen.decision.verdict,
        code(chosen),
    )


def test_a_call_that_is_pinned_keeps_the_model_its_lane_is_on() -> None:
    fresh = route().choose(state(), at(locked=True))
    warm = replace(state(), lanes={LANE: Lane(model=str(SONNET))})

    assert (None, OWN, "route.locked") == (fresh.tier, fresh.model, code(fresh))
    assert "frontier" == route().choose(warm, at(locked=True)).tier


def test_a_rule_in_observe_mode_is_named_and_the_next_one_decides() -> None:
    rules = [{**RULES[0], "mode": "observe"}, *RULES[1:]]

    chosen = route(routing(rules=rules)).choose(state(), at("planner"))
    reason = chosen.decision.reason

    assert reason is not None
    assert ("student", {"observed_rule": "planning", "observed_tier": "frontier"}) == (
        chosen.tier,
        dict(reason.evidence),
    )


def test_a_policy_in_observe_mode_keeps_the_graphs_own_model_and_says_what_would_have_answered() -> None:
    rules = Policy.model_validate({**routing().model_dump(by_alias=True, exclude_defaults=True), "mode": "observe"})
    chosen = route(rules).choose(state(), at())

    assert (None, OWN, Verdict.MODIFY, True) == (
        chosen.tier,
        chosen.model,
        chosen.decision.verdict,
        chosen.decision.observed,
    )
    assert Judgement().again is route(rules).judge(state(), request(at(), None), BAD["empty"]).again


def test_a_history_too_long_for_a_tier_goes_to_the_next_better_one_unless_the_rule_is_locked() -> None:
    tiers = {**TIERS, "commodity": {**TIERS["commodity"], "context_window": "8k"}}
    rules = policy(tiers=tiers, routing={"default": "commodity", "rules": RULES})
    long = model_call(turns(20, 1_000), OWN)

    chosen = route(rules).choose(state(), long)
    locked = route(rules).choose(state(), replace(long, step=replace(STEP, node="legal", path="legal")))

    assert ("student", "route.window") == (chosen.tier, code(chosen))
    assert ("commodity", "route.locked") == (locked.tier, code(locked))


def test_a_history_that_compaction_can_shorten_stays_with_its_tier() -> None:
    tiers = {**TIERS, "commodity": {**TIERS["commodity"], "context_window": "8k"}}
    rules = policy(tiers=tiers, routing={"default": "commodity"}, context={"compact": {"strategy": "ledger"}})

    assert "commodity" == route(rules).choose(state(), model_call(turns(20, 1_000), OWN)).tier


def test_a_signal_moves_the_next_call_one_tier_up_from_its_rule() -> None:
    chosen = route().choose(state(signals=("tool_error",)), at())
    extraction = route().choose(state(signals=("loop",)), at("extract_dates", "orders/extract_dates"))

    assert ("frontier", "route.escalated", True) == (chosen.tier, code(chosen), chosen.escalated)
    assert "student" == extraction.tier


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(at("planner"), id="the-best-tier-already"),
        pytest.param(at("legal"), id="a-locked-rule"),
        pytest.param(at(locked=True), id="a-pinned-call"),
    ],
)
def test_a_signal_moves_nothing_where_nothing_may_rise(call: ModelCall) -> None:
    assert not route().choose(state(signals=("tool_error",)), call).escalated


def test_a_signal_that_the_policy_does_not_name_moves_nothing() -> None:
    rules = routing(escalate={**ESCALATE, "after": ["refusal"]})

    assert not route(rules).choose(state(signals=("tool_error",)), at()).escalated
    assert state() == route(rules).observe_tool(state(), _tool_call(), ToolResult(text="no", failed=True))


def test_a_loop_escalates_when_the_loop_section_says_so() -> None:
    rules = routing(escalate={**ESCALATE, "after": ["refusal"]})
    answering = Policy.model_validate(
        {**rules.model_dump(by_alias=True, exclude_defaults=True), "loops": {"respond": ["nudge", "escalate"]}}
    )

    assert not route(rules).choose(state(signals=("loop",)), at()).escalated
    assert route(answering).choose(state(signals=("loop",)), at()).escalated


def _tool_call() -> ToolCall:
    return ToolCall(step=STEP, name="search", args={}, id="c1")


def test_a_failed_tool_is_a_signal_once_and_a_denial_is_none() -> None:
    control = route()
    failed = control.observe_tool(state(), _tool_call(), ToolResult(text="no", failed=True))

    assert ("tool_error",) == failed.route.signals
    assert failed == control.observe_tool(failed, _tool_call(), ToolResult(text="no", failed=True))
    assert state() == control.observe_tool(state(), _tool_call(), ToolResult(text="no", failed=True, synthetic=True))
    assert state() == control.observe_tool(state(), _tool_call(), ToolResult(text="yes"))


def _call_once(
    control: Route, before: RunState, call: ModelCall, response: ModelResponse = GOOD
) -> tuple[RunState, list[str]]:
    """What the path does with one model call; answers the tiers that were asked."""
    now = replace(before, model_calls=before.model_calls + 1)
    chosen, asked = control.choose(now, call), list[str]()
    while True:
        asked.append(chosen.tier or "own")
        sent = request(call, chosen.tier)
        judged = control.judge(now, sent, response)
        now = control.observe_model(now, sent, judged)
        if judged.again is None:
            return now, asked
        chosen = judged.again


def test_an_escalation_lasts_for_its_calls_and_then_the_rule_holds_again() -> None:
    control, now, tiers = route(), state(0, signals=("tool_error",)), list[str]()
    for _ in range(5):
        now, asked = _call_once(control, now, at())
        tiers += asked

    assert ["frontier", "frontier", "frontier", "student", "student"] == tiers
    assert RouteState(escalations=1) == now.route


def test_escalations_of_a_run_are_counted_and_end() -> None:
    control, now, tiers = route(), state(0), list[str]()
    for _ in range(12):
        now = control.observe_tool(now, _tool_call(), ToolResult(text="no", failed=True))
        now, asked = _call_once(control, now, at())
        tiers += asked

    assert ["frontier"] * 6 + ["student"] * 6 == tiers
    assert 2 == now.route.escalations


@pytest.mark.parametrize("signal", list(BAD))
def test_an_unusable_answer_is_asked_again_of_the_next_tier_once(signal: str) -> None:
    control = route()

    judged = control.judge(state(), request(at(), "student"), BAD[signal])
    twice = control.judge(state(), request(at(), "frontier"), BAD[signal])

    assert judged.again is not None
    assert (signal, "frontier", True) == (judged.signal, judged.again.tier, judged.again.escalated)
    assert (signal, None) == (twice.signal, twice.again)


def test_arguments_that_do_not_parse_are_invalid_output() -> None:
    response = ModelResponse(tool_uses=(ToolUse(id="c", name="search", args=None),), finish="length")

    assert "invalid_output" == route().judge(state(), request(at(), "student"), response).signal


def test_a_tool_call_without_text_is_a_good_answer() -> None:
    response = ModelResponse(tool_uses=(ToolUse(id="c", name="search", args={}),), finish="tool_use")

    assert Judgement() == route().judge(state(), request(at(), "student"), response)


def test_a_bad_answer_begins_a_block_of_the_higher_tier() -> None:
    now, asked = _call_once(route(), state(0), at(), BAD["refusal"])
    _, later = _call_once(route(), now, at())

    assert (["student", "frontier"], ["frontier"]) == (asked, later)
    assert 1 == now.route.escalations


def test_a_streamed_answer_is_not_asked_again_but_the_next_call_rises() -> None:
    now, asked = _call_once(route(), state(0), at(streaming=True), BAD["cut_off"])
    _, later = _call_once(route(), now, at(streaming=True))

    assert (["student"], ["frontier"]) == (asked, later)


def test_no_answer_is_asked_again_when_the_escalations_of_the_run_are_used_up() -> None:
    judged = route().judge(state(escalations=2), request(at(), "student"), BAD["empty"])

    assert ("empty", None) == (judged.signal, judged.again)


def test_a_signal_from_a_parallel_branch_waits_for_the_next_call() -> None:
    control = route()
    began = state(1)
    chosen = control.choose(began, at())
    meanwhile = control.observe_tool(began, _tool_call(), ToolResult(text="no", failed=True))

    ended = control.observe_model(meanwhile, request(at(), chosen.tier), Judgement())

    assert ("tool_error",) == ended.route.signals


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["planner", "agent", "legal", "extract_x"]),
        st.sampled_from(["good", *BAD]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=30,
)


@given(EVENTS, st.integers(1, 5), st.integers(1, 4))
def test_whatever_happens_no_call_is_below_its_rule_or_more_than_one_tier_up_and_escalations_stay_within_their_number(
    events: list[tuple[str, str, bool, bool]], lasts: int, at_most: int
) -> None:
    rules = routing(escalate={**ESCALATE, "for": lasts, "at_most": at_most})
    control, now, order = route(rules), state(0), list(TIERS)
    for node, answer, streaming, fails in events:
        call = at(node, f"sub/{node}" if node == "extract_x" else node, streaming=streaming)
        before = now.route.escalations
        if fails:
            now = control.observe_tool(now, _tool_call(), ToolResult(text="no", failed=True))
        now, asked = _call_once(control, now, call, BAD.get(answer, GOOD))
        base = order.index({"planner": "frontier", "legal": "commodity", "extract_x": "commodity"}.get(node, "student"))
        ranks = [order.index(tier) for tier in asked]
        assert len(asked) <= 2
        assert all(rank <= base for rank in ranks)
        assert node not in ("planner", "legal") or ranks == [base]
        assert before <= now.route.escalations <= min(before + 1, at_most)
        assert len(now.route.signals) <= 8


def test_a_failure_inside_an_escalation_climbs_one_tier_further_and_counts() -> None:
    rules = route()
    call = at("a/extract_x")
    inside = state(2, tier="student", until_call=4, escalations=1, signals=("tool_error",))

    chosen = rules.choose(inside, call)
    after = rules.observe_model(inside, request(call, chosen.tier), Judgement())

    assert ("frontier", "route.escalated") == (chosen.tier, code(chosen))
    assert ("frontier", 4, 2) == (after.route.tier, after.route.until_call, after.route.escalations)


def test_a_failure_inside_an_escalation_stays_where_it_is_once_escalations_are_used_up() -> None:
    inside = state(2, tier="student", until_call=4, escalations=2, signals=("tool_error",))

    assert "student" == route().choose(inside, at("a/extract_x")).tier
