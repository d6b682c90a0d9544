"""A cut is an investment: what it loses when the run ends right after it, and what it saves when the run goes on."""

import pytest

from governor.calls import ModelRef
from governor.controls.compact import Compact
from governor.controls.compact.rent import tariff
from governor.models import ModelFacts, facts
from governor.prices import Rates
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
        assert bill(requests[:end], model, 100) <= 1.04 * bill(plain[:end], model, 100)


def test_later_cuts_do_not_wait_as_long_as_the_first() -> None:
    seen = replay(Compact(compacting()), turns(160, 560))
    first, second = [i for i, one in enumerate(seen) if one.viewed.decision.reason is not None][:2]

    assert second - first < first


@pytest.mark.parametrize(
    ("model", "reads"),
    [(SONNET, (300, 3_750)), (GPT, (125, 1_250)), (GPT, (1_250, 2_500)), (NOVA, (200, 800))],
    ids=["claude", "gpt", "gpt-half", "nova"],
)
def test_the_dearer_reads_are_the_shorter_prompts_are_cut(model: ModelRef, reads: tuple[int, int]) -> None:
    """What is re-read costs more there, and a rewriting is paid for sooner."""
    read, write = (1_000_000 * each for each in reads)
    rates = Rates(input=write, output=0, cache_read=read, cache_write_5m=write, cache_write_1h=write)
    dearer = Rates(input=write, output=0, cache_read=2 * read, cache_write_5m=write, cache_write_1h=write)
    floors = [tariff(each, facts(model), "5m").floor for each in (rates, dearer)]

    assert 6_000 <= floors[1] <= floors[0] <= 12_000
    assert floors[1] < floors[0] or 6_000 == floors[0]


def test_a_model_that_caches_nothing_is_cut_soonest() -> None:
    assert 6_000 == tariff(None, ModelFacts(cache="none"), "5m").floor
    assert 12_000 == tariff(None, facts(SONNET), "5m").floor
    assert (
        12_000
        == tariff(Rates(input=0, output=0, cache_read=0, cache_write_5m=0, cache_write_1h=0), facts(SONNET), "5m").floor
    )
