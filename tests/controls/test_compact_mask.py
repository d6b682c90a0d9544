"""Masking: tool results of the past become placeholders, and nothing else changes."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import Message, ModelRef
from governor.controls.compact import Compact
from governor.controls.compact.mask import Masks, placeholder
from governor.controls.compact.rent import FIRST_CUT, tariff
from governor.controls.compact.show import handle_of
from governor.controls.compact.span import newest_cut
from governor.controls.order import Order
from governor.decisions import Verdict
from governor.models import facts
from governor.policy.schema import Policy
from governor.runs import Lane, RunState
from tests.controls.histories import (
    GPT,
    LOCAL_PRICED,
    NOVA,
    RATES,
    SONNET,
    Seen,
    answer,
    asks,
    bill,
    compacting,
    history,
    lane_state,
    model_call,
    policy,
    replay,
    routed,
    runs,
    shown,
    tool,
    turns,
    use,
    user,
    words,
)

KEEP = 4_000


def masks(**context: object) -> Policy:
    return compacting(compact={"strategy": "mask", "keep_tail": "4k", "ledger": "1k"}, **context)


def cuts(seen: list[Seen]) -> list[Seen]:
    return [one for one in seen if one.viewed.decision.reason is not None]


CASES = st.tuples(
    runs(),
    st.sampled_from([SONNET, NOVA, GPT, LOCAL_PRICED]),
    st.sampled_from([4_000, 400_000]),
    st.sampled_from([None, "9k", "12k"]),
)
Case = tuple[list[Message], ModelRef, int, str | None]


def replayed(case: Case) -> list[Seen]:
    messages, model, gap, bound = case
    return replay(Compact(masks(max_input_tokens=bound) if bound else masks()), messages, model, gap)


@given(CASES)
def test_calls_and_texts_stay_and_every_result_is_whole_or_named_by_its_placeholder(case: Case) -> None:
    for one in replayed(case):
        if one.viewed.view.inserted:  # masking was not enough to fit the bound
            continue
        whole = one.call.history.messages
        assert [(m.key, m.role, m.tool_uses, m.answers) for m in whole] == [
            (m.key, m.role, m.tool_uses, m.answers) for m in one.messages
        ]
        for before, after in zip(whole, one.messages, strict=True):
            short = placeholder(before, recall=True)
            assert after.text == before.text or (short is not None and after.text == short.text)
            assert before.role == "tool" or after.text == before.text
            assert after.tokens <= before.tokens


@given(CASES)
def test_no_tool_message_is_orphaned_and_no_task_or_instruction_lost(case: Case) -> None:
    for one in replayed(case):
        texts = {message.text for message in one.messages}
        called: set[str] = set()
        for message in one.messages:
            called |= {each.id for each in message.tool_uses}
            assert message.role != "tool" or message.answers in called
        whole = one.call.history.messages
        assert {m.text for m in whole if m.role == "system"} <= texts
        users = [m.text for m in whole if m.role == "user"]
        assert {users[0], users[-1]} <= texts


@given(CASES)
def test_between_cuts_every_request_extends_the_one_before(case: Case) -> None:
    for before, after in pairwise(replayed(case)):
        if after.viewed.decision.reason is None or after.viewed.decision.refuses:
            assert before.messages == after.messages[: len(before.messages)]


@given(CASES)
def test_what_a_placeholder_names_was_handed_over_to_be_kept_before_it_was_shown(case: Case) -> None:
    kept: dict[str, str] = {}
    for one in replayed(case):
        kept |= dict(one.viewed.elided)
        for before, after in zip(one.call.history.messages, one.viewed.view.history.messages, strict=True):
            if after.text != before.text:
                assert kept[after.handle or ""] == before.text


@given(CASES)
def test_the_latest_tokens_stay_word_for_word_at_a_cut(case: Case) -> None:
    for one in cuts(replayed(case)):
        if (
            one.viewed.decision.reason is None
            or one.viewed.decision.reason.evidence["cause"] != "re-reading cost as much"
        ):
            continue
        left = KEEP
        for before, after in reversed(list(zip(one.call.history.messages, one.messages, strict=True))):
            left -= before.tokens
            if left < 0:
                break
            assert before == after


@given(runs())
def test_what_is_remembered_of_a_lane_changes_nothing(messages: list[Message]) -> None:
    """Every call by a control that knows nothing gives the same bytes as one control for all."""
    rules = masks(max_input_tokens="9k")
    state, one = RunState(), replay(Compact(rules), messages)
    for each in one:
        viewed = Compact(rules).view(state, each.call, routed(), 4_000 * (one.index(each) + 1))
        assert [(m.key, m.text) for m in each.messages] == [(m.key, m.text) for m in shown(viewed)]
        last = each.call.history.messages[-1].key
        lane = replace(viewed.lane, last_at_ms=4_000 * (one.index(each) + 1), model=str(SONNET), previous_last=last)
        state = lane_state(lane)


def test_a_mask_costs_less_than_keeping_everything() -> None:
    messages = turns(80, 800)
    for model in (NOVA, GPT, LOCAL_PRICED):
        seen = replay(Compact(masks()), messages, model)
        plain = [list(one.call.history.messages) for one in seen]

        assert bill([one.messages for one in seen], model) < bill(plain, model), model


def test_a_mask_waits_until_rereading_has_cost_what_rewriting_from_the_boundary_costs() -> None:
    first, second = cuts(replay(Compact(masks()), turns(120, 1_000)))[:2]
    charges = tariff(RATES[SONNET], facts(SONNET), "5m")

    for one, factor, boundary in ((first, FIRST_CUT, 0), (second, 1, first.viewed.view.edges[-1] + 1)):
        reason = one.viewed.decision.reason
        assert reason is not None
        price, after = int(reason.evidence["cost_nano_usd"]), one.viewed.view.tokens
        whole, view = one.call.history.messages, one.viewed.view.history
        newly = next(i for i in range(boundary, len(whole)) if whole[i].text != view.messages[i].text)
        assert price == charges.rewriting(after, view.between(0, newly))
        assert factor * price <= int(reason.evidence["rent_nano_usd"])
    assert second.viewed.view.edges[0] == first.viewed.view.edges[-1]


def test_the_place_where_the_masks_end_has_a_cache_marker_and_at_a_cut_the_one_before_as_well() -> None:
    seen = replay(Compact(masks()), turns(120, 1_000))
    third = cuts(seen)[2]  # what the first one left is too short to be cached
    after = seen[seen.index(third) + 1]
    order = Order(policy(context={"cache": {"ttl": "5m"}}))

    marked = [
        {
            point.position
            for point in order.arrange(RunState(), one.call, routed(), one.viewed, note=None).cache.messages
        }
        for one in (third, after)
    ]

    edges = third.viewed.view.edges
    assert len(edges) == 2
    assert set(edges) < marked[0]
    assert edges[-1] in marked[1]


def test_a_result_that_was_shortened_before_keeps_its_handle_and_is_not_kept_twice() -> None:
    compact = Compact(masks(tool_results={"cap": "1k"}))
    long = answer("t", "c", words(5_000))
    short, handle = compact.show(long)

    masked = placeholder(short, recall=True)

    assert masked is not None
    assert handle == handle_of(long.text) == masked.handle
    assert f'recall(handle="{handle}")' in masked.text


def test_without_a_recall_tool_a_placeholder_promises_none() -> None:
    masked = placeholder(answer("t", "c", words(500), name="look_up"), recall=False)

    assert masked is not None
    assert "recall" not in masked.text
    assert "look_up" in masked.text
    assert masked.handle is None


def test_short_results_stay() -> None:
    assert placeholder(answer("t", "c", "ok"), recall=True) is None


def test_a_pinned_result_is_not_masked() -> None:
    messages = turns(60, 1_000)
    messages[3] = replace(messages[3], pinned=True)
    seen = cuts(replay(Compact(masks()), messages))

    assert seen
    assert all(messages[3] in one.messages for one in seen)


def test_where_masking_is_not_enough_old_history_is_removed_as_by_the_ledger() -> None:
    messages = turns(1, 100)
    for i in range(40):
        messages += [asks(f"x{i}", use(f"xc{i}", q=i), text=words(600, i)), answer(f"xt{i}", f"xc{i}", f"{i} ok")]
    viewed = Compact(masks(max_input_tokens="9k")).view(RunState(), model_call(messages), routed(), 1)

    assert viewed.view.cut
    assert viewed.view.tokens <= 9_000
    assert "earlier messages are left out" in viewed.view.inserted[0].text


def test_masks_go_on_behind_a_cut_that_removed_history() -> None:
    messages = turns(1, 100)
    for i in range(40):
        messages += [asks(f"x{i}", use(f"xc{i}", q=i), text=words(600, i)), answer(f"xt{i}", f"xc{i}", f"{i} ok")]
    compact = Compact(masks(max_input_tokens="9k"))
    first = compact.view(RunState(), model_call(messages), routed(), 1)
    more = [
        part
        for i in range(6)
        for part in (asks(f"y{i}", use(f"yc{i}", q=i)), answer(f"yt{i}", f"yc{i}", f"{i} {words(900, i)}"))
    ]
    second = compact.view(lane_state(first.lane), model_call([*messages, *more]), routed(), 2)

    assert second.view.cut
    assert second.view.altered
    assert second.view.inserted == first.view.inserted
    assert second.view.start == first.view.start


def test_a_fork_from_before_a_mask_is_not_bound_by_it() -> None:
    messages = turns(120, 1_000)
    seen = replay(Compact(masks()), messages)
    first, second = cuts(seen)[:2]
    lane = replace(second.viewed.lane, rent=0)
    boundary = second.viewed.view.edges[-1]

    viewed = Compact(masks()).view(lane_state(lane), model_call(history(messages[:boundary])), routed(), 10)

    assert viewed.view.edges == first.viewed.view.edges


def test_the_next_run_of_a_thread_keeps_the_texts_again_because_recall_reads_by_run() -> None:
    seen = replay(Compact(masks()), turns(60, 1_000))
    lane = replace(seen[-1].viewed.lane, rent=0)
    call = model_call([*seen[-1].call.history.messages, user("And now?", "u2")])
    other = replace(call, step=replace(call.step, run=replace(call.step.run, id="r2")))

    same, again = (Compact(masks()).view(lane_state(lane), each, routed(), 10) for each in (call, other))

    assert same.elided == ()
    assert {handle for handle, _ in again.elided} == {
        again.view.history.messages[position].handle for position in again.view.altered
    }
    assert again.lane.kept_in == "r2"


def test_observing_masks_nothing_and_says_what_would_have_happened() -> None:
    rules = policy(mode="observe", context={"compact": {"strategy": "mask"}, "cache": {"ttl": "5m"}})
    seen = replay(Compact(rules), turns(60, 1_000))

    assert cuts(seen)
    assert all(one.viewed.decision.observed for one in cuts(seen))
    assert all(not one.viewed.view.altered and not one.viewed.elided for one in seen)


def test_off_is_off() -> None:
    lane = cuts(replay(Compact(masks()), turns(60, 1_000)))[0].viewed.lane
    viewed = Compact(policy()).view(lane_state(lane), model_call(turns(60, 1_000)), routed(), 10**9)

    assert (False, (), Verdict.ALLOW) == (viewed.view.cut, viewed.view.altered, viewed.decision.verdict)


@pytest.mark.bench
def test_a_call_between_masks_takes_about_as_long_at_a_thousand_masks_as_at_a_hundred() -> None:
    from timeit import repeat

    def fastest(count: int) -> float:
        messages = turns(count, 60)
        call, compact = model_call(messages, tools=(tool("t"),)), Compact(masks(max_input_tokens="400k"))
        lane = Lane(calls=10, model=str(NOVA), last_at_ms=1)
        first = compact.view(lane_state(lane), call, routed(), 2)
        assert first.view.altered
        state = lane_state(replace(first.lane, model=str(SONNET)))
        return min(repeat(lambda: compact.view(state, call, routed(), 3), number=5, repeat=10)) / 5

    assert fastest(1_000) < 20 * fastest(400)


def test_what_is_remembered_is_bounded() -> None:
    seen = cuts(replay(Compact(masks()), turns(60, 1_000)))[0]
    standing_call, known = seen.call, Masks()
    standing = newest_cut(seen.viewed.lane.cuts, standing_call.history)
    for lane in range(200):
        known.shown(f"lane {lane}", standing_call.history, standing, recall=True)

    assert len(known._known) <= 32
