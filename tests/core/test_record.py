"""What a finished call leaves in its lane when another of the same lane finished before it."""

from hypothesis import given
from hypothesis import strategies as st

from governor.record import latest_steady
from governor.runs import Lane, Steady

seen = st.lists(st.builds(Steady, lines=st.just("abcd"), apart=st.booleans(), changes=st.integers(0, 3)), max_size=3)


def test_of_two_calls_side_by_side_the_one_that_saw_more_of_a_text_is_believed() -> None:
    early, late = Steady(lines="aaaa"), Steady(lines="bbbb", apart=True, changes=1)

    assert (late,) == latest_steady(Lane(steady=(late,)), (early,)) == latest_steady(Lane(steady=(early,)), (late,))
    assert (early,) == latest_steady(None, (early,))
    assert (late,) == latest_steady(Lane(steady=(late,)), ())


@given(seen, seen)
def test_nothing_that_was_seen_to_change_is_forgotten_whoever_finishes_last(
    one: list[Steady], other: list[Steady]
) -> None:
    found = [latest_steady(Lane(steady=tuple(first)), tuple(second)) for first, second in ((one, other), (other, one))]

    assert [each.changes for each in found[0]] == [each.changes for each in found[1]]
    assert max(len(one), len(other)) == len(found[0])
    assert all(kept.changes >= each.changes for kept, each in zip(found[0], one, strict=False))
