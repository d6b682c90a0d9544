"""What prompts come to beside an ideal cache, plain caching and none."""

from __future__ import annotations

import pytest

from governor.calls import ModelRef, ModelRequest
from governor.models import facts
from governor.usage import Usage
from tests.controls.histories import (
    GPT,
    NOVA,
    SONNET,
    answer,
    asks,
    compacting,
    policy,
    system,
    turns,
    use,
    user,
    words,
)
from tests.controls.prefix_line import LONG, OFFERED, Line, cause


def test_nova_takes_no_marker_among_tool_calls_so_that_no_cache_could_read_them() -> None:
    line = Line()
    run = [system(words(900)), user(words(900)), *turns(8, 900)[2:]]
    sums = [line.answered(run[:stop], NOVA).sums for stop in range(2, len(run), 2)]
    instructions = run[0].tokens + run[1].tokens + sum(each.tokens for each in OFFERED)

    assert [0, *[instructions] * (len(sums) - 1)] == [each.ideal for each in sums if each]


@pytest.mark.parametrize("model", [SONNET, GPT])
def test_an_ideal_cache_reads_the_prompt_before_and_no_prompt_below_the_minimum(model: ModelRef) -> None:
    known = facts(model)
    line = Line()
    before = 0
    for stop in range(2, len(LONG) + 1, 2):
        compared = line.answered(LONG[:stop], model)
        assert compared.sums is not None
        step = 128 if known.cache == "automatic" else 1
        expected = before - before % step if before >= known.min_cache_tokens else 0
        assert expected == compared.sums.ideal
        before = line.lane.prefix_tokens


def test_what_is_read_of_anything_else_does_not_count_towards_the_ideal() -> None:
    line = Line()
    line.metered = lambda request, model: Usage(input=10, cache_read=5_000)
    line.answered(LONG[:4])

    second = line.answered(LONG[:6])

    assert second.sums is not None
    assert (5_010, 5_000) == (second.sums.ideal, second.sums.read)


def test_without_a_cut_and_with_a_perfect_cache_the_view_costs_what_plain_caching_does() -> None:
    line = Line()
    stored = 0

    def perfect(request: ModelRequest, model: ModelRef) -> Usage:
        nonlocal stored
        tokens = request.view.tokens + sum(each.tokens for each in request.call.tools)
        kept, stored = stored, tokens if tokens >= facts(model).min_cache_tokens else 0
        return Usage(input=tokens - max(kept, stored), cache_read=kept, cache_write_5m=stored - kept)

    line.metered = perfect
    sums = [line.answered(LONG[:stop]).sums for stop in range(2, len(LONG) + 1, 2)]

    for each in sums:
        assert each is not None
        assert abs(each.cost - each.cached) <= 1
    assert sum(each.cached for each in sums if each) < sum(each.uncached for each in sums if each)


def test_what_was_left_out_is_in_the_comparison_and_not_in_the_cost() -> None:
    line = Line(compacting(max_input_tokens="9k"))
    run = turns(40, 700)
    last = [line.answered(run[:stop]) for stop in range(2, 70, 2)][-1]
    view = line.requests[-1].view

    assert view.cut
    assert last.sums is not None
    whole = view.history.tokens + sum(each.tokens for each in OFFERED)
    assert abs(last.sums.uncached - whole * 3_000) <= 0.01 * last.sums.uncached
    assert last.sums.cost < last.sums.uncached // 2


def test_a_shortened_result_counts_whole_where_nothing_would_have_been_left_out() -> None:
    line = Line(policy(context={"cache": {"ttl": "5m"}, "tool_results": {"cap": "500"}}))
    run = [system(), user("task"), asks("a", use("c")), answer("t", "c", words(6_000))]

    compared = line.answered(run)

    assert line.requests[-1].view.tokens < 1_000
    assert compared.sums is not None
    assert compared.sums.uncached > 5_000 * 3_000


def test_a_prompt_without_reported_usage_is_compared_and_not_summed() -> None:
    line = Line()
    line.answered(LONG[:4])
    line.metered = lambda request, model: Usage(input=100, estimated=True)

    compared = line.answered(LONG[2:6])

    assert ("system", None) == (cause(compared), compared.sums)
