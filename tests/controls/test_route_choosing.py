"""Which of two tiers a step is worth: gains against prices, what keeps a call where it is, and what is never lowered."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from governor.calls import ModelCall, ToolCall, ToolResult
from governor.controls.route import Route
from governor.plans import Judgement, Routed
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor.routing.estimate import Estimate, StepFeatures
from governor.routing.knowledge import Bound, Knowledge
from governor.runs import Lane, RouteState, RunState, Warm
from tests.controls.histories import LANE, NOVA, SONNET, STEP, history, model_call, policy, turns, user
from tests.controls.test_route import GOOD, request

NOW = 1_000_000_000
TIERS = {
    "frontier": {"model": str(SONNET), "max_output_tokens": "4k"},
    "student": {"model": str(NOVA), "max_output_tokens": "2k"},
}
OPEN = Bound(n=400, regrets=1, upper=0.012, target=0.02, open=True)
SHUT = Bound(n=40, regrets=1, upper=0.11, target=0.02, open=False)
MILLION = 1_000_000


class Says:
    """Gains by node."""

    def __init__(self, gains: Mapping[str, float], spread: float = 0.05) -> None:
        self.gains, self.spread, self.asked = gains, spread, list[StepFeatures]()

    def estimate(self, step: StepFeatures) -> Estimate | None:
        self.asked.append(step)
        gain = self.gains.get(step.node)
        if gain is None:
            return None
        facts = {"bucket": "3"}
        return Estimate(
            gain=gain, low=gain - self.spread, high=gain + self.spread, records=120, layer="table", facts=facts
        )


def knowledge(gain: float | None = 0.0, **fields: object) -> Knowledge:
    known = Knowledge(
        id="sha256:abc",
        proven=1.0,
        weak="student",
        strong="frontier",
        estimator=Says({} if gain is None else {"agent": gain}),
    )
    return replace(known, **fields)


def rules(**routing: object) -> Policy:
    return policy(tiers=TIERS, routing={"default": "student", "estimator": "hashed", **routing})


def route(known: Knowledge, **routing: object) -> Route:
    made = rules(**routing)
    return Route(made, PriceBook(made), known)


def in_turn(count: int = 3, **fields: object) -> ModelCall:
    """A call whose newest message is the result of a tool."""
    return model_call(turns(count, 400), SONNET, **fields)


def at_turn(count: int = 3, **fields: object) -> ModelCall:
    """A call whose newest message is the user's."""
    return model_call([*turns(count, 400), user("And now?", "u2")], SONNET, **fields)


def lane(tier: str, call: ModelCall, **fields: object) -> RunState:
    model = {"frontier": SONNET, "student": NOVA}[tier]
    known = Lane(
        model=str(model),
        tier=tier,
        prefix_tokens=5_000,
        last_at_ms=NOW - 4_000,
        calls=3,
        previous_last=call.history.messages[-3].key,
        output_tokens=200,
    )
    return RunState(model_calls=4, lanes={LANE: replace(known, **fields)})


def told(chosen: Routed) -> Mapping[str, str | int | float | bool]:
    assert chosen.decision.reason is not None
    return chosen.decision.reason.evidence


def code(chosen: Routed) -> str:
    assert chosen.decision.reason is not None
    return chosen.decision.reason.code


@pytest.mark.parametrize(("gain", "tier"), [(0.4, "frontier"), (0.0, "student"), (-0.2, "student")])
def test_a_first_call_goes_where_its_gain_is_worth_the_price(gain: float, tier: str) -> None:
    chosen = route(knowledge(gain)).choose(RunState(model_calls=1), in_turn(), NOW)

    assert (tier, "route.gain", tier) == (chosen.tier, code(chosen), chosen.base)


