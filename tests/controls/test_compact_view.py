"""What the model sees of a long history: when it is cut, and what a cut never does."""

from dataclasses import replace

import pytest

from governor.calls import ModelRef
from governor.controls.compact import Compact
from governor.controls.compact.ledger import listed
from governor.controls.compact.rent import FIRST_CUT
from governor.decisions import Verdict
from governor.models import facts
from governor.runs import Lane, RunState
from governor.tokens import REQUEST_FRAMING, TOOLS_PREAMBLE
from tests.controls.histories import (
    GPT,
    LANE,
    LOCAL,
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
    shown,
    system,
    tool,
    turns,
    use,
    user,
    words,
)

KEEP = 4_000
LEDGER = 1_000


def cuts(seen: list[Seen]) -> list[Seen]:
    return [one for one in seen if one.viewed.decision.reason is not None]


def test_a_history_is_shown_whole_when_the_policy_says_nothing() -> None:
    seen = replay(Compact(policy()), turns(60, 1_000))

    assert [one.call.history.tokens for one in seen] == [one.viewed.view.tokens for one in seen]
    assert [] == cuts(seen)


def test_a_short_history_is_never_cut() -> None:
    seen = replay(Compact(compacting()), turns(60, 100))

    assert seen[-1].call.history.tokens < 15_000
    assert [] == cuts(seen)


def test_a_long_run_is_cut_when_rereading_has_cost_as_much_as_the_cut() -> None:
    compact = Compact(compacting())
    first = cuts(replay(compact, turns(60, 1_000)))[0]
    reason = first.viewed.decision.reason

    assert reason is not None
    assert ("context.cut", Verdict.MODIFY) == (reason.code, first.viewed.decision.verdict)
    assert FIRST_CUT * int(reason.evidence["cost_nano_usd"]) <= int(reason.evidence["rent_nano_usd"])
    assert reason.evidence["tokens_after"] == first.viewed.view.tokens
    assert reason.evidence["tokens_before"] == first.call.history.tokens


def test_a_cut_costs_less_than_keeping_everything_on_every_price_model() -> None:
    messages = turns(80, 800)
    for model in (SONNET, NOVA, GPT):
        seen = replay(Compact(compacting()), messages, model)
        plain = [list(one.call.history.messages) for one in seen]

        assert bill([one.messages for one in seen], model) < 0.9 * bill(plain, model), model


def test_dear_rereading_cuts_more_often_than_cheap_rereading() -> None:
    messages = turns(40, 3_000)
    cheap, dear = (cuts(replay(Compact(compacting()), messages, model)) for model in (SONNET, LOCAL_PRICED))

    assert len(cheap) < len(dear)


def test_a_model_without_a_price_is_cut_as_rarely_as_one_with_cheap_reads() -> None:
    messages = turns(80, 800)
    unpriced = ModelRef(provider="bedrock_converse", model="anthropic.claude-sonnet-4-5-20250929-v2:0")

    assert [one.messages for one in replay(Compact(compacting()), messages, unpriced)] == [
        one.messages for one in replay(Compact(compacting()), messages, SONNET)
    ]


def test_free_rereading_is_no_reason_to_cut() -> None:
    free = replace(RATES[SONNET], input=0, cache_read=0, cache_write_5m=0, output=0)
    lane = Lane(calls=30, model=str(LOCAL), last_at_ms=1_000)

    viewed = Compact(compacting()).view(
        lane_state(lane), model_call(turns(60, 1_000), LOCAL), routed(LOCAL, rates=free), 2_000
    )

    assert (False, 0) == (viewed.view.cut, viewed.lane.rent)


def test_the_same_call_gives_the_same_view() -> None:
    messages = turns(60, 1_000)

    assert replay(Compact(compacting()), messages) == replay(Compact(compacting()), messages)


def test_a_cut_names_what_it_left_out_and_keeps_the_identifiers_that_were_used() -> None:
    messages = turns(60, 1_000)
    messages[2:2] = [
        asks("b", use("b1", order="ORD-77231", path="src/billing/retry.py")),
        answer("bt", "b1", "status of ORD-77231 is late; see src/billing/retry.py"),
    ]
    seen = cuts(replay(Compact(compacting()), messages))[0]
    ledger = seen.viewed.view.inserted[0]

    assert "user" == ledger.role
    assert "earlier messages are left out" in ledger.text
    assert {"ORD-77231", "src/billing/retry.py"} <= set(listed(ledger.text))


def test_a_cut_is_free_once_the_cache_has_expired() -> None:
    messages = turns(20, 1_000)
    lane = Lane(calls=10, model=str(SONNET), last_at_ms=1_000)
    compact = Compact(compacting())

    warm = compact.view(lane_state(lane), model_call(messages), routed(), 300_000)
    cold = compact.view(lane_state(lane), model_call(messages), routed(), 301_001)

    assert (False, True) == (warm.view.cut, cold.view.cut)


