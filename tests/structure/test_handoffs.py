"""Agents that hand over to each other in turn are named."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.structure import pingpong

ROUND = [("planner", "coder"), ("coder", "planner")]


def test_pingpong_is_named_with_its_rounds() -> None:
    assert "planner -> coder -> planner, x4" == pingpong(ROUND * 4)


def test_three_agents_in_a_ring_are_named_from_the_first_on() -> None:
    ring = [("a", "b"), ("b", "c"), ("c", "a")]

    assert "a -> b -> c -> a, x2" == pingpong(ring * 2)
    assert "a -> b -> c -> a, x2" == pingpong([("start", "a"), *ring * 2])


@pytest.mark.parametrize(
    "edges",
    [
        [],
        ROUND,
        [*ROUND, ROUND[0]],
        [("a", "b"), ("b", "c"), ("c", "d")],
        [("a", "b")] * 3,
        [*ROUND * 3, ("planner", "writer")],
    ],
    ids=["none", "once", "not yet back", "a chain", "never back", "gone on"],
)
def test_what_goes_on_or_has_not_come_round_twice_is_no_pingpong(edges: list[tuple[str, str]]) -> None:
    assert pingpong(edges) is None


def test_an_agent_that_hands_over_to_itself_is_a_cycle_of_one() -> None:
    assert "a -> a, x3" == pingpong([("a", "a")] * 3)


@given(names=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True), rounds=st.integers(2, 8))
def test_a_ring_of_any_size_that_went_round_twice_is_named_in_its_order(names: list[str], rounds: int) -> None:
    ring = list(zip(names, [*names[1:], names[0]], strict=True))

    assert f"{' -> '.join([*names, names[0]])}, x{rounds}" == pingpong(ring * rounds)


@given(edges=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=40))
def test_what_is_named_was_walked_that_often(edges: list[tuple[str, str]]) -> None:
    named = pingpong(edges)

    if named is not None:
        path, _, times = named.partition(", x")
        stops = path.split(" -> ")
        assert stops[0] == stops[-1]
        assert all(edges.count(pair) >= int(times) for pair in itertools.pairwise(stops))
        assert edges[-1] in itertools.pairwise(stops)
