"""A cut is an investment: what it loses when the run ends right after it, and what it saves when the run goes on."""

import pytest

from governor.calls import ModelRef
from governor.controls.compact import Compact
from tests.controls.histories import GPT, NOVA, SONNET, bill, compacting, replay, turns


@pytest.mark.parametrize("model", [SONNET, GPT, NOVA], ids=["claude", "gpt", "nova"])
@pytest.mark.parametrize("tokens", [300, 560, 1_000, 3_000])
def test_a_run_that_ends_right_after_a_cut_costs_hardly_more_than_one_that_is_never_cut(
    model: ModelRef, tokens: int
) -> None:
    seen = replay(Compact(compacting()), turns(80, tokens), model, tools=100)
    requests = [one.messages for one in seen]
    plain = [list(one.call.history.messages) for one in seen]
    cuts = [i for i, one in enumerate(seen) if one.viewed.decision.reason is not None]

    assert cuts
    for end in (cut + later for cut in cuts for later in (1, 2, 5)):
        assert bill(requests[:end], model, 100) <= 1.03 * bill(plain[:end], model, 100)


def test_later_cuts_do_not_wait_as_long_as_the_first() -> None:
    seen = replay(Compact(compacting()), turns(160, 560))
    first, second = [i for i, one in enumerate(seen) if one.viewed.decision.reason is not None][:2]

    assert second - first < first
