"""The benchmark's own prompt cache: what it reads, what it writes and what it forgets, by each provider's rules."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.context.accounting import PRICES, Bill, Cache, cheapest_summary
from tests.bench.context.corpus import Item, Sizes, run_of
from tests.bench.context.expiry import hourly
from tests.bench.context.ours import Ours
from tests.bench.context.score import faults_of

SONNET, GPT, _, NOVA = PRICES


def items(*tokens: int, blocks: int = 1) -> list[Item]:
    return [Item(each, blocks) for each in tokens]


def test_the_first_prompt_is_written_up_to_its_last_marker_and_the_rest_is_fresh() -> None:
    assert (500, 3_000, 0) == Cache(SONNET).send(items(2_000, 1_000, 500), (0, 1))


def test_a_longer_prompt_reads_what_the_one_before_wrote() -> None:
    cache, prompt = Cache(SONNET), items(2_000, 1_000, 500)
    cache.send(prompt[:2], (0, 1))

    assert (0, 500, 3_000) == cache.send(prompt, (0, 2))


def test_a_changed_message_ends_what_is_read_at_the_marker_before_it() -> None:
    cache, prompt = Cache(SONNET), items(2_000, 1_000, 500)
    cache.send(prompt, (0, 2))

    assert (0, 1_500, 2_000) == cache.send([prompt[0], *items(1_000, 500)], (0, 2))


def test_two_messages_with_as_many_tokens_are_not_the_same_bytes() -> None:
    cache = Cache(SONNET)
    cache.send(items(2_000), (0,))

    assert (0, 2_000, 0) == cache.send(items(2_000), (0,))


@pytest.mark.parametrize(("blocks", "read"), [(19, 2_000), (20, 0)])
def test_a_marker_finds_no_entry_more_than_20_blocks_back(blocks: int, read: int) -> None:
    cache, prompt = Cache(SONNET), [*items(2_000), *(Item(10) for _ in range(blocks))]
    cache.send(prompt[:1], (0,))

    assert read == cache.send(prompt, (len(prompt) - 1,))[2]


def test_a_message_of_many_blocks_counts_as_many() -> None:
    cache, prompt = Cache(SONNET), [*items(2_000), Item(500, blocks=20)]
    cache.send(prompt[:1], (0,))

    assert 0 == cache.send(prompt, (1,))[2]
    assert 2_500 == cache.send(prompt, (0, 1))[2], "it was written by the request before"


def test_prefixes_below_the_minimum_are_not_written() -> None:
    cache, prompt = Cache(SONNET), items(1_000, 23, 1)

    assert (1_023, 0, 0) == cache.send(prompt[:2], (0, 1))
    assert (0, 1_024, 0) == cache.send(prompt, (0, 1, 2))


def test_beyond_the_cap_nothing_is_cached_and_what_is_within_it_still_is() -> None:
    cache, prompt = Cache(NOVA), items(15_000, 4_000, 6_000, 1_000)

    assert (7_000, 19_000, 0) == cache.send(prompt, (0, 3))
    assert (7_000, 0, 19_000) == cache.send(prompt, (0, 3))


def test_a_marker_in_a_turn_with_tools_counts_where_the_last_turn_without_any_ended() -> None:
    said = [
        Item(2_000),
        *(Item(1_000, role=role) for role in ("user", "assistant", "tool", "user", "assistant", "user")),
    ]

    for length, kept in ((2, 3_000), (4, 3_000), (5, 3_000), (7, 8_000)):
        assert (1_000 * (length + 1) - kept, kept, 0) == Cache(NOVA).send(said[:length], (length - 1,))
        assert 0 == Cache(NOVA._replace(plain=False)).send(said[:length], (length - 1,))[0]


def test_automatic_caches_read_any_prefix_in_steps_of_128_and_write_nothing() -> None:
    cache, prompt = Cache(GPT), items(1_000, 300, 77)

    assert (1_300, 0, 0) == cache.send(prompt[:2], ())
    assert (1_377 - 1_280, 0, 1_280) == cache.send(prompt, ())
    assert (1_005, 0, 0) == cache.send([prompt[0], *items(5)], ()), "1,000 tokens are below the minimum"


def test_an_entry_expires_after_its_last_use_and_a_hit_makes_it_live_on() -> None:
    cache, prompt = Cache(SONNET, ttl=300), items(2_000)
    sent = [cache.send(prompt, (0,), now)[2] for now in (0, 300, 600, 901)]

    assert [0, 2_000, 2_000, 0] == sent


def test_an_hour_of_life_costs_twice_the_input() -> None:
    assert 6.0 == hourly(SONNET).write


def test_the_look_back_begins_with_the_markers_own_block() -> None:
    cache, prompt = Cache(SONNET._replace(lookback=1)), [Item(2_000, blocks=3), Item(500)]
    cache.send(prompt[:1], (0,))

    assert 2_000 == cache.send(prompt, (0,))[2]
    assert 0 == cache.send(prompt, (1,))[2]


def test_a_line_that_might_change_and_never_does_is_charged_where_it_stands() -> None:
    talk = [{"role": "user", "content": "Go."}, {"role": "assistant", "content": "Yes."}] * 3
    text = "Be brief.\nThe current time is 2026-05-15 15:00:00 EST."
    row = {"id": "r", "source": "s", "system": text, "tools": []}
    run = run_of({**row, "messages": talk}, Sizes(len))

    requests = Ours(len)(run, SONNET)

    assert [0, 0, 0] == [request.notes for request in requests]
    assert {len(text) + 4} == {request.items[0].tokens for request in requests}
    assert not any(faults_of(run, requests).values())


@given(
    st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 6)), min_size=1, max_size=30),
    st.sampled_from(PRICES),
    st.data(),
)
def test_every_token_is_charged_once_and_none_is_read_that_was_not_sent(
    drawn: list[tuple[int, int]], price: object, data: st.DataObject
) -> None:
    model = next(each for each in PRICES if each == price)
    prompt, cache, sent = [Item(tokens, blocks) for tokens, blocks in drawn], Cache(model), 0
    for _ in range(data.draw(st.integers(1, 5))):
        length = data.draw(st.integers(1, len(prompt)))
        marks = data.draw(st.sets(st.integers(0, length - 1), max_size=4))
        split = cache.send(prompt[:length], sorted(marks))
        total = sum(item.tokens for item in prompt[:length])

        assert total == sum(split)
        assert min(split) >= 0
        assert split[2] <= sent
        assert model.cap is None or sum(split[1:]) <= model.cap
        sent = max(sent, total)


@given(st.lists(st.integers(1, 3_000), min_size=2, max_size=25))
def test_the_longer_entries_live_the_less_is_read_anew(tokens: list[int]) -> None:
    prompt = items(*tokens)

    def fresh(ttl: float | None) -> int:
        cache = Cache(SONNET, ttl)
        sends: Sequence[tuple[int, int, int]] = [
            cache.send(prompt[: n + 1], (0, n), 200.0 * n * (n % 3)) for n in range(len(prompt))
        ]
        return sum(split[0] + split[1] for split in sends)

    assert fresh(None) <= fresh(3_600) <= fresh(300)


def test_a_bill_adds_prompts_summaries_and_what_must_be_read_again() -> None:
    bill = Bill()
    bill.add(SONNET, (1_000, 2_000, 10_000))
    bill.summarise(SONNET, 4_400, False, 0)
    bill.lose(SONNET, 10_000)

    assert pytest.approx(0.003 + 0.0075 + 0.003) == bill.input
    assert pytest.approx((5_000 * 1 + 300 * 5) / 1e6) == bill.summaries
    assert pytest.approx((10_000 * 0.30 + 2_000 * 3.75 + 80 * 15) / 1e6) == bill.refetch
    assert bill.spent == bill.input + bill.summaries


def test_the_main_model_summarises_a_long_history_and_never_behind_a_capped_cache() -> None:
    assert [False, True] == [cheapest_summary(SONNET, removed, removed + 2_000)[1] for removed in (3_000, 8_000)]
    assert not cheapest_summary(NOVA, 50_000, 52_000)[1]