def test_the_reason_holds_every_number_that_entered() -> None:
    call = at_turn()
    state = lane("student", call, others=(Warm(model=str(SONNET), prefix_tokens=3_000, last_at_ms=NOW - 60_000),))

    seen = told(route(knowledge(0.03)).choose(state, call, NOW))

    assert {
        "snapshot": "sha256:abc",
        "incumbent": "student",
        "boundary": "turn",
        "idle_ms": 4_000,
        "pending": False,
        "gain": 0.03,
        "gain_low": 0.03 - 0.05,
        "gain_high": 0.03 + 0.05,
        "records": 120,
        "layer": "table",
        "fact.bucket": "3",
        "student.warm_tokens": 5_000,
        "frontier.warm_tokens": 3_000,
        "answer_tokens": 200,
    }.items() <= seen.items()
    assert {"threshold", "net_nano_usd", "worth_nano_usd", "prompt_tokens", "frontier.step_nano_usd"} <= seen.keys()
    assert seen["student.switch_nano_usd"] == 0
    assert int(seen["frontier.switch_nano_usd"]) > 0


def test_going_back_to_a_model_whose_prefix_is_still_warm_is_cheaper_than_to_one_that_has_expired() -> None:
    call = at_turn()
    fresh = lane("student", call, others=(Warm(model=str(SONNET), prefix_tokens=5_000, last_at_ms=NOW - 60_000),))
    stale = lane("student", call, others=(Warm(model=str(SONNET), prefix_tokens=5_000, last_at_ms=NOW - 301_000),))
    price = {
        name: int(told(route(knowledge(0.03)).choose(state, call, NOW))["frontier.switch_nano_usd"])
        for name, state in (("fresh", fresh), ("stale", stale))
    }

    rates = PriceBook(rules()).rates(SONNET)
    assert rates is not None
    assert 5_000 * (rates.cache_write_5m - rates.cache_read) // MILLION == price["stale"] - price["fresh"]


def test_in_the_middle_of_a_turn_the_incumbent_stays_and_what_changing_would_cost_is_told() -> None:
    says = Says({"agent": 0.9})
    router = route(knowledge(estimator=says))
    call = in_turn()

    chosen = router.choose(lane("student", call), call, NOW)

    assert ("student", "route.tool_loop", []) == (chosen.tier, code(chosen), says.asked)
    assert ("frontier", True) == (told(chosen)["would_be"], int(told(chosen)["would_switch_nano_usd"]) > 0)


def test_an_escalation_gate_raises_in_the_middle_of_a_turn_and_its_block_ends_there() -> None:
    router = route(knowledge(0.0), escalate={"after": "tool_error", "for": 2, "at_most": 2})
    call = in_turn()
    state = lane("student", call)
    failed = router.observe_tool(
        state, ToolCall(step=STEP, name="search", args={}, id="c1"), ToolResult(text="no", failed=True)
    )

    raised = router.choose(failed, call, NOW)
    ended = router.choose(lane("frontier", call, escalated=True), call, NOW)

    assert ("frontier", "route.escalated", "student") == (raised.tier, code(raised), raised.base)
    assert ("student", "route.gain") == (ended.tier, code(ended))


def test_a_tier_that_was_chosen_is_no_escalation() -> None:
    router = route(knowledge(0.9), escalate={"after": "tool_error", "for": 2, "at_most": 2})
    state, call = RunState(model_calls=1), in_turn()
    chosen = router.choose(state, call, NOW)
    asked = replace(request(call, chosen.tier), base=chosen.base)

    assert RouteState() == router.observe_model(state, asked, Judgement()).route
    assert router.judge(state, asked, GOOD).signal is None


def test_nothing_is_lowered_where_no_boundary_is() -> None:
    messages = turns(3, 400)
    call = model_call([*messages, replace(messages[2], key="said", tool_uses=(), text="So.")], SONNET)

    kept = route(knowledge(0.0)).choose(lane("frontier", call), call, NOW)
    idle = route(knowledge(0.0)).choose(lane("frontier", call, last_at_ms=NOW - 301_000), call, NOW)

    assert ("frontier", "route.boundary", "student") == (kept.tier, code(kept), told(kept)["would_be"])
    assert ("student", "route.gain", "idle") == (idle.tier, code(idle), told(idle)["boundary"])


def test_of_a_node_that_nobody_recorded_nothing_is_known_and_the_better_tier_answers() -> None:
    says = Says({"agent": 0.0})
    chosen = route(knowledge(estimator=says, nodes=frozenset({"planner"}))).choose(RunState(), in_turn(), NOW)

    assert ("frontier", "route.unknown", []) == (chosen.tier, code(chosen), says.asked)


