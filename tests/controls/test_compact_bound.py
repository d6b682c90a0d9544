"""The bounds on a prompt hold for what the provider counts, of which the estimate is only a part."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import Message
from governor.controls.compact import Compact
from governor.decisions import Verdict
from governor.media import Media
from governor.media_tokens import media_tokens
from governor.models import facts
from governor.runs import RunState
from governor.tokens import REQUEST_FRAMING, TOOLS_PREAMBLE
from tests.controls.histories import (
    SONNET,
    compacting,
    history,
    lane_state,
    model_call,
    policy,
    routed,
    system,
    tool,
    turns,
    user,
    words,
)


@pytest.mark.parametrize("ratio", [900, 1_000, 1_300, 1_700, 4_000])
def test_the_policys_bound_holds_for_what_the_provider_counts_not_for_the_estimate(ratio: int) -> None:
    compact = Compact(compacting(max_input_tokens="9k"))
    state = RunState()
    for count in range(1, 30):
        call = model_call(turns(count, 400), tools=(tool("t", 300),))
        viewed = compact.view(state, call, routed(), count, ratio=ratio)
        state = lane_state(viewed.lane)
        estimated = viewed.view.tokens + 300 + TOOLS_PREAMBLE + REQUEST_FRAMING

        assert not viewed.decision.refuses
        assert estimated * ratio <= 9_000 * 1_000


def test_a_prompt_that_may_not_fit_the_bound_is_refused_with_what_the_provider_may_count() -> None:
    compact = Compact(policy(context={"max_input_tokens": "9k"}))
    messages = [system(), user(words(8_000))]

    exact, dense = (compact.view(RunState(), model_call(messages), routed(), 1, ratio=r) for r in (1_000, 1_300))

    assert (Verdict.ALLOW, Verdict.DENY) == (exact.decision.verdict, dense.decision.verdict)
    assert dense.decision.reason is not None
    assert str(-(-(history(messages).tokens + REQUEST_FRAMING) * 1_300 // 1_000)) == dense.decision.reason.seen


def test_the_window_forces_a_cut_by_what_the_provider_may_count_but_refuses_no_prompt_on_suspicion() -> None:
    room = (facts(SONNET).context_window - 1_000) * 85 // 100
    tall = turns(room // 1_200, 1_000)
    uncuttable = [system(), user(words(room))]
    compact = Compact(compacting())
    assert history(tall).tokens < room

    cut, whole = (compact.view(RunState(), model_call(each), routed(), 1, ratio=1_300) for each in (tall, uncuttable))

    assert (True, Verdict.MODIFY) == (cut.view.cut, cut.decision.verdict)
    assert (False, Verdict.ALLOW) == (whole.view.cut, whole.decision.verdict)


PICTURES = st.builds(
    Media,
    kind=st.sampled_from(["image", "pdf", "audio"]),
    counted=st.integers(1, 1_600),
    width=st.none() | st.integers(1, 3_000),
    height=st.integers(1, 3_000),
    pages=st.integers(1, 3),
    ms=st.integers(1, 200_000),
)


def with_media(message: Message, media: list[Media]) -> Message:
    counted = sum(each.counted for each in media)
    return replace(message, media=tuple(media), tokens=message.tokens + counted, opaque=True)


@given(
    shown=st.lists(st.lists(PICTURES, max_size=3), min_size=1, max_size=20),
    ratio=st.sampled_from([900, 1_000, 1_700]),
    cuts=st.booleans(),
)
def test_the_policys_bound_holds_for_the_most_that_pictures_may_count(
    shown: list[list[Media]], ratio: int, cuts: bool
) -> None:
    """Whatever the messages count for them: what is sent fits at the bound, and what does not fit at it is refused."""
    compact = Compact(compacting(max_input_tokens="9k") if cuts else policy(context={"max_input_tokens": "9k"}))
    messages = turns(len(shown), 200)
    messages[3::2] = [with_media(message, media) for message, media in zip(messages[3::2], shown, strict=True)]

    viewed = compact.view(RunState(), model_call(messages), routed(), 1, ratio=ratio)

    media = viewed.view.media
    text = viewed.view.tokens - sum(each.counted for each in media) + REQUEST_FRAMING
    most = text * ratio / 1_000 + media_tokens(SONNET, media)
    assert viewed.decision.refuses or most <= 9_000
    if not cuts:
        assert most > 9_000 - 2 or not viewed.decision.refuses


def test_a_cut_that_leaves_out_the_pictures_may_keep_as_much_text_as_without_them() -> None:
    pages = Media(kind="pdf", counted=1_600, pages=40)
    plain = turns(30, 300)
    pictured = [*plain[:3], with_media(plain[3], [pages]), *plain[4:]]
    compact = Compact(compacting(max_input_tokens="9k"))

    without, left = (
        compact.view(RunState(), model_call(each), routed(), 1, ratio=1_300).view for each in (plain, pictured)
    )

    assert without.cut
    assert (without.start, []) == (left.start, left.media)


def test_a_message_with_pictures_is_shown_whole_or_not_at_all() -> None:
    """A cap on tool results shortens text; what holds a picture is carried as it is."""
    compact = Compact(policy(context={"tool_results": {"cap": "200"}}))
    result = turns(1, 4_000)[3]
    pictured = with_media(result, [Media(kind="image", counted=100, width=10, height=10)])

    shortened, handle = compact.show(result)
    kept, none = compact.show(pictured)

    assert handle is not None
    assert shortened.edited
    assert (pictured, None) == (kept, none)
