"""The bounds on a prompt hold for what the provider counts, of which the estimate is only a part."""

import pytest

from governor.controls.compact import Compact
from governor.decisions import Verdict
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
