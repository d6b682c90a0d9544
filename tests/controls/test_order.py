"""Where cache markers go, and that what changes comes last."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import CachePlan, Message, ModelCall, ModelRef, ModelRequest, RunRef
from governor.controls.compact import Compact
from governor.controls.order import Order
from governor.models import facts
from governor.plans import Viewed
from governor.policy.schema import Policy
from governor.runs import Lane, RunState
from tests.controls.histories import (
    GPT,
    LOCAL,
    NOVA,
    SONNET,
    answer,
    asks,
    compacting,
    lane_state,
    model_call,
    policy,
    routed,
    runs,
    shown,
    system,
    tool,
    turns,
    use,
    user,
    words,
)

LONG = words(1_200)
"""More than the minimum that Claude Sonnet 4.5 caches."""


def caching(ttl: str = "5m", **context: object) -> Order:
    return Order(policy(context={"cache": {"ttl": ttl}, **context}))


def viewed(call: ModelCall, lane: Lane | None = None, rules: Policy | None = None, **fields: object) -> Viewed:
    compact = Compact(rules or policy())
    return compact.view(lane_state(lane or Lane()), call, routed(call.model, **fields), 1_000)


def arrange(order: Order, call: ModelCall, lane: Lane | None = None, note: str | None = None) -> ModelRequest:
    return order.arrange(RunState(), call, routed(call.model), viewed(call, lane), note=note)


def plan(
    order: Order, messages: list[Message], model: ModelRef = SONNET, lane: Lane | None = None, tools: int = 0
) -> CachePlan:
    call = model_call(messages, model, tools=(tool("t", tools),) if tools else ())
    return arrange(order, call, lane).cache


def positions(cache: CachePlan) -> list[int]:
    return [point.position for point in cache.messages]


def test_tools_are_sorted_by_name_when_the_policy_asks_for_order() -> None:
    tools = [tool("write"), tool("ask"), tool("read"), tool("ask")]

    assert (1, 3, 2, 0) == Order(policy(context={"order": "auto"})).sort_tools(tools)
    assert (0, 1, 2, 3) == Order(policy()).sort_tools(tools)
    assert (0, 1, 2, 3) == Order(policy(mode="observe", context={"order": "auto"})).sort_tools(tools)


def test_nothing_is_marked_when_the_policy_says_nothing_of_caching() -> None:
    assert CachePlan() == plan(Order(policy()), [system(LONG), user(LONG)])


def test_nothing_is_marked_in_observe_mode_or_for_a_model_that_does_not_cache() -> None:
    observing = Order(policy(mode="observe", context={"cache": {"ttl": "5m"}}))

    assert CachePlan() == plan(observing, [system(LONG), user(LONG)])
    assert CachePlan() == plan(caching(), [system(LONG), user(LONG)], LOCAL)


def test_the_first_request_marks_tools_system_and_its_last_message() -> None:
    cache = plan(caching(), [system(LONG), user("task")], tools=1_500)

    assert ("5m", "5m", [1]) == (cache.tools, cache.system, positions(cache))


def test_a_later_request_marks_the_last_message_of_the_one_before_as_well() -> None:
    messages = [system(LONG), *turns(3, 500)[1:]]

    cache = plan(caching(), messages, lane=Lane(previous_last="t1"))

    assert ("5m", [5, 7]) == (cache.system, positions(cache))


def test_what_is_shorter_than_the_models_minimum_is_not_marked() -> None:
    messages = [system(words(500)), user("task"), asks("a", use("c")), answer("t", "c", LONG)]
    minimum = facts(SONNET).min_cache_tokens

    cache = plan(caching(), messages, lane=Lane(previous_last="u"), tools=minimum - 700)

    assert (None, None, [3]) == (cache.tools, cache.system, positions(cache))


def test_tools_and_system_count_together() -> None:
    cache = plan(caching(), [system(words(700)), user("task")], tools=700)

    assert (None, "5m") == (cache.tools, cache.system)


def test_a_cut_is_marked_where_the_ledger_ends() -> None:
    messages = [system(LONG), *turns(40, 1_000)[1:]]
    call = model_call(messages)
    shown_now = viewed(call, Lane(calls=9, model=str(NOVA)), compacting())

    cache = caching().arrange(RunState(), call, routed(), shown_now, note=None).cache

    assert shown_now.view.cut
    assert ("5m", [2, len(shown(shown_now)) - 1]) == (cache.system, positions(cache))


def test_a_message_that_was_cut_away_is_not_marked() -> None:
    messages = [system(LONG), *turns(40, 1_000)[1:]]
    call = model_call(messages)
    shown_now = viewed(call, Lane(calls=9, model=str(NOVA), previous_last="t3"), compacting())

    cache = caching().arrange(RunState(), call, routed(), shown_now, note=None).cache

    assert [2, len(shown(shown_now)) - 1] == positions(cache)


def test_a_turn_of_many_blocks_is_marked_in_between() -> None:
    uses = tuple(use(f"c{i}") for i in range(20))
    messages = [system(LONG), user("task"), asks("a", *uses), *(answer(f"t{i}", f"c{i}", "ok") for i in range(20))]

    cache = plan(caching(), messages, lane=Lane(previous_last="u"))

    assert 3 == len(positions(cache))
    assert {1, 22} < set(positions(cache))


def test_no_intermediate_marker_for_a_turn_of_few_blocks() -> None:
    messages = [system(LONG), user("task"), asks("a", use("c")), answer("t", "c", "ok")]

    assert [1, 3] == positions(plan(caching(), messages, lane=Lane(previous_last="u")))


def test_an_hour_is_asked_for_only_where_the_model_grants_it() -> None:
    messages = [system(LONG), user(LONG)]
    old = ModelRef(provider="bedrock_converse", model="anthropic.claude-3-7-sonnet-20250219-v1:0")

    assert ["1h", "1h"] == [point.ttl for point in (plan(caching("1h"), messages).messages * 2)]
    assert ("5m", ["5m"]) == (
        plan(caching("1h"), messages, old).system,
        [point.ttl for point in plan(caching("1h"), messages, old).messages],
    )


def test_nova_gets_no_marker_in_its_tools_and_none_beyond_what_it_caches() -> None:
    messages = [system(words(1_500)), *turns(40, 1_000)[1:]]
    cap = facts(NOVA).cache_cap_tokens
    assert cap is not None

    cache = plan(caching(), messages, NOVA, Lane(previous_last="t38"), tools=3_000)
    call = model_call(messages, NOVA, tools=(tool("t", 3_000),))
    last = max(positions(cache))

    assert None is cache.tools
    assert 3_000 + call.history.between(0, last + 1) <= cap < 3_000 + call.history.between(0, last + 2)


def test_a_provider_that_caches_by_itself_gets_a_key_of_the_scopes_and_the_node() -> None:
    def key(node: str, scopes: dict[str, str]) -> str | None:
        call = model_call(turns(3, 500), GPT)
        step = replace(call.step, path=node, run=RunRef(id="another", scopes=scopes))
        return arrange(caching(), replace(call, step=step)).cache.key

    acme = key("agent", {"tenant": "acme", "user": "u1"})

    assert acme == key("agent", {"user": "u1", "tenant": "acme"})
    assert 3 == len({acme, key("planner", {"tenant": "acme", "user": "u1"}), key("agent", {"tenant": "other"})})
    assert acme is not None
    assert "acme" not in acme


def test_notes_go_last_and_move_no_marker() -> None:
    call = model_call([system(LONG), *turns(3, 500)[1:]])
    lane = Lane(previous_last="t1")

    plain = arrange(caching(), call, lane)
    noted = arrange(caching(), call, lane, note="You have asked this before.")

    assert ("You have asked this before.",) == noted.view.notes
    assert plain.cache == noted.cache
    assert replace(noted.view, notes=()) == plain.view


@pytest.mark.parametrize(
    ("asked", "tier", "sent"),
    [(None, None, None), (500, None, 500), (None, 900, 900), (500, 900, 500), (2_000, 900, 900)],
)
def test_the_smaller_output_limit_holds(asked: int | None, tier: int | None, sent: int | None) -> None:
    call = model_call(turns(2, 100), max_output_tokens=asked)
    request = Order(policy()).arrange(
        RunState(), call, routed(max_output_tokens=tier), viewed(call, max_output_tokens=tier), note=None
    )

    assert sent == request.max_output_tokens


@given(
    runs(most_tokens=1_500),
    st.sampled_from([SONNET, NOVA]),
    st.sampled_from(["5m", "1h"]),
    st.integers(0, 30),
    st.integers(0, 3_000),
    st.booleans(),
)
def test_markers_are_at_most_four_each_worth_its_slot_and_inside_the_view(
    messages: list[Message], model: ModelRef, ttl: str, before: int, tools: int, cold: bool
) -> None:
    call = model_call(messages[:-1], model, tools=(tool("t", tools),) if tools else ())
    lane = Lane(
        calls=3, model="another" if cold else str(model), previous_last=messages[min(before, len(messages) - 2)].key
    )
    now = viewed(call, lane, compacting(max_input_tokens="8k"))
    request = caching(ttl).arrange(RunState(), call, routed(model), now, note="note")
    cache, rendered, known = request.cache, shown(now), facts(model)
    spots = positions(cache)

    assert len(spots) + (cache.tools is not None) + (cache.system is not None) <= 4
    assert sorted(set(spots)) == spots
    lifetimes = [point for point in (cache.tools, cache.system, *(point.ttl for point in cache.messages)) if point]
    assert sorted(lifetimes) == lifetimes
    for spot in spots:
        tokens = tools + sum(message.tokens for message in rendered[: spot + 1])
        assert 0 <= spot < len(rendered)
        assert known.min_cache_tokens <= tokens <= (known.cache_cap_tokens or tokens)
        assert rendered[spot].role != "system" or any(m.role != "system" for m in rendered[:spot])
