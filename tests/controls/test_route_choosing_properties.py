"""What holds of the choice of a tier whatever is learned, cached and charged."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from governor.calls import ModelCall
from governor.controls.route.choosing import weigh
from governor.runs import RouteState, RunState, Warm
from tests.controls.histories import LANE, NOVA, SONNET, STEP
from tests.controls.test_route_choosing import MILLION, NOW, OPEN, at_turn, in_turn, knowledge, lane, route

_COUNTS = st.integers(0, 10**12)
_GAINS = st.integers(-MILLION, MILLION)


@given(_GAINS, st.none() | _GAINS, _COUNTS, _COUNTS, _COUNTS, _COUNTS, _COUNTS)
def test_a_higher_price_of_changing_never_makes_the_change_more_likely(
    gain: int, share: int | None, worth: int, dearer: int, strong: int, weak: int, more: int
) -> None:
    here = weigh(gain, share, worth, dearer, strong, weak).net

    assert weigh(gain, share, worth, dearer, strong + more, weak).net <= here
    assert weigh(gain, share, worth, dearer, strong, weak + more).net >= here


@given(st.floats(-1, 1), st.sampled_from(["frontier", "student"]), st.integers(0, 9_000), st.integers(0, 9_000))
def test_a_colder_cache_never_draws_a_conversation(gain: float, tier: str, warm: int, colder: int) -> None:
    assume(colder <= warm)
    call, other = at_turn(), NOVA if tier == "frontier" else SONNET
    router = route(knowledge(gain))

    def chosen(tokens: int) -> str | None:
        others = (Warm(model=str(other), prefix_tokens=tokens, last_at_ms=NOW - 9_000),)
        return router.choose(lane(tier, call, prefix_tokens=9_000, others=others), call, NOW).tier

    if chosen(warm) == tier:
        assert tier == chosen(colder)


_FLAGS = st.booleans()


@st.composite
def states(draw: st.DrawFn, call: ModelCall) -> RunState:
    signals = tuple(draw(st.lists(st.sampled_from(["tool_error", "loop"]), max_size=2, unique=True)))
    tier = draw(st.sampled_from(["frontier", "student"]))
    found = lane(
        tier,
        call,
        prefix_tokens=draw(st.integers(0, 60_000)),
        last_at_ms=NOW - draw(st.integers(0, 900_000)),
        calls=draw(st.integers(1, 5)),
    )
    route_state = RouteState(signals=signals, escalations=draw(st.integers(0, 3)))
    if draw(_FLAGS):
        route_state = replace(route_state, tier="frontier", until_call=draw(st.integers(1, 9)))
    return replace(found, route=route_state)


@given(st.data(), st.floats(-1, 1) | st.none(), _FLAGS, _FLAGS)
def test_a_turn_in_the_middle_and_a_locked_call_are_never_lowered(
    data: st.DataObject, gain: float | None, promised: bool, locked: bool
) -> None:
    call = in_turn(locked=locked)
    quality = {"quality": {"max_loss": "2%"}} if promised else {}
    escalate = {"after": ["tool_error", "loop"], "for": 9, "at_most": 2}
    router = route(knowledge(gain), escalate=escalate, **quality)
    state = data.draw(states(call))
    before = state.lanes[LANE].tier

    chosen = router.choose(state, call, NOW)

    assert chosen.tier in ((before,) if locked else ("frontier", before))
    assert chosen == router.choose(state, call, NOW)


@given(st.data(), st.text(max_size=30), st.floats(-1, 1))
def test_an_unseen_node_never_gets_the_cheaper_tier_anew(data: st.DataObject, node: str, gain: float) -> None:
    assume(node != "agent")
    call = at_turn(step=replace(STEP, node=node, path=node))
    known = knowledge(gain, nodes=frozenset({"agent"}), bounds={"agent": OPEN})

    assert "frontier" == route(known).choose(data.draw(states(call)), call, NOW).tier
