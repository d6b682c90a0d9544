"""What holds of every history with summaries, and who is asked for one at which prices."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import Message, ModelRef, ModelResponse
from governor.controls.compact import Compact
from governor.controls.compact.summary import ALONE, EXPECTED, LONGEST
from governor.plans import Asking, Viewed
from governor.policy.schema import Policy
from governor.runs import Lane, RunState
from governor.tokens import estimate
from tests.controls.histories import (
    GPT,
    LANE,
    LOCAL_PRICED,
    NOVA,
    SONNET,
    Seen,
    lane_state,
    model_call,
    policy,
    routed,
    runs,
    shown,
    turns,
    words,
)

SMALL = {"model": "small:small", "price": {"input": 0.03, "output": 0.15}, "context_window": "1M"}


def summarising(**tiers: object) -> Policy:
    context = {"compact": {"strategy": "summarise"}, "cache": {"ttl": "5m"}}
    return policy(context=context, tiers=tiers)


def replayed(
    compact: Compact, messages: list[Message], model: ModelRef, said: list[str], gap_ms: int = 4_000
) -> tuple[list[Seen], list[Asking]]:
    """As `histories.replay`; a summary that is asked for is answered with the next of `said`, and the last one from then on."""
    state, seen, asked = RunState(), list[Seen](), list[Asking]()
    for position, message in enumerate(messages):
        if message.role != "assistant":
            continue
        now = gap_ms * (len(seen) + 1)
        call = model_call(messages[:position], model)
        viewed = compact.view(state, call, routed(model), now)
        if viewed.asking is not None:
            text = said[min(len(asked), len(said) - 1)]
            asked.append(viewed.asking)
            told = compact.told(call, viewed, viewed.asking, ModelResponse(text=text, finish="stop"))
            viewed = told if isinstance(told, Viewed) else compact.untold(viewed, told)
        seen.append(Seen(viewed=viewed, messages=shown(viewed), call=call))
        lane = replace(viewed.lane, last_at_ms=now, model=str(model), prefix_tokens=viewed.view.tokens)
        state = RunState(lanes={LANE: lane})
    return seen, asked


@given(
    runs(),
    st.sampled_from([SONNET, NOVA, GPT, LOCAL_PRICED]),
    st.sampled_from([4_000, 400_000]),
    st.lists(
        st.sampled_from([words(20), words(250), words(900), words(3_000), "", "A-7 is open."]), min_size=1, max_size=4
    ),
)
def test_no_task_is_lost_no_tool_message_orphaned_and_between_cuts_requests_extend_each_other(
    messages: list[Message], model: ModelRef, gap: int, said: list[str]
) -> None:
    seen, asked = replayed(Compact(summarising(small=SMALL)), messages, model, said, gap)
    for one in seen:
        called: set[str] = set()
        for message in one.messages:
            called |= {each.id for each in message.tool_uses}
            assert message.role != "tool" or message.answers in called
        users = [m.text for m in one.call.history.messages if m.role == "user"]
        assert {users[0], users[-1]} <= {m.text for m in one.messages}
        assert one.viewed.asking is None
        assert not one.viewed.view.cut or one.viewed.view.tokens < one.call.history.tokens
        assert all(m.tokens <= LONGEST + 1_000 for m in one.viewed.view.inserted)
    for before, after in pairwise(seen):
        if after.viewed.decision.reason is None:
            assert before.messages == after.messages[: len(before.messages)]
    again, _ = replayed(Compact(summarising(small=SMALL)), messages, model, said, gap)
    assert [one.messages for one in seen] == [one.messages for one in again]
    assert len(asked) <= len([one for one in seen if one.viewed.decision.reason is not None])


@given(runs(most_turns=12), st.sampled_from([NOVA, LOCAL_PRICED]))
def test_whoever_has_not_seen_the_conversation_is_shown_all_that_a_cut_removes(
    messages: list[Message], model: ModelRef
) -> None:
    compact = Compact(summarising(small=SMALL))
    lane = Lane(calls=10, model="another", last_at_ms=1)
    call = model_call(messages[:-1], model)

    viewed = compact.view(lane_state(lane), call, routed(model), 2)

    if viewed.asking is not None and not viewed.asking.appended:
        view, history = viewed.view, call.history.messages
        alone, told = viewed.asking.view.history.messages
        assert ALONE == alone.text
        removed = [m for i, m in enumerate(history[: view.start]) if i not in view.pinned]
        assert removed
        assert all(message.text in told.text for message in removed)


@pytest.mark.parametrize(("dollars", "appended"), [((1, 5), True), ((0.3, 1.5), False)])
def test_whoever_is_cheaper_is_asked(dollars: tuple[float, float], appended: bool) -> None:
    """On Sonnet's prices a model of a third of them is dearer from 4.3k removed tokens on (design notes), one of a tenth is not."""
    small = {"model": "small:small", "price": {"input": dollars[0], "output": dollars[1]}, "context_window": "1M"}
    messages = turns(20, 1_000)
    lane = Lane(calls=90, model=str(SONNET), last_at_ms=1, rent=10**15, prefix_tokens=10**6)

    viewed = Compact(summarising(small=small)).view(lane_state(lane), model_call(messages), routed(), 2)

    assert viewed.asking is not None
    assert appended is viewed.asking.appended


def test_a_summary_is_part_of_what_a_cut_has_to_pay_for_itself() -> None:
    messages = turns(80, 1_000)
    plain = Compact(policy(context={"compact": {"strategy": "ledger"}, "cache": {"ttl": "5m"}}))
    first = [
        next(i for i, one in enumerate(replayed(compact, messages, SONNET, [words(200)])[0]) if one.viewed.view.cut)
        for compact in (plain, Compact(summarising()))
    ]

    assert first[0] < first[1]


def test_the_expected_length_is_that_of_the_design_notes() -> None:
    assert 300 == EXPECTED
    assert 250 <= estimate(words(300)) <= 350