def test_a_cut_is_free_when_another_model_answers() -> None:
    lane = Lane(calls=10, model=str(NOVA), last_at_ms=1_000)

    viewed = Compact(compacting()).view(lane_state(lane), model_call(turns(20, 1_000)), routed(), 2_000)

    assert viewed.view.cut
    assert viewed.decision.reason is not None
    assert "model changed" in str(viewed.decision.reason.evidence["cause"])


def test_nothing_is_cut_while_a_tool_call_is_open() -> None:
    messages = [*turns(20, 1_000), asks("open", use("x1"), use("x2")), answer("half", "x1", "found")]
    lane = Lane(calls=10, model=str(SONNET), last_at_ms=1_000)
    compact = Compact(compacting())

    still_open = compact.view(lane_state(lane), model_call(messages), routed(), 10**9)
    closed = compact.view(lane_state(lane), model_call([*messages, answer("rest", "x2", "ok")]), routed(), 10**9)

    assert (False, True) == (still_open.view.cut, closed.view.cut)


def test_the_latest_message_of_the_user_is_kept_when_it_is_long_past() -> None:
    messages = turns(5, 500)
    messages += [user("Now look at invoices only.", "u2"), *turns(40, 1_000)[2:]]
    messages = [replace(message, key=f"{i}") for i, message in enumerate(messages)]
    seen = replay(Compact(compacting()), messages)

    after = [one for one in seen if one.viewed.view.cut]
    assert after
    assert all("Now look at invoices only." in [m.text for m in one.messages] for one in after)


def test_a_prompt_above_the_policys_bound_is_cut_at_once() -> None:
    compact = Compact(compacting(max_input_tokens="9k"))
    messages = turns(10, 1_000)

    viewed = compact.view(RunState(), model_call(messages, tools=(tool("t", 500),)), routed(), 1)

    assert viewed.view.tokens + 500 + TOOLS_PREAMBLE + REQUEST_FRAMING <= 9_000
    assert viewed.decision.reason is not None
    assert "context.max_input_tokens" == viewed.decision.reason.evidence["cause"]


def test_a_prompt_that_cannot_be_cut_below_the_bound_is_denied_with_numbers_and_remedy() -> None:
    compact = Compact(compacting(max_input_tokens="9k"))
    messages = [system(), user(words(12_000))]

    viewed = compact.view(RunState(), model_call(messages), routed(), 1)
    reason = viewed.decision.reason

    assert Verdict.DENY is viewed.decision.verdict
    assert reason is not None
    assert ("context.too_long", "context.max_input_tokens", "9k tokens") == (reason.code, reason.rule, reason.limit)
    assert str(viewed.view.tokens + REQUEST_FRAMING) == reason.seen
    assert "context.tool_results.cap" in str(reason.remedy)


def test_without_compaction_the_policys_bound_denies_and_the_models_window_is_the_providers_to_enforce() -> None:
    messages = turns(300, 1_000)

    bounded = Compact(policy(context={"max_input_tokens": "150k"})).view(RunState(), model_call(messages), routed(), 1)
    unbounded = Compact(policy()).view(RunState(), model_call(messages), routed(), 1)

    assert (Verdict.DENY, Verdict.ALLOW) == (bounded.decision.verdict, unbounded.decision.verdict)


def test_the_window_of_the_model_forces_a_cut() -> None:
    messages = turns(200, 1_000)
    window = facts(SONNET).context_window

    viewed = Compact(compacting()).view(RunState(), model_call(messages), routed(), 1)

    assert history(messages).tokens > 0.85 * window
    assert viewed.view.cut


def test_a_tier_may_say_how_much_it_reads() -> None:
    tiers = {"small": {"model": str(SONNET), "context_window": "8k", "max_output_tokens": "1k"}}
    compact = Compact(policy(tiers=tiers, context={"compact": {"strategy": "ledger", "keep_tail": "4k"}}))

    viewed = compact.view(RunState(), model_call(turns(10, 1_000)), routed(tier="small"), 1)

    assert viewed.view.cut
    assert viewed.view.tokens <= 7_000


def test_observing_changes_nothing_and_says_what_would_have_happened() -> None:
    messages = turns(60, 1_000)
    observing = policy(mode="observe", context={"compact": {"strategy": "ledger"}, "cache": {"ttl": "5m"}})

    seen = replay(Compact(observing), messages)
    enforced = replay(Compact(compacting()), messages)

    assert [one.call.history.tokens for one in seen] == [one.viewed.view.tokens for one in seen]
    assert [one.viewed.lane for one in enforced] == [one.viewed.lane for one in seen]
    assert len(cuts(enforced)) == len([one for one in cuts(seen) if one.viewed.decision.observed])


