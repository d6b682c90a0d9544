"""Places among the calls of a run: never more than so many inside, in the order of asking, and none is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from governor.slots import LONGEST_MS, LOOK_MS, Slot, Slots


def inside(slots: list[Slot]) -> list[bool]:
    return [slot.inside for slot in slots]


@given(st.integers(1, 4), st.lists(st.integers(-1, 30), min_size=1, max_size=60))
def test_never_more_than_so_many_are_inside_and_all_get_in_in_the_order_of_asking(width: int, moves: list[int]) -> None:
    places, asked, live, entered = Slots(), list[Slot](), list[Slot](), list[Slot]()

    def look() -> None:
        entered.extend(slot for slot in asked if slot.inside and slot not in entered)
        assert sum(slot.inside for slot in live) <= width

    def free(slot: Slot) -> None:
        places.free(slot, 0)
        live.remove(slot)
        look()

    for move in moves:  # -1 asks for a place, a number gives that one back: inside or still waiting
        if move < 0:
            asked.append(places.take("run", width, 0))
            live.append(asked[-1])
            look()
        elif live:
            free(live[move % len(live)])
    gone = [slot for slot in asked if slot not in live and not slot.inside]
    while live:
        assert live[0].inside, "the longest waiting is not inside though there is nobody before it"
        free(live[0])

    assert [slot for slot in asked if slot not in gone] == entered
    assert {} == places._runs  # nothing is kept of a run that makes no calls


@given(st.lists(st.tuples(st.integers(1, 5) | st.none(), st.booleans()), min_size=1, max_size=40))
def test_whoever_is_let_in_finds_no_more_than_the_narrowest_place_asks_for(
    moves: list[tuple[int | None, bool]],
) -> None:
    places, live = Slots(), list[Slot]()
    for width, leaves in moves:
        before = set(live)
        slot = places.take("run", width, 0)
        live.append(slot)
        if slot.inside and width is not None:
            assert sum(each.inside for each in live) <= min(each.width for each in live if each.width is not None)
        if leaves and before:
            gone = live.pop(0)
            waiting = [each for each in live if not each.inside]
            places.free(gone, 0)
            let_in = [each for each in waiting if each.inside]
            if let_in:
                widths = [each.width for each in live if each.width is not None]
                assert sum(each.inside for each in live) <= min(widths)
            assert waiting[: len(let_in)] == let_in

    while live:
        places.free(live.pop(0), 0)
        assert not live or any(inside(live))


def test_runs_do_not_wait_for_one_another() -> None:
    places = Slots()

    assert [True, False, True] == inside([places.take(run, 1, 0) for run in ("a", "a", "b")])


def test_a_rung_that_is_reached_while_others_wait_lowers_the_width_for_them_too() -> None:
    places = Slots()
    first, second, third = (places.take("run", 2, 0) for _ in range(3))
    last = places.take("run", 1, 0)

    places.free(first, 0)
    assert [False, False] == inside([third, last])
    places.free(second, 0)
    assert [True, False] == inside([third, last])


def test_a_call_that_nothing_bounds_passes_and_counts() -> None:
    places = Slots()
    free = [places.take("run", None, 0) for _ in range(3)]
    bound = places.take("run", 2, 0)

    assert [True, True, True] == inside(free)
    assert not bound.inside
    places.free(free[0], 0)
    assert not bound.inside
    places.free(free[1], 0)
    assert bound.inside


def test_a_rung_that_is_left_lets_those_who_wait_in_two_at_each_end_of_a_call() -> None:
    places = Slots()
    first, *others = (places.take("run", 1, 0) for _ in range(6))
    places.free(first, 0)

    places.free(others[0], 0, known=True, width=None)

    assert [True, True, False, False] == inside(others[1:])
    assert all(slot.raised for slot in others[1:])
    places.free(others[1], 0)
    assert [True, True, True] == inside(others[2:])


def test_nobody_overtakes_those_who_are_let_in_step_by_step() -> None:
    places = Slots()
    first, *others = (places.take("run", 1, 0) for _ in range(5))
    places.free(first, 0)

    places.free(others[0], 0, known=True, width=9)
    late = places.take("run", 9, 0)

    assert [True, True, False, False] == inside([*others[1:], late])


def test_what_a_call_knew_before_others_asked_says_nothing_about_them() -> None:
    places = Slots()
    early = places.take("run", None, 0)
    bound = [places.take("run", 1, 0) for _ in range(3)]

    places.free(early, 0, known=True, width=None)

    assert [True, False, False] == inside(bound)


def test_a_place_given_back_twice_is_one_place() -> None:
    places = Slots()
    first, *others = (places.take("run", 1, 0) for _ in range(3))

    places.free(first, 0)
    places.free(first, 0)

    assert [True, False] == inside(others)


def test_a_stream_that_its_reader_left_alone_holds_nobody_up() -> None:
    places = Slots()
    stream, other = places.take("run", 1, 0), places.take("run", 1, 0)
    stream.reading, stream.handed = True, 1

    assert not places.look(other, 0)
    stream.handed = 2
    assert not places.look(other, LOOK_MS), "it was read on meanwhile"
    assert not places.look(other, 2 * LOOK_MS - 1)
    assert places.look(other, 2 * LOOK_MS)


def test_a_stream_whose_provider_is_at_work_keeps_its_place() -> None:
    places = Slots()
    stream, other = places.take("run", 1, 0), places.take("run", 1, 0)
    stream.handed = 1

    assert [False, False] == [places.look(other, now) for now in (0, 10 * LOOK_MS)]


def test_a_call_of_which_nothing_is_heard_counts_for_five_minutes() -> None:
    places = Slots()
    _, other = places.take("run", 1, 0), places.take("run", 1, 0)

    assert [False, True] == [places.look(other, now) for now in (LONGEST_MS - 1, LONGEST_MS)]
