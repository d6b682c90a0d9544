"""Cache markers from request to request: what one wrote the next one finds, however many blocks a turn adds, and a cut keeps its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import Message, ModelRef, ModelRequest
from governor.models import facts
from tests.controls.histories import NOVA, SONNET, answer, asks, compacting, system, tool, turns, use, user, words
from tests.controls.prefix_line import Line

LOOKBACK = 20
"""Blocks before and with a marker in which Claude looks for an older entry (Anthropic's and AWS's documentation)."""


def shown(request: ModelRequest) -> list[Message]:
    view = request.view
    history = view.history.messages
    return [*(history[i] for i in view.pinned), *view.inserted, *history[view.start :]]


def spots(request: ModelRequest) -> list[int]:
    return [point.position for point in request.cache.messages]


def left_out(request: ModelRequest) -> object:
    view = request.view
    return view.pinned, view.inserted, view.start, view.altered


def fan(number: int, width: int, tokens: int) -> list[Message]:
    """One turn: a message that calls so many tools at once, and their answers."""
    uses = [use(f"c{number}-{i}", q=f"{number} {i}") for i in range(width)]
    results = [answer(f"t{number}-{i}", f"c{number}-{i}", words(tokens, i)) for i in range(width)]
    return [asks(f"a{number}", *uses), *results]


@given(
    st.lists(st.integers(1, 45), min_size=2, max_size=7),
    st.sampled_from([20, 150, 900]),
    st.sampled_from(["5m", "1h"]),
    st.sampled_from([SONNET, NOVA]),
)
def test_every_request_finds_what_the_one_before_wrote_last(
    widths: list[int], tokens: int, ttl: str, model: ModelRef
) -> None:
    line = Line(compacting(cache={"ttl": ttl}))
    run = [system(words(600)), user(words(500))]
    for number, width in enumerate(widths):
        line.answered(run, model)
        run += fan(number, width, tokens)
    line.answered(run, model)

    reach = LOOKBACK if facts(model).lookback_blocks else 1
    for before, after in zip(line.requests, line.requests[1:], strict=False):
        if not spots(before) or left_out(before) != left_out(after):
            continue
        written, messages = spots(before)[-1], shown(after)
        distances = [
            sum(message.blocks for message in messages[written + 1 : spot + 1])
            for spot in spots(after)
            if spot >= written
        ]
        assert distances
        assert min(distances) < reach


@given(st.integers(2, 40), st.integers(0, 3_000), st.booleans())
def test_a_cut_is_marked_in_every_request_until_the_next(after: int, tools: int, wide: bool) -> None:
    line = Line(compacting(max_input_tokens="9k"))
    run = turns(40, 700)
    offered = (tool("t", tools),)
    for stop in range(30, 30 + after, 2):
        line.answered(run[:stop] + (fan(99, 30, 10) if wide and stop == 28 + after else []), tools=offered)

    for request in line.requests:
        view, fixed = request.view, len(request.view.pinned) + len(request.view.inserted)
        tokens = tools + sum(message.tokens for message in shown(request)[:fixed])
        if view.cut and tokens >= facts(SONNET).min_cache_tokens:
            assert fixed - 1 in spots(request)


@pytest.mark.parametrize("model", [SONNET, NOVA])
def test_a_marker_is_moved_on_with_the_history_and_never_back(model: ModelRef) -> None:
    line = Line()
    run = turns(12, 500)
    last = [
        max(spots(line.requests[-1]), default=-1) for stop in range(2, len(run), 2) if line.answered(run[:stop], model)
    ]

    assert sorted(last) == last
    assert last[-1] > last[3]