@pytest.mark.parametrize(
    ("bounds", "tier", "seen"),
    [
        ({"agent": OPEN}, "student", "route.gain"),
        ({"agent": SHUT}, "frontier", "route.guard"),
        ({}, "frontier", "route.guard"),
    ],
)
def test_a_cheaper_tier_answers_while_the_promise_of_quality_holds(
    bounds: dict[str, Bound], tier: str, seen: str
) -> None:
    known = knowledge(0.0, bounds=bounds)
    promised = route(known, quality={"max_loss": "2%"}).choose(RunState(), in_turn(), NOW)
    unpromised = route(known).choose(RunState(), in_turn(), NOW)

    assert (tier, seen, "student") == (promised.tier, code(promised), unpromised.tier)
    assert bool(bounds) == ("guard_bound" in told(promised))


@pytest.mark.parametrize("proven", [None, 0.001])
def test_no_gain_beyond_what_the_promise_was_calibrated_for_goes_to_the_cheaper_tier(proven: float | None) -> None:
    known = knowledge(0.01, bounds={"agent": OPEN}, proven=proven)
    promised = route(known, quality={"max_loss": "2%"}).choose(RunState(), in_turn(), NOW)

    assert ("frontier", "route.guard") == (promised.tier, code(promised))
    assert "student" == route(known).choose(RunState(), in_turn(), NOW).tier


def test_a_share_is_the_quantile_of_the_gains_that_were_recorded() -> None:
    quantiles = tuple((step / 100, step / 100) for step in range(101))
    known = knowledge(quantiles=quantiles)
    sent = {
        gain: route(replace(known, estimator=Says({"agent": gain})), frontier_share="20%").choose(
            RunState(), in_turn(), NOW
        )
        for gain in (0.79, 0.81)
    }

    assert {0.79: "student", 0.81: "frontier"} == {gain: chosen.tier for gain, chosen in sent.items()}
    assert 0.8 == told(sent[0.79])["threshold"]


def test_signed_reasoning_pins_the_provider_for_the_turn() -> None:
    messages = [replace(each, opaque=True) if each.role == "assistant" else each for each in turns(3, 400)]
    call = model_call(history(messages), SONNET)
    router = route(knowledge(0.0), escalate={"after": "tool_error", "for": 2, "at_most": 2})
    turn = model_call([*messages, user("And now?", "u2")], SONNET)

    ended = router.choose(lane("frontier", call, escalated=True), call, NOW)

    assert ("frontier", "route.provider_state") == (ended.tier, code(ended))
    assert "student" == router.choose(lane("frontier", turn), turn, NOW).tier


def test_two_tiers_of_one_model_are_told_apart() -> None:
    tiers = {"frontier": {"model": str(SONNET), "args": {"temperature": 0}}, "student": {"model": str(SONNET)}}
    made = policy(tiers=tiers, routing={"default": "student"})
    call = in_turn()
    state = lane("student", call, model=str(SONNET))

    assert "student" == Route(made, PriceBook(made)).choose(state, call, NOW).tier


def test_without_a_snapshot_a_tier_that_was_raised_for_the_window_stays_until_the_turn_is_over() -> None:
    made = rules()
    router = Route(made, PriceBook(made))
    during, after = in_turn(), at_turn()

    kept, free = (
        router.choose(lane("frontier", during), during, NOW),
        router.choose(lane("frontier", after), after, NOW),
    )

    assert ("frontier", "route.tool_loop", "frontier") == (kept.tier, code(kept), kept.base)
    assert ("student", "route.default", None) == (free.tier, code(free), free.base)


def test_a_lane_that_a_model_outside_of_the_tiers_has_answered_begins_anew() -> None:
    call = in_turn()
    chosen = route(knowledge(0.0)).choose(lane("student", call, model="x:y"), call, NOW)

    assert ("student", "route.gain", False) == (chosen.tier, code(chosen), "incumbent" in told(chosen))