def test_a_fork_from_before_a_cut_is_not_bound_by_it() -> None:
    messages = turns(60, 1_000)
    seen = replay(Compact(compacting()), messages)
    first = cuts(seen)[0]
    last = seen[-1].viewed.lane
    assert len(last.cuts) > 1
    fork = history(first.call.history.messages)

    viewed = Compact(compacting()).view(lane_state(replace(last, rent=0)), model_call(fork), routed(), 10)

    assert first.viewed.lane.cuts[-1].text == viewed.view.inserted[0].text
    assert first.messages == shown(viewed)


def test_a_system_text_that_changes_from_call_to_call_does_not_undo_a_cut() -> None:
    messages = turns(60, 1_000)
    lane = replay(Compact(compacting()), messages)[-1].viewed.lane
    changed = [system("It is 12:01.", "s-other"), *messages[1:]]

    viewed = Compact(compacting()).view(lane_state(lane), model_call(changed), routed(), 10)

    assert viewed.view.cut
    assert ["It is 12:01.", "Find the cause."] == [m.text for m in shown(viewed)[:2]]


@pytest.mark.bench
def test_a_call_between_cuts_takes_as_long_at_two_thousand_messages_as_at_two_hundred() -> None:
    from timeit import repeat

    def fastest(count: int) -> float:
        messages = turns(count, 20)
        calm = Lane(calls=10, model=str(SONNET), last_at_ms=1)
        call, compact = model_call(messages), Compact(compacting(compact={"strategy": "ledger", "keep_tail": "2k"}))
        state = RunState(lanes={LANE: calm})
        return min(repeat(lambda: compact.view(state, call, routed(), 2), number=20, repeat=10)) / 20

    assert fastest(1_000) < 3 * fastest(100) + 150e-6


def test_a_bound_leaves_room_to_grow_so_that_not_every_call_is_cut() -> None:
    messages = turns(60, 400)
    for position, message in enumerate(messages):
        if message.role == "tool":
            messages[position] = replace(
                message, text=f"{message.text} {' '.join(f'id_{position}_{i}' for i in range(9))}"
            )
    seen = replay(Compact(compacting(max_input_tokens="5300")), messages)

    assert cuts(seen)
    assert len(cuts(seen)) < len(seen) / 4
    assert all(one.viewed.view.tokens <= 5_300 for one in seen)


def test_a_cut_that_would_not_shorten_the_prompt_is_not_made() -> None:
    tiers = {"small": {"model": str(SONNET), "context_window": "8k", "max_output_tokens": "1k"}}
    compact = Compact(policy(tiers=tiers, context={"compact": {"strategy": "ledger"}}))
    messages = [system(), user(words(3_000)), asks("a", text="see x_1"), user(words(3_300), "u2")]
    assert 5_950 < history(messages).tokens < 8_000

    viewed = compact.view(RunState(), model_call(messages), routed(tier="small"), 1)

    assert (Verdict.ALLOW, False) == (viewed.decision.verdict, viewed.view.cut)


def test_a_result_that_came_late_keeps_its_call_in_view() -> None:
    """Between the call and its result stand other messages: the tail must not begin among them."""
    messages = [
        *turns(12, 2_000),
        asks("late", use("l1"), use("l2")),
        answer("r1", "l1", words(3_000)),
        user("Hurry.", "u2"),
        answer("r2", "l2", words(3_000)),
        user("Go on.", "u3"),
    ]
    lane = Lane(calls=10, model=str(NOVA), last_at_ms=1)

    compact = Compact(compacting(compact={"strategy": "ledger", "keep_tail": "4k"}))
    viewed = compact.view(lane_state(lane), model_call(messages), routed(), 2)

    assert viewed.view.cut
    assert "late" == messages[viewed.view.start].key


def test_a_message_of_the_user_far_back_counts_when_it_is_decided_what_a_cut_saves() -> None:
    """The quick estimate does not see it; the cut itself must."""
    messages = turns(2, 100)
    messages += [user(words(14_000), "paste"), *turns(200, 20)[2:]]
    messages = [replace(message, key=str(i)) for i, message in enumerate(messages)]
    lane = Lane(calls=10, model=str(NOVA), last_at_ms=1)

    viewed = Compact(compacting()).view(lane_state(lane), model_call(messages), routed(), 2)

    assert viewed.view.cut
    assert words(14_000) in [message.text for message in shown(viewed)]
    assert viewed.view.tokens < history(messages).tokens
